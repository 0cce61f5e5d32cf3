// SPDX-License-Identifier: MIT
// Settings that show each branch of each variant once, and model shapes to try them in: for tests that know the
// variants (the conformance loop does not: tests/variants/settings.h).
#ifndef KVLAB_TESTS_VARIANTS_CASES_H
#define KVLAB_TESTS_VARIANTS_CASES_H
#include "harness/base/err.h"
#include "harness/model/model.h"
#ifdef __cplusplus
extern "C" {
#endif

// What the scores and the average of a rotary mode see.
enum sees { SEES_RELATIVE, SEES_ABSOLUTE };

struct variant_case {
	const char *variant, *settings;
	enum sees average; // under rope; scores always see relative positions
};
extern const struct variant_case variant_cases[]; // ends with a NULL variant

// Settings of model shapes, over the decoder's defaults; ends with NULL.
extern const char *const variant_case_shapes[];

// The model of a case in a shape; NULL, with the sentence in err, when it is refused.
struct model *variant_case_model(const struct variant_case *c, const char *shape, int n_ctx, uint64_t seed,
        struct arena *arena, struct err *err);
// "keyless {m1=2} in {n_head=4}": for messages.
const char *variant_case_name(const struct variant_case *c, const char *shape, struct arena *arena);

// Calls back with each of these models, one at a time, whose memory is given back after the call (what the callback
// takes from the arena, too): cases in shapes that do not refuse them, the i-th of them; and shapes that differ outside
// of attention, under settings of their common sizes ("n_layer=2 d_model=16 n_head=2"). Return how many there were.
typedef void variant_case_check(struct model *m, const char *name, int i);
int variant_cases_each(variant_case_check *check, int n_ctx, struct arena *arena);
int block_cases_each(variant_case_check *check, const char *sizes, int n_ctx, struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
