// SPDX-License-Identifier: MIT
// Shared by the files of harness/store only: SQLite behind a few calls that report errors as struct err does.
#ifndef KVLAB_STORE_INTERNAL_H
#define KVLAB_STORE_INTERNAL_H
#include <sqlite3.h>

#include "harness/store/store.h"
#ifdef __cplusplus
extern "C" {
#endif

struct store {
	sqlite3 *db;
	char *path;
	int64_t machine_id, build_id; // 0 until store_identify
};

// Who holds a lease: a pid means something only on its boot and in its namespace, and only with its start time.
struct owner {
	int64_t pid, start;
	char boot[128];
};
void owner_self(struct owner *owner);
// Whether that process still runs; unknown where this machine cannot tell (another boot, container or machine).
enum owner_state { OWNER_ALIVE, OWNER_GONE, OWNER_UNKNOWN };
enum owner_state owner_look(const struct owner *owner);

// Statements on a lease that this process holds end so; their last four parameters are "iiit": run, pid, start, boot.
#define STORE_HELD " WHERE id = ? AND state = 'running' AND worker_pid = ? AND worker_start = ? AND worker_boot = ?"
int store_lease_lost(struct store *store, int64_t run_id, struct err *err);
// 0, or -1 for a name that is no state.
int store_state_of(const char *name, enum run_state *state);

// Opens a file that cannot be written, or whose folder cannot: store->db, ready to be read.
int store_open_read_only(struct store *store, struct err *err);
// Whether file and folder may be written.
int store_is_writable(const char *path);

double store_now(void); // seconds since 1970

// Turns SQLite's present error into one line with the file and a remedy. `doing`: "finish a run".
int store_fail(struct store *store, const char *doing, struct err *err);

// 0 or -1. `sql` may hold several statements.
int store_exec(struct store *store, const char *sql, struct err *err);
int store_prepare(struct store *store, sqlite3_stmt **stmt, const char *sql, struct err *err);
// Binds parameters 1.. by type letters: t text (may be NULL), i int64_t, d double. Resets the statement first.
void store_bind(sqlite3_stmt *stmt, const char *types, ...);
// 1 a row, 0 no more, -1 error.
int store_step(struct store *store, sqlite3_stmt *stmt, struct err *err);
// Prepare, bind, step to the end, finalize: for statements without rows.
int store_do(struct store *store, struct err *err, const char *sql, const char *types, ...);
// First column of the first row as an integer, `none` without one; the reply is 0 or -1.
int store_get(
        struct store *store, struct err *err, int64_t *value, int64_t none, const char *sql, const char *types, ...);

// Write transactions are IMMEDIATE: they wait for their turn at the start and cannot fail half way for a lock.
int store_begin(struct store *store, struct err *err);
int store_commit(struct store *store, struct err *err);
void store_rollback(struct store *store);
// Commits when rc >= 0, rolls back otherwise; returns rc, or -1 when the commit failed.
int store_end(struct store *store, int rc, struct err *err);

// A double as (value, special) columns; and back.
void store_bind_real(sqlite3_stmt *stmt, int value_at, int special_at, double value);
double store_column_real(sqlite3_stmt *stmt, int value_at, int special_at);
// Text of a column copied to the arena; NULL stays NULL.
char *store_column_text(sqlite3_stmt *stmt, int at, struct arena *arena);

// One step of the schema: SQL that brings version `to` - 1 to version `to`, then an optional fill in C.
struct migration {
	int to;
	const char *sql;
	int (*fill)(struct store *store, struct err *err);
};
// Applies every row above the file's version, all in one transaction. Rows are in order of `to`.
int store_migrate(struct store *store, const struct migration *migration, int n_migration, struct err *err);
extern const struct migration store_migrations[];
extern const int store_n_migration;
enum { STORE_APPLICATION_ID = 0x6b766c62 };

// Replaces the views of an experiment by those that `sql` (CREATE VIEW statements, or NULL) makes.
int store_replace_views(struct store *store, int64_t experiment_id, const char *name, const char *sql, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
