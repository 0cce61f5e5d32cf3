// SPDX-License-Identifier: MIT
// Worker processes that claim runs of one (experiment, scale) from the store until none is left.
#ifndef KVLAB_RUN_WORKER_H
#define KVLAB_RUN_WORKER_H
#include "harness/store/store.h"
#ifdef __cplusplus
extern "C" {
#endif

struct worker_plan {
	const char *db_path, *experiment, *scale;
	const char *checkpoint_folder;
	const struct store_build *build;
	int n_worker; // processes, each with n_thread threads
	int n_thread;
	double checkpoint_every_s;
};

// Forks the workers, shows progress on stderr until they are through, and stops them in good order on SIGINT or
// SIGTERM (each writes a checkpoint and gives its run back). Workers die with this process, whatever kills it; their
// leases die with them. Returns 0 when nothing is left to run, 1 when some runs failed, 2 when stopped by a signal, -1
// on a fault. Call it before any OpenMP region: a forked child cannot use the parent's threads.
int workers_run(const struct worker_plan *plan, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
