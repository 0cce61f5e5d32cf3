// SPDX-License-Identifier: MIT
// The contract of a task: where sequences and their targets come from. One file per task exports
// `const struct task task_<name>`; the registry finds it by its file name.
#ifndef KVLAB_TASK_TASK_H
#define KVLAB_TASK_TASK_H
#include "harness/base/err.h"
#include "harness/base/option.h"
#include "harness/base/rng.h"
#ifdef __cplusplus
extern "C" {
#endif

struct task_shape {
	int n_vocab;               // tokens are 0..n_vocab-1
	int T;                     // tokens per sequence
	int target_from, n_target; // logits are wanted at positions target_from..target_from+n_target-1 only
	double chance;             // accuracy of guessing
};

struct task {
	const char *name, *summary;
	int version; // part of a point's key: raise it when drawn sequences change
	size_t config_bytes;
	const struct option *options;
	int (*check)(const void *config, struct err *err);
	struct task_shape (*shape)(const void *config);
	// Writes sequence number `index` of a stream: tokens (T) and targets (n_target; -1: not scored).
	// A pure function of its arguments; purposes are disjoint streams (RNG_TRAIN, RNG_VALIDATION, RNG_TEST).
	void (*draw)(
	        const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets);
};

#ifdef __cplusplus
}
#endif
#endif
