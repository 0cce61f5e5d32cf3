// SPDX-License-Identifier: MIT
// The models whose training step is measured: the retrieval model of paper B's synthetic experiments, a middle one, and
// GPT-2 124M with random weights. Their shapes are data (workload.c); the peers' bench builds the same ones, with mha.
#ifndef KVLAB_BENCH_WORKLOAD_H
#define KVLAB_BENCH_WORKLOAD_H
#include "harness/bench/profile.h"
#include "harness/run/trainer.h"
#ifdef __cplusplus
extern "C" {
#endif

struct workload {
	const char *name, *text; // "small"; its shape in words
	int batch;
	double target;   // fraction of the floor that a step should reach
	int is_of_sgemm; // the floor meant is sgemm's; otherwise that of the best way known here
	struct setup setup;
	struct optimizer_config optimizer; // Adam, no clipping, constant rate
};

// Which attention, with settings as a spec would spell them: "m1=2 routing=full"; "" for none.
struct workload_variant {
	const char *name, *options, *model_options;
};

// 0, or -1 with a message when there is no such model or variant, or when it refuses the settings. variant NULL: mha.
// Memory from arena.
int workload_init(struct workload *w, const char *name, const struct workload_variant *variant, struct arena *arena,
        struct err *err);
// "key=value key=value" into a config that options_init has filled.
int workload_set_text(const struct option *table, void *config, const char *text, struct arena *arena, struct err *err);

// One training step of a trainer, numbered on from the last: what the arms of a bench call.
struct stepper {
	struct trainer trainer;
	long step;
};
void stepper_init(struct stepper *s, const struct workload *w, int n_thread);
void stepper_run(void *stepper);
// Seconds a step by kind of kernel, over steps that take `seconds` in all; the rest is outside of kernels.
struct shares {
	double spent_s[PROFILE_KINDS], rest_s, total_s;
};
void stepper_profile(struct shares *shares, struct stepper *s, double seconds);

#ifdef __cplusplus
}
#endif
#endif
