// SPDX-License-Identifier: MIT
// What a procedure reports to while it runs: metrics, progress, checkpoints. It knows nothing of the database.
#ifndef KVLAB_RUN_RUN_H
#define KVLAB_RUN_RUN_H
#include <stddef.h>

#include "harness/base/err.h"
#include "harness/run/procedure.h"
#include "harness/store/store.h"
#ifdef __cplusplus
extern "C" {
#endif

struct run_log {
	long n_metric, capacity;
	struct metric *metric;
	long n_sample, sample_capacity;
	struct sample *sample; // raw timings
	// Checkpoint file of this run; NULL: keep none. Written at most every checkpoint_every_s seconds.
	const char *checkpoint_path;
	double checkpoint_every_s, checkpointed_s;
	// Which program runs (a hash; "" when nobody cares): a checkpoint of another build is not gone on from, since a
	// row must be the work of one build.
	const char *build;
	// Called now and then with how far the run is (0..1). Returns 1 when the run should stop early, keeping a
	// checkpoint (a signal came). May be NULL.
	int (*tick)(void *context, double fraction);
	void *context;
};

void run_log_init(struct run_log *log);
void run_log_release(struct run_log *log);
// name and split must outlive the log (literals, or strings of run_log_intern).
void run_log_metric(struct run_log *log, const char *name, const char *split, long step, double value);
// A raw timing: the next of its name. name and unit as above.
void run_log_sample(struct run_log *log, const char *name, const char *unit, double value);
// The same text, living as long as the program: names and splits that are made at run time are few, and every log may
// point to them.
const char *run_log_intern(const char *text);

// --- checkpoints -----------------------------------------------------------------------------------------------
// One file: an identity (what run this is the state of), the metrics so far, and blocks of memory. Written beside the
// target, flushed, renamed: a reader sees the old one or the new one, whole.
struct checkpoint_block {
	void *data;
	size_t bytes;
	const struct backend *home; // in whose memory data lies; NULL: the process's
};
int checkpoint_write(const char *path, const char *identity, const struct run_log *log,
        const struct checkpoint_block *block, int n_block, struct err *err);
// Reads into the blocks and the log. 1 read, 0 there is none (or one of another identity, size or a damaged one: it is
// ignored, the run starts over), -1 it cannot be read.
int checkpoint_read(const char *path, const char *identity, struct run_log *log, const struct checkpoint_block *block,
        int n_block, struct err *err);
// Removes the file and what a killed writer may have left beside it.
void checkpoint_remove(const char *path);

#ifdef __cplusplus
}
#endif
#endif
