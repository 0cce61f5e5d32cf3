// SPDX-License-Identifier: MIT
// Leases: who runs what. A claim looks without a lock, then takes the run in one guarded UPDATE, so that workers
// queue for the write lock only for as long as one row takes.
#include <string.h>

#include "harness/store/internal.h"

// A worker whose process can be seen to live is not robbed for a late heartbeat (a long evaluation, a suspended
// machine), only when it must be stuck; one that cannot be looked at (another machine, another boot) after a minute.
static const double LEASE_S = 60, LIVE_LEASE_S = 3600;

struct candidate {
	int64_t id, attempt;
	int is_dead; // of another worker whose lease has died
};

// The queued run that was planned first. 1 found, 0 none, -1 error. Walks the queued part of an index, which is in
// order of id, so that a claim in a grid of 100,000 does not pass by all that is done.
static int find_queued(
        struct store *store, const char *experiment, const char *scale, struct candidate *c, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt,
	            "SELECT r.id, r.attempt FROM experiment e CROSS JOIN run r CROSS JOIN plan p "
	            "WHERE e.name = ? AND r.state = 'queued' AND p.experiment_id = e.id AND p.scale = ? "
	            "AND p.point_id = r.point_id AND p.seed = r.seed ORDER BY r.id LIMIT 1",
	            err))
		return -1;
	store_bind(stmt, "tt", experiment, scale);
	int rc = store_step(store, stmt, err);
	if (rc > 0)
		*c = (struct candidate){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1), 0};
	sqlite3_finalize(stmt);
	return rc;
}

static int find_dead(
        struct store *store, const char *experiment, const char *scale, struct candidate *c, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt,
	            "SELECT r.id, r.attempt, r.heartbeat, r.worker_pid, r.worker_start, r.worker_boot FROM run r "
	            "JOIN plan p ON p.point_id = r.point_id AND p.seed = r.seed JOIN experiment e ON e.id = "
	            "p.experiment_id "
	            "WHERE r.state = 'running' AND e.name = ? AND p.scale = ? ORDER BY p.ordinal",
	            err))
		return -1;
	store_bind(stmt, "tt", experiment, scale);
	int rc, found = 0;
	while (!found && (rc = store_step(store, stmt, err)) > 0) {
		struct owner owner = {sqlite3_column_int64(stmt, 3), sqlite3_column_int64(stmt, 4), ""};
		const char *boot = (const char *)sqlite3_column_text(stmt, 5);
		snprintf(owner.boot, sizeof(owner.boot), "%s", boot ? boot : "");
		const enum owner_state state = owner_look(&owner);
		found = state == OWNER_GONE ||
		        store_now() - sqlite3_column_double(stmt, 2) > (state == OWNER_ALIVE ? LIVE_LEASE_S : LEASE_S);
		if (found)
			*c = (struct candidate){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1), 1};
	}
	sqlite3_finalize(stmt);
	return found ? 1 : rc;
}

// 1 taken, 0 another worker was faster, -1 error.
static int take(struct store *store, const struct candidate *c, struct err *err)
{
	struct owner self;
	owner_self(&self);
	double now = store_now();
	int64_t machine = store->machine_id, build = store->build_id;
	if (store_begin(store, err))
		return -1;
	int rc = store_do(store, err,
	        "UPDATE run SET state = 'running', attempt = attempt + 1, worker_pid = ?, worker_start = ?, "
	        "worker_boot = ?, heartbeat = ?, fraction = 0, machine_id = nullif(?, 0), build_id = nullif(?, 0), "
	        "started_at = ?, finished_at = NULL, wall_s = NULL, message = NULL "
	        "WHERE id = ? AND attempt = ? AND state = CASE ? WHEN 1 THEN 'running' ELSE 'queued' END",
	        "iitdiidiii", self.pid, self.start, self.boot, now, machine, build, now, c->id, c->attempt,
	        (int64_t)c->is_dead);
	int taken = sqlite3_changes(store->db);
	return store_end(store, rc < 0 ? -1 : taken, err);
}

static int read_claimed(struct store *store, int64_t id, const char *experiment, const char *scale,
        struct store_run *run, struct arena *arena, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt,
	            "SELECT o.key, o.json, p.label, r.seed, r.attempt FROM run r JOIN point o ON o.id = r.point_id "
	            "JOIN plan p ON p.point_id = r.point_id AND p.seed = r.seed AND p.scale = ? "
	            "JOIN experiment e ON e.id = p.experiment_id AND e.name = ? WHERE r.id = ?",
	            err))
		return -1;
	store_bind(stmt, "tti", scale, experiment, id);
	int rc = store_step(store, stmt, err);
	if (rc > 0) {
		memset(run, 0, sizeof(*run));
		run->id = id;
		snprintf(run->key, sizeof(run->key), "%s", (const char *)sqlite3_column_text(stmt, 0));
		run->json = store_column_text(stmt, 1, arena);
		run->label = store_column_text(stmt, 2, arena);
		run->seed = (uint64_t)sqlite3_column_int64(stmt, 3);
		run->attempt = sqlite3_column_int(stmt, 4);
	}
	sqlite3_finalize(stmt);
	if (rc == 0)
		return err_fault(err,
		        "%s: run %lld left the plan of '%s' while it was claimed: run the same command again",
		        store->path, (long long)id, experiment);
	return rc;
}

int store_claim(struct store *store, const char *experiment, const char *scale, struct store_run *run,
        struct arena *arena, struct err *err)
{
	for (;;) {
		struct candidate c;
		int rc = find_queued(store, experiment, scale, &c, err);
		if (rc == 0)
			rc = find_dead(store, experiment, scale, &c, err);
		if (rc <= 0)
			return rc;
		rc = take(store, &c, err);
		if (rc < 0)
			return -1;
		if (rc > 0)
			return read_claimed(store, c.id, experiment, scale, run, arena, err);
	}
}

int store_lease_lost(struct store *store, int64_t run_id, struct err *err)
{
	return err_fault(err,
	        "%s: run %lld is no longer this worker's: another took it over after too long without a heartbeat",
	        store->path, (long long)run_id);
}

int store_heartbeat(struct store *store, int64_t run_id, double fraction, struct err *err)
{
	struct owner self;
	owner_self(&self);
	if (store_do(store, err, "UPDATE run SET heartbeat = ?, fraction = ?" STORE_HELD, "ddiiit", store_now(),
	            fraction, run_id, self.pid, self.start, self.boot))
		return -1;
	return sqlite3_changes(store->db) ? 0 : store_lease_lost(store, run_id, err);
}

int store_release(struct store *store, int64_t run_id, struct err *err)
{
	struct owner self;
	owner_self(&self);
	if (store_do(store, err,
	            "UPDATE run SET state = 'queued', worker_pid = NULL, worker_start = NULL, worker_boot = NULL, "
	            "heartbeat = NULL, fraction = NULL" STORE_HELD,
	            "iiit", run_id, self.pid, self.start, self.boot))
		return -1;
	return sqlite3_changes(store->db) ? 0 : store_lease_lost(store, run_id, err);
}
