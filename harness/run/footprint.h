// SPDX-License-Identifier: MIT
// What a model and its cache take in memory, and what one decode step must read of them: counted from shapes, nothing
// is allocated.
#ifndef KVLAB_RUN_FOOTPRINT_H
#define KVLAB_RUN_FOOTPRINT_H
#include "harness/model/cache.h"
#include "harness/num/dtype.h"
#ifdef __cplusplus
extern "C" {
#endif

struct setup;

struct footprint {
	double n_param;
	double weight_bytes; // matrices and the token table in weight_dtype, the rest in f32: as model_quantize keeps
	                     // them
	double weight_read_bytes; // of those, what a step reads whatever its batch: all but tables that are looked up
	double lookup_bytes;      // and what it looks up for each sequence
	struct cache_bytes cache;
	double cache_bytes; // of one sequence of `context` positions
};
struct footprint footprint_count(const struct setup *setup, enum dtype weight_dtype, int context);

#ifdef __cplusplus
}
#endif
#endif
