// SPDX-License-Identifier: MIT
// The parts of `kvlab bench`, in the order in which they must run: workers first, because a pool of spinning threads,
// once made, would share the processors with them. Each prints aligned text on stdout; targets are printed, never
// enforced.
#ifndef KVLAB_BENCH_BENCH_H
#define KVLAB_BENCH_BENCH_H
#include "harness/base/arena.h"
#include "harness/base/err.h"
#include "harness/base/rng.h"
#include "harness/num/dtype.h"
#ifdef __cplusplus
extern "C" {
#endif

struct arm;

struct bench {
	int n_thread; // of the many-thread arms
	struct rng rng;
	struct arena arena;
};

// Processes that train the small model side by side, one thread each: n of them against one.
int bench_workers(struct bench *bench, struct err *err);
// FMA peak and read bandwidth, at one thread and at all.
void bench_machine(struct bench *bench);
// A model's training step against its floor, and where its time goes.
int bench_step(struct bench *bench, const char *model, struct err *err);
// The peak of a process that trains the model, against what a step must hold.
int bench_memory(struct bench *bench, const char *model, struct err *err);
// A step that trains queries and keys alone against a whole one.
int bench_frozen(struct bench *bench, const char *model, struct err *err);
// Opening a model of 135M parameters that lies in a file.
int bench_load_model(struct bench *bench, struct err *err);
// Compressing a model of 135M parameters, and measuring it through the smaller cache.
int bench_convert(struct bench *bench, struct err *err);
// A model's step with every variant, each against its own floor and against mha.
int bench_variants(struct bench *bench, const char *model, struct err *err);
// Fused attention alone.
void bench_attention(struct bench *bench);
// Decode steps and prefill of one shape (NULL: of all) against bandwidth and peak, then its attention by variant.
// n_layer 0: all of the shape's layers.
int bench_decode(struct bench *bench, const char *model, int n_layer, struct err *err);
// Tokenizers on real text, where there is any.
int bench_tokenize(struct bench *bench, struct err *err);
// Seconds of single steps, one a line, for the peers' bench: machine readable.
int bench_steps_only(struct bench *bench, const char *model, double seconds, struct err *err);

// The same of decode steps after `depth` positions, or of prefills of 512 tokens; cache f16, batch 1.
struct decode_steps {
	const char *model;
	enum dtype weights;
	int n_layer, depth, is_prefill;
};
int bench_decode_steps_only(struct bench *bench, const struct decode_steps *steps, double seconds, struct err *err);

// An arm that runs the FMA probe on *n_thread threads, and the FLOPs a second it stands for.
void bench_fma_arm(struct arm *arm, int *n_thread);
double bench_fma_rate(const struct arm *arm);
// "target 0.70: met".
void bench_print_target(double value, double target, const char *unit);

#ifdef __cplusplus
}
#endif
#endif
