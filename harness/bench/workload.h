// SPDX-License-Identifier: MIT
// The two models whose training step is measured: the retrieval model of paper B's synthetic experiments and a middle
// one. Their shapes are data (workload.c); the peers' bench builds the same ones.
#ifndef KVLAB_BENCH_WORKLOAD_H
#define KVLAB_BENCH_WORKLOAD_H
#include "harness/run/trainer.h"
#ifdef __cplusplus
extern "C" {
#endif

struct workload {
	const char *name, *text; // "small"; its shape in words
	int batch;
	struct setup setup;
	struct optimizer_config optimizer; // Adam, no clipping, constant rate
};

// 0, or -1 with a message when there is no such model. Memory from arena.
int workload_init(struct workload *w, const char *name, struct arena *arena, struct err *err);
// One training step of a trainer, numbered on from the last: what the arms of a bench call.
struct stepper {
	struct trainer trainer;
	long step;
};
void stepper_init(struct stepper *s, const struct workload *w, int n_thread);
void stepper_run(void *stepper);

#ifdef __cplusplus
}
#endif
#endif
