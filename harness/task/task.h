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
	// Tasks over stored data (a text): how many sequences of each purpose there are; 0: they are drawn without end.
	long n_train, n_validation, n_test;
	uint64_t content_hash; // of the stored data, so that a result can be traced to it
	// The task's own training, validation and test sequences never share content (parts of a text).
	int is_partitioned;
	// Kinds of sequences whose accuracy is reported apart (0 reads as 1): sequence `index` is of slice index %
	// n_slice.
	int n_slice;
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
	// Name of a slice, "n_pair=8": part of the metric's split. NULL without slices.
	void (*slice_name)(const void *config, int slice, char *text, size_t size);
};

// How a run's sequences are taken from a task (options of the train procedure).
enum task_split {
	TASK_SPLIT_STREAM, // purposes are disjoint random streams; by chance, or in a small task, contents may coincide
	TASK_SPLIT_CONTENT, // a hash of the tokens decides which purpose a sequence may serve (14 in 16 training, one
	                    // validation, one test): no test sequence has ever been trained on
};
struct task_data {
	const struct task *task;
	const void *config;
	enum task_split split;
	// 0: every training sequence is new (of stored data: all there are); n: the first n. Where they end, they come
	// again in a new order each epoch.
	long n_train;
	int batch; // a short last batch of an epoch is dropped
};
// Sequence number `index` (0 is the first of the run) for a purpose. Aborts when no sequence of that class can be
// drawn: task_data_check has found out before.
void task_draw(const struct task_data *data, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens,
        int *targets);
// 0, or -1 with the sentence why the data cannot be had (n_train below a batch or above what the task has; a task with
// too few distinct sequences to be split by content).
int task_data_check(const struct task_data *data, struct err *err);
// The purpose that TASK_SPLIT_CONTENT allows a sequence to serve: a hash of its T tokens.
enum rng_purpose task_content_purpose(const int *tokens, int T);

#ifdef __cplusplus
}
#endif
#endif
