// SPDX-License-Identifier: MIT
// The schema as steps: a new file is version 0 and takes them all, an older one those it lacks.
// A released step is never edited; a change is a new row at the end.
#include "harness/base/stats.h"
#include "harness/store/internal.h"

static const char schema_sql[] =
#include "generated/schema.inc"
        ;

static const char views_sql[] =
#include "generated/views.inc"
        ;

static const char views_language_sql[] =
#include "generated/views_language.inc"
        ;

static const char views_recovery_sql[] =
#include "generated/views_recovery.inc"
        ;

enum { T_QUANTILE_ROWS = 300 };

static int fill_t_quantile(struct store *store, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt, "INSERT INTO t_quantile (df, q975) VALUES (?, ?)", err))
		return -1;
	int rc = 0;
	for (int df = 1; df <= T_QUANTILE_ROWS && rc == 0; df++) {
		store_bind(stmt, "id", (int64_t)df, student_quantile(0.975, df));
		rc = store_step(store, stmt, err);
	}
	sqlite3_finalize(stmt);
	return rc;
}

// The numbers of whole runs, as views and tables read them: with `step` in it, the index alone has all they ask for.
static const char metric_of_run_sql[] =
        "DROP INDEX metric_whole_run;"
        "CREATE INDEX metric_of_run ON metric(run_id, name, split, step, value) WHERE step = -1;";

const struct migration store_migrations[] = {
        {1, schema_sql, fill_t_quantile},
        {2, metric_of_run_sql, NULL},
        {3, views_sql, NULL},
        {4, views_language_sql, NULL},
        {5, views_recovery_sql, NULL},
};
const int store_n_migration = sizeof(store_migrations) / sizeof(store_migrations[0]);

static int apply(struct store *store, const struct migration *migration, int n, int from, struct err *err)
{
	for (int i = 0; i < n; i++) {
		const struct migration *m = &migration[i];
		if (m->to <= from)
			continue;
		if (store_exec(store, m->sql, err) || (m->fill && m->fill(store, err)))
			return -1;
		char pragma[64];
		snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", m->to);
		if (store_exec(store, pragma, err))
			return -1;
	}
	char pragma[64];
	snprintf(pragma, sizeof(pragma), "PRAGMA application_id = %d", (int)STORE_APPLICATION_ID);
	return store_exec(store, pragma, err);
}

int store_migrate(struct store *store, const struct migration *migration, int n_migration, struct err *err)
{
	int newest = migration[n_migration - 1].to;
	int64_t version;
	if (store_get(store, err, &version, 0, "PRAGMA user_version", ""))
		return -1;
	if (version >= newest)
		return 0;
	if (store_begin(store, err))
		return -1;
	// Another process may have done it while this one waited for the lock.
	int rc = store_get(store, err, &version, 0, "PRAGMA user_version", "");
	if (!rc && version < newest)
		rc = apply(store, migration, n_migration, (int)version, err);
	return store_end(store, rc, err);
}
