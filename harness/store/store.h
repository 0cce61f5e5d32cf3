// SPDX-License-Identifier: MIT
// The store: one SQLite database holding every experiment, point, run, metric, sample and where they came from
// (DESIGN section 6; tables and columns are documented in schema.sql). Many processes may use it at once: WAL,
// a busy timeout, and short write transactions. A finished run is on disk before store_finish returns.
// Every call returns 0, or -1 with a message that names the file and the remedy; nothing is half written.
#ifndef KVLAB_STORE_STORE_H
#define KVLAB_STORE_STORE_H
#include <stdint.h>
#include <stdio.h>

#include "harness/base/arena.h"
#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

struct store;

enum store_mode {
	STORE_WRITE,  // the file must be there
	STORE_CREATE, // makes file and folder when missing
	STORE_READ,   // for reports: also where file or folder may only be read
};
// Opens; applies migrations from any earlier schema. Refuses a file that is not SQLite, one of another program, or one
// written by a newer kvlab.
int store_open(struct store **store, const char *path, enum store_mode mode, struct err *err);
void store_close(struct store *store);

// --- what is to be run ---------------------------------------------------------------------------------------
struct store_experiment {
	const char *name, *question, *paper;
	const char *spec_path, *spec_text; // as read
	const char *report_json;           // tables and plots, or NULL
	const char *paper_json; // published values, or NULL: [{"paper","table","row","column","value","source"}]
	const char *view_sql;   // CREATE VIEW statements, or NULL; run again whenever it changed
};

struct store_planned {
	const char *key, *json, *label; // of the point
	uint64_t seed;
};

// Records the experiment (insert or update by name), its points, one queued run per (point, seed) that has none yet,
// and makes `planned` the matrix of (experiment, scale): reports show exactly these. Failed runs are queued again
// when `retry_failed`. Finished runs are never touched. One transaction.
int store_plan(struct store *store, const struct store_experiment *experiment, const char *scale,
        const struct store_planned *planned, long n_planned, int retry_failed, struct err *err);

// --- who runs it ---------------------------------------------------------------------------------------------
struct store_build {
	const char *git_commit, *compiler, *flags, *blas, *cuda, *binary_hash;
	int dirty;
};

// Finds or adds the rows of this machine and build; later claims carry them. Machine facts are read here.
int store_identify(struct store *store, const struct store_build *build, struct err *err);

struct store_run {
	int64_t id;
	char key[33];
	char *json, *label; // arena
	uint64_t seed;
	int attempt;
};

// Claims the queued run of (experiment, scale) that was planned first, or one whose lease is dead: heartbeat older
// than 60 s, or its process gone from this machine. 1 claimed, 0 nothing left to claim, -1 error.
int store_claim(struct store *store, const char *experiment, const char *scale, struct store_run *run,
        struct arena *arena, struct err *err);
// Renews the lease and tells how far the run is (0..1).
int store_heartbeat(struct store *store, int64_t run_id, double fraction, struct err *err);

struct metric {
	const char *name;  // "accuracy"
	const char *split; // "train", "validation", "test", "count", "time", "memory"
	long step;         // -1: of the whole run
	double value;      // NAN and infinities are kept
};

// Of what was measured ("time", "memory"), not computed: another run of the same point gives another value.
int metric_is_measured(const char *split);

struct sample {
	const char *name, *unit; // a raw timing
	long ordinal;
	double value;
};

enum run_state { RUN_QUEUED, RUN_RUNNING, RUN_DONE, RUN_FAILED, RUN_STALE, RUN_DIVERGED };
// "queued", "running", "done", "failed", "stale", "diverged".
const char *run_state_name(enum run_state state);

// Ends a run: state and all its metrics and samples in one transaction. `message` says why it failed, or NULL.
int store_finish(struct store *store, int64_t run_id, enum run_state state, const char *message,
        const struct metric *metric, long n_metric, const struct sample *sample, long n_sample, double wall_s,
        struct err *err);
// Puts a claimed run back into the queue (interrupted by a signal).
int store_release(struct store *store, int64_t run_id, struct err *err);

struct store_progress {
	long queued, running, done, failed, diverged;
	double running_fraction; // sum over running runs of how far each is
};
int store_progress(struct store *store, const char *experiment, const char *scale, struct store_progress *progress,
        struct err *err);

// --- reading back --------------------------------------------------------------------------------------------
struct store_run_full {
	struct store_run run;
	enum run_state state;
	char *experiment, *started_at, *git_commit, *binary_hash, *machine, *message;
	int64_t build_id, machine_id; // of the run; 0 unknown
	long n_metric;
	struct metric *metric; // in stored order
};
// Everything about one run, for `show` and `reproduce`. -1 when there is none with that id.
int store_read_run(
        struct store *store, int64_t run_id, struct store_run_full *full, struct arena *arena, struct err *err);
// Ids that store_identify found for this machine and build.
int64_t store_machine_id(const struct store *store);
int64_t store_build_id(const struct store *store);

// --- queries, for reports ------------------------------------------------------------------------------------
struct table { // a query's result, all text; NULL cells are NULL
	int n_column;
	long n_row;
	char **column;            // names
	char **cell;              // n_row * n_column, row by row
	unsigned char *is_number; // per cell
};
// Runs one SELECT with named text parameters (":scale", "small", ":x", "...", NULL). Arena owns the result.
int store_query(struct store *store, const char *sql, const char *const *parameters, struct table *table,
        struct arena *arena, struct err *err);

// --- moving results ------------------------------------------------------------------------------------------
// Writes one experiment (runs of all scales, with points, metrics, machine, build, spec) as CSV files into a folder
// that store_import rebuilds the rows from. Import keeps rows that are already there.
int store_dump(struct store *store, const char *experiment, const char *folder, struct err *err);
int store_import(struct store *store, const char *folder, struct err *err);

// "SQLite 3.40.1".
const char *store_library(void);

#ifdef __cplusplus
}
#endif
#endif
