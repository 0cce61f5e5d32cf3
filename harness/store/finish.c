// SPDX-License-Identifier: MIT
// The end of a run: state, metrics and samples in one transaction that is on disk before the call returns.
#include <string.h>

#include "harness/store/internal.h"

static const char *const state_name[] = {
        [RUN_QUEUED] = "queued",
        [RUN_RUNNING] = "running",
        [RUN_DONE] = "done",
        [RUN_FAILED] = "failed",
        [RUN_STALE] = "stale",
        [RUN_DIVERGED] = "diverged",
};

const char *run_state_name(enum run_state state)
{
	return state_name[state];
}

int metric_is_measured(const char *split)
{
	return !strcmp(split, "time") || !strcmp(split, "memory");
}

int store_state_of(const char *name, enum run_state *state)
{
	for (int i = 0; i < (int)(sizeof(state_name) / sizeof(state_name[0])); i++) {
		if (strcmp(state_name[i], name))
			continue;
		*state = (enum run_state)i;
		return 0;
	}
	return -1;
}

static int put_metrics(struct store *store, int64_t run_id, const struct metric *metric, long n, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt,
	            "INSERT INTO metric (run_id, ordinal, name, split, step, value, special) VALUES (?, ?, ?, ?, ?, ?, "
	            "?)",
	            err))
		return -1;
	int rc = 0;
	for (long i = 0; i < n && rc == 0; i++) {
		store_bind(stmt, "iitti", run_id, (int64_t)i, metric[i].name, metric[i].split, (int64_t)metric[i].step);
		store_bind_real(stmt, 6, 7, metric[i].value);
		rc = store_step(store, stmt, err);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int put_samples(struct store *store, int64_t run_id, const struct sample *sample, long n, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt,
	            "INSERT INTO sample (run_id, name, ordinal, unit, value, special) VALUES (?, ?, ?, ?, ?, ?)", err))
		return -1;
	int rc = 0;
	for (long i = 0; i < n && rc == 0; i++) {
		store_bind(stmt, "itit", run_id, sample[i].name, (int64_t)sample[i].ordinal, sample[i].unit);
		store_bind_real(stmt, 5, 6, sample[i].value);
		rc = store_step(store, stmt, err);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int finish(struct store *store, int64_t run_id, enum run_state state, const char *message,
        const struct metric *metric, long n_metric, const struct sample *sample, long n_sample, double wall_s,
        struct err *err)
{
	struct owner self;
	owner_self(&self);
	if (store_do(store, err,
	            "UPDATE run SET state = ?, message = ?, wall_s = ?, finished_at = ?, fraction = 1, worker_pid = "
	            "NULL, "
	            "worker_start = NULL, worker_boot = NULL, heartbeat = NULL" STORE_HELD,
	            "ttddiiit", run_state_name(state), message, wall_s, store_now(), run_id, self.pid, self.start,
	            self.boot))
		return -1;
	if (!sqlite3_changes(store->db))
		return store_lease_lost(store, run_id, err);
	// A failed attempt may have left rows: they are of the attempt, not of the run.
	if (store_do(store, err, "DELETE FROM metric WHERE run_id = ?", "i", run_id) ||
	        store_do(store, err, "DELETE FROM sample WHERE run_id = ?", "i", run_id))
		return -1;
	return put_metrics(store, run_id, metric, n_metric, err) || put_samples(store, run_id, sample, n_sample, err)
	               ? -1
	               : 0;
}

int store_finish(struct store *store, int64_t run_id, enum run_state state, const char *message,
        const struct metric *metric, long n_metric, const struct sample *sample, long n_sample, double wall_s,
        struct err *err)
{
	if (state == RUN_QUEUED || state == RUN_RUNNING)
		BUG("run %lld cannot end in state '%s'", (long long)run_id, run_state_name(state));
	if (store_exec(store, "PRAGMA synchronous = FULL", err) || store_begin(store, err))
		return -1;
	int rc = finish(store, run_id, state, message, metric, n_metric, sample, n_sample, wall_s, err);
	rc = store_end(store, rc, err);
	return store_exec(store, "PRAGMA synchronous = NORMAL", err) ? -1 : rc;
}
