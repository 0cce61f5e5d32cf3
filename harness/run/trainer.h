// SPDX-License-Identifier: MIT
// A model being trained on a task: one step, one evaluation. Used by the train procedure, by benches and by tests.
//
// trainer_init, then any number of trainer_step (numbered from 1) and trainer_evaluate, then trainer_release. Memory is
// taken by the first step and the first evaluation; after that no step allocates (tested by trainer->step.n_grow).
#ifndef KVLAB_RUN_TRAINER_H
#define KVLAB_RUN_TRAINER_H
#include "harness/model/optimizer.h"
#include "harness/spec/setup.h"
#include "harness/task/task.h"
#ifdef __cplusplus
extern "C" {
#endif

struct trainer {
	const struct task *task;
	const void *task_config;
	struct task_shape shape;
	uint64_t seed;
	int batch;
	struct arena run, step, scratch;
	struct model model;
	struct optimizer optimizer;
	struct tape tape;
	int *tokens, *targets; // of the batch in work: (batch, T), (batch, n_target)
};

// Draws initial weights from seed. config's shape must be resolved and checked.
void trainer_init(struct trainer *t, const struct setup *setup, const struct optimizer_config *optimizer, int batch,
        uint64_t seed, int n_thread);
void trainer_release(struct trainer *t);
// Draws batch number `step` (from 1), computes loss and gradients, updates. The loss is that before the update; with a
// loss that is not finite nothing is updated.
struct loss trainer_step(struct trainer *t, long step);
// Gradients only, no update: for benches and tests.
struct loss trainer_gradients(struct trainer *t, long step);
// Mean loss and hits over sequences 0..n-1 of a stream, dropout off.
struct loss trainer_evaluate(struct trainer *t, enum rng_purpose purpose, long n);

// What one step costs, by counting (no memory, no data): tallies of forward and backward, and bytes of tensors.
struct step_cost {
	struct tally forward, backward;
	double tensor_bytes;
	long n_param;
};
struct step_cost trainer_count(const struct setup *setup, int batch);

#ifdef __cplusplus
}
#endif
#endif
