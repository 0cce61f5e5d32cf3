// SPDX-License-Identifier: MIT
// The next token from a row of logits: the most likely one, or one drawn.
#ifndef KVLAB_RUN_SAMPLING_H
#define KVLAB_RUN_SAMPLING_H
#include <stdint.h>

#include "harness/base/arena.h"
#include "harness/num/real.h"
#ifdef __cplusplus
extern "C" {
#endif

struct sampling {
	double temperature; // logits are divided by it; 0: the most likely token, the first of equals
	int top_k;          // only the k most likely; 0: all
	double top_p;       // only the most likely that together have this share of what top_k left; 1: all
	uint64_t seed;
};

// Draw number `index` of this seed: a function of its arguments alone. logits (n), all finite; scratch is given back.
int sampling_pick(const struct sampling *sampling, const real *logits, int n, uint64_t index, struct arena *scratch);

#ifdef __cplusplus
}
#endif
#endif
