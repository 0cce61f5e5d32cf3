// SPDX-License-Identifier: MIT
// What a spec must know of a model to begin with before it is opened to be converted: its shape, and a hash of what it
// holds, so that other weights under the same path are another point. Each source is looked at once in a process.
#ifndef KVLAB_RUN_SOURCE_MODEL_H
#define KVLAB_RUN_SOURCE_MODEL_H
#include "harness/model/family.h"
#include "harness/model/model.h"
#include "harness/text/corpus.h"
#ifdef __cplusplus
extern "C" {
#endif

struct source_model {
	char path[2 * PATH_TEXT]; // where it was found: as given, or below DATA
	const struct family *family;
	struct model_config config;
	const struct variant *variant;
};

// A folder or file of weights. Valid until the process ends; *found is NULL after a failure. 0, or -1 with the sentence
// why it cannot be had.
int source_model_find(const struct source_model **found, const char *source, struct err *err);
// Hash of its configuration and of names, types, shapes and numbers of all tensors; 0 where it cannot be had.
uint64_t source_model_hash(const char *source);

#ifdef __cplusplus
}
#endif
#endif
