// SPDX-License-Identifier: MIT
// The model that a recovery begins with: one from a folder of weights, or one that is trained here once and kept, so
// that all points and seeds that ask for the same begin with the same bits.
#ifndef KVLAB_RUN_BASE_MODEL_H
#define KVLAB_RUN_BASE_MODEL_H
#include "harness/pretrained/pretrained.h"
#include "harness/run/place.h"
#include "harness/run/run.h"
#include "harness/spec/setup.h"
#include "harness/text/corpus.h"
#ifdef __cplusplus
extern "C" {
#endif

struct base_config {
	char source[PATH_TEXT]; // folder or file of a model, itself or below the folder DATA; empty: trained here
	char folder[PATH_TEXT]; // where those that are trained here are kept
	int seed, steps, batch, warmup;
	double lr;
};

// Opens it: a model of separate queries, keys and values (gqa) of setup's shape; a folder's must be of that shape.
// Without a source the first caller trains it there (AdamW, cosine, on setup's task) and saves it under the hash of all
// that went into it, with a checkpoint beside it where log has one; others wait for it. Numbers may lie in the mapped
// file. 0; 2 when asked to stop (log->tick); -1 with a message.
int base_model_open(struct pretrained *base, const struct setup *setup, const struct base_config *config,
        const struct place *place, int n_thread, struct run_log *log, struct arena *arena, struct err *err);
// 0, or -1 with the sentence why that model cannot be had or is not of setup's shape; nothing is trained.
int base_model_check(const struct setup *setup, const struct base_config *config, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
