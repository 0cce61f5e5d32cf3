// SPDX-License-Identifier: MIT
// The documented views of an experiment, made from the .sql file beside its spec. They live in the database, so the
// sqlite3 shell sees them too.
#include <string.h>

#include "harness/store/internal.h"

// Only views may be made by an experiment's .sql file: everything else in the database is the harness's.
static int allow_views(void *unused, int action, const char *a, const char *b, const char *c, const char *d)
{
	(void)unused, (void)b, (void)c, (void)d;
	switch (action) {
	case SQLITE_CREATE_VIEW:
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_FUNCTION:
	case SQLITE_RECURSIVE:
		return SQLITE_OK;
	case SQLITE_INSERT: // what CREATE VIEW itself does
	case SQLITE_UPDATE:
		return a && !strcmp(a, "sqlite_master") ? SQLITE_OK : SQLITE_DENY;
	default:
		return SQLITE_DENY;
	}
}

static int drop_views(struct store *store, int64_t experiment_id, struct err *err)
{
	sqlite3_stmt *stmt;
	char *sql = NULL;
	if (store_prepare(store, &stmt, "SELECT name FROM experiment_view WHERE experiment_id = ?", err))
		return -1;
	store_bind(stmt, "i", experiment_id);
	int rc;
	while ((rc = store_step(store, stmt, err)) > 0) {
		char *more = sqlite3_mprintf("%zDROP VIEW IF EXISTS \"%w\";", sql, sqlite3_column_text(stmt, 0));
		if (!more)
			die_no_memory(0);
		sql = more;
	}
	sqlite3_finalize(stmt);
	if (rc == 0 && sql)
		rc = store_exec(store, sql, err);
	sqlite3_free(sql);
	if (rc < 0)
		return -1;
	return store_do(store, err, "DELETE FROM experiment_view WHERE experiment_id = ?", "i", experiment_id);
}

// CREATE VIEW looks at no column names: a view that cannot be read is found here, not by its first reader.
static int check_views(struct store *store, int64_t experiment_id, const char *name, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt, "SELECT name FROM experiment_view WHERE experiment_id = ? ORDER BY name", err))
		return -1;
	store_bind(stmt, "i", experiment_id);
	int rc;
	while ((rc = store_step(store, stmt, err)) > 0) {
		const char *view = (const char *)sqlite3_column_text(stmt, 0);
		char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", view);
		sqlite3_stmt *probe = NULL;
		if (!sql)
			die_no_memory(0);
		if (sqlite3_prepare_v2(store->db, sql, -1, &probe, NULL) != SQLITE_OK)
			rc = err_set(err, "%s: view '%s' cannot be read: %s: correct the .sql file beside the spec",
			        name, view, sqlite3_errmsg(store->db));
		sqlite3_finalize(probe);
		sqlite3_free(sql);
		if (rc < 0)
			break;
	}
	sqlite3_finalize(stmt);
	return rc;
}

int store_replace_views(struct store *store, int64_t experiment_id, const char *name, const char *sql, struct err *err)
{
	if (drop_views(store, experiment_id, err))
		return -1;
	if (!sql)
		return 0;
	// Whatever comes after what is there now is the experiment's; the store's own views (views.sql) are older.
	int64_t last;
	if (store_get(store, err, &last, 0, "SELECT max(rowid) FROM sqlite_master", ""))
		return -1;
	sqlite3_set_authorizer(store->db, allow_views, NULL);
	int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
	sqlite3_set_authorizer(store->db, NULL, NULL);
	if (code == SQLITE_AUTH)
		return err_set(err, "%s: its .sql file does more than CREATE VIEW: keep only views in it", name);
	if (code == SQLITE_ERROR)
		return err_set(err, "%s: its .sql file is refused: %s: correct the file beside the spec", name,
		        sqlite3_errmsg(store->db));
	if (code != SQLITE_OK)
		return store_fail(store, "make views", err);
	if (store_do(store, err,
	            "INSERT INTO experiment_view (name, experiment_id) SELECT name, ? FROM sqlite_master "
	            "WHERE type = 'view' AND rowid > ?",
	            "ii", experiment_id, last))
		return -1;
	return check_views(store, experiment_id, name, err);
}
