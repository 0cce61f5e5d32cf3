// SPDX-License-Identifier: MIT
// A model being trained on a task: one step, one evaluation. Used by the train procedure, by benches and by tests.
//
// trainer_init, then any number of trainer_step (numbered from 1) and trainer_evaluate, then trainer_release. Memory is
// taken by the first step and the first evaluation; after that no step allocates (tested by trainer->work.step.n_grow).
//
// Accuracy is measured through what is stored: where the setup's cache has a type other than f32, evaluations go
// through a cache of that type (one prefill of the whole sequence). Training has no cache.
#ifndef KVLAB_RUN_TRAINER_H
#define KVLAB_RUN_TRAINER_H
#include "harness/model/optimizer.h"
#include "harness/spec/setup.h"
#include "harness/task/task.h"
#ifdef __cplusplus
extern "C" {
#endif

// A step, taken down the second time it is asked for and played from then on, where the backend can: its arenas have
// their size by then, and every step finds its tensors in the same places.
struct played_step {
	struct graph *graph;
	int is_refused, is_whole; // whole: the update is part of it; where ranks train together gradients alone are
	long n_step, taken_at;    // asked for; the step that was taken down
	int n_token, *tokens;     // those of the batch, then zeros (op_embed of tables with one row)
	double *loss;             // (batch, n_target), and
	int *hit;
};

struct trainer {
	struct task_data data; // trainer_init: an endless stream; may be changed before the first step
	struct task_shape shape;
	uint64_t seed;
	int batch;                // sequences of a step; of this rank's share of it, where several train together
	int rank, n_rank;         // 0 and 1 alone
	struct arena run, memory; // what lasts; what of it lies in the backend's memory, where that is not the host's
	struct tape_memory work;
	struct model model;
	struct optimizer optimizer;
	struct tape tape;
	int *tokens, *targets; // of the batch in work: (batch, T), (batch, n_target)
	struct played_step played;
	double *row_loss;    // of the batch in work, when evaluating: (batch, n_target)
	struct cache *cache; // of evaluations; NULL with f32, whose bits are those of no cache
};

// Draws initial weights from seed. config's shape must be resolved and checked, and so must its cache.
void trainer_init(struct trainer *t, const struct setup *setup, const struct optimizer_config *optimizer, int batch,
        uint64_t seed, int n_thread);
// The same, but it begins with the values of `start`, a model of the same shapes and names, and trains only parameters
// named in train_only ("w_q w_k", model_train_only; NULL: all). 0, or -1 with the sentence that there are none such.
int trainer_init_from(struct trainer *t, const struct setup *setup, const struct optimizer_config *optimizer, int batch,
        uint64_t seed, int n_thread, const struct model *start, const char *train_only, struct err *err);
// The same on a backend; start lies in the host's memory.
int trainer_init_on(struct trainer *t, const struct backend *backend, const struct setup *setup,
        const struct optimizer_config *optimizer, int batch, uint64_t seed, int n_thread, const struct model *start,
        const char *train_only, struct err *err);
// The arena of values that last.
struct arena *trainer_memory(struct trainer *t);
void trainer_release(struct trainer *t);
// Bytes that it has taken of the backend's memory.
double trainer_allocated(const struct trainer *t);
// Draws batch number `step` (from 1), computes loss and gradients, updates. The loss is that before the update; where
// it is not finite, or the norm of a gradient that is clipped is not, nothing is updated and the loss is not finite.
struct loss trainer_step(struct trainer *t, long step);
// Whether any rank wishes it: asked by all of them at the same places.
int trainer_agree(struct trainer *t, int wish);
// Whether the number is not the same on all ranks.
int trainer_differs(struct trainer *t, long number);
// Mean loss and hits over sequences 0..n-1 of a stream, dropout off. slice: the same over each slice of the task
// (shape.n_slice of them), which add up to the whole; may be NULL.
struct evaluation {
	struct loss loss;
	double error; // standard error of loss.mean, with sequences as the independent units; NaN of one sequence
};
struct evaluation trainer_evaluate(struct trainer *t, enum rng_purpose purpose, long n, struct evaluation *slice);
// Whether evaluations go through a cache: with everything in f32 it would change no bit.
int trainer_has_cache(const struct setup *setup);
// 0, or -1 with the sentence why this setup cannot be evaluated through its cache.
int trainer_check_cache(const struct setup *setup, struct err *err);

// What one step costs, by counting (no memory, no data): tallies of forward and backward, and bytes of tensors.
struct step_cost {
	struct tally forward, backward;
	double tensor_bytes, saved_bytes; // values of tensors; what backward needs beside them and their gradients
	double scratch_bytes;             // inside ops, at most: logits of a chunk, operands in another type
	long n_param;
};
// recomputes: blocks are run again in backward.
struct step_cost trainer_count(const struct setup *setup, int batch, int recomputes);

// Bytes that training takes where it happens: values, gradients and two moments; the tape; on a device scratch memory.
double trainer_bytes(const struct step_cost *cost, int is_apart);

#ifdef __cplusplus
}
#endif
#endif
