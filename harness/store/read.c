// SPDX-License-Identifier: MIT
// Reading back: one run in full, and how far an experiment is.
#include <string.h>

#include "harness/store/internal.h"

int store_progress(struct store *store, const char *experiment, const char *scale, struct store_progress *progress,
        struct err *err)
{
	sqlite3_stmt *stmt;
	memset(progress, 0, sizeof(*progress));
	if (store_prepare(store, &stmt,
	            "SELECT sum(r.state IN ('queued', 'stale')), sum(r.state = 'running'), sum(r.state = 'done'), "
	            "sum(r.state = 'failed'), sum(r.state = 'diverged'), "
	            "sum(CASE r.state WHEN 'running' THEN r.fraction ELSE 0 END) "
	            "FROM experiment e CROSS JOIN plan p CROSS JOIN run r "
	            "WHERE e.name = ? AND p.experiment_id = e.id AND p.scale = ? AND r.point_id = p.point_id "
	            "AND r.seed = p.seed",
	            err))
		return -1;
	store_bind(stmt, "tt", experiment, scale);
	int rc = store_step(store, stmt, err);
	if (rc > 0)
		*progress = (struct store_progress){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
		        sqlite3_column_int64(stmt, 2), sqlite3_column_int64(stmt, 3), sqlite3_column_int64(stmt, 4),
		        sqlite3_column_double(stmt, 5)};
	sqlite3_finalize(stmt);
	return rc < 0 ? -1 : 0;
}

static int read_metrics(struct store *store, struct store_run_full *full, struct arena *arena, struct err *err)
{
	int64_t n;
	sqlite3_stmt *stmt;
	if (store_get(store, err, &n, 0, "SELECT count(*) FROM metric WHERE run_id = ?", "i", full->run.id) ||
	        store_prepare(store, &stmt,
	                "SELECT name, split, step, value, special FROM metric WHERE run_id = ? ORDER BY ordinal", err))
		return -1;
	full->metric = arena_alloc(arena, (size_t)n * sizeof(*full->metric));
	store_bind(stmt, "i", full->run.id);
	int rc = 1;
	while (full->n_metric < n && (rc = store_step(store, stmt, err)) > 0) {
		struct metric *m = &full->metric[full->n_metric++];
		m->name = store_column_text(stmt, 0, arena);
		m->split = store_column_text(stmt, 1, arena);
		m->step = sqlite3_column_int64(stmt, 2);
		m->value = store_column_real(stmt, 3, 4);
	}
	sqlite3_finalize(stmt);
	return rc < 0 ? -1 : 0;
}

// A point may be planned by several experiments: the first that planned it names the run.
static const char run_sql[] =
        "SELECT o.key, o.json, p.label, r.seed, r.attempt, r.state, e.name, "
        "strftime('%Y-%m-%dT%H:%M:%SZ', r.started_at, 'unixepoch'), b.git_commit, b.binary_hash, "
        "m.cpu || ', ' || m.n_core || ' cores, ' || m.memory_gib || ' GiB, ' || m.os, r.message, r.build_id, "
        "r.machine_id "
        "FROM run r JOIN point o ON o.id = r.point_id LEFT JOIN plan p ON p.point_id = r.point_id AND p.seed = r.seed "
        "LEFT JOIN experiment e ON e.id = p.experiment_id LEFT JOIN machine m ON m.id = r.machine_id "
        "LEFT JOIN build b ON b.id = r.build_id WHERE r.id = ? ORDER BY e.id, p.scale LIMIT 1";

static void read_row(sqlite3_stmt *stmt, int64_t run_id, struct store_run_full *full, struct arena *arena)
{
	full->run.id = run_id;
	snprintf(full->run.key, sizeof(full->run.key), "%s", (const char *)sqlite3_column_text(stmt, 0));
	full->run.json = store_column_text(stmt, 1, arena);
	full->run.label = store_column_text(stmt, 2, arena);
	full->run.seed = (uint64_t)sqlite3_column_int64(stmt, 3);
	full->run.attempt = sqlite3_column_int(stmt, 4);
	if (store_state_of((const char *)sqlite3_column_text(stmt, 5), &full->state))
		BUG("run %lld has a state that the schema does not allow", (long long)run_id);
	full->experiment = store_column_text(stmt, 6, arena);
	full->started_at = store_column_text(stmt, 7, arena);
	full->git_commit = store_column_text(stmt, 8, arena);
	full->binary_hash = store_column_text(stmt, 9, arena);
	full->machine = store_column_text(stmt, 10, arena);
	full->message = store_column_text(stmt, 11, arena);
	full->build_id = sqlite3_column_int64(stmt, 12);
	full->machine_id = sqlite3_column_int64(stmt, 13);
}

int store_read_run(
        struct store *store, int64_t run_id, struct store_run_full *full, struct arena *arena, struct err *err)
{
	sqlite3_stmt *stmt;
	memset(full, 0, sizeof(*full));
	if (store_prepare(store, &stmt, run_sql, err))
		return -1;
	store_bind(stmt, "i", run_id);
	int rc = store_step(store, stmt, err);
	if (rc > 0)
		read_row(stmt, run_id, full, arena);
	sqlite3_finalize(stmt);
	if (rc == 0)
		return err_set(err, "%s: there is no run %lld: `kvlab show` lists what there is", store->path,
		        (long long)run_id);
	return rc < 0 ? -1 : read_metrics(store, full, arena, err);
}
