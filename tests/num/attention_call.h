// SPDX-License-Identifier: MIT
// One call of the attention slots, forward and backward, and what is right: plain loops in double that hold the whole
// T x S matrix.
#ifndef KVLAB_TESTS_NUM_ATTENTION_CALL_H
#define KVLAB_TESTS_NUM_ATTENTION_CALL_H
#include "tests/num/guard.h"
#ifdef __cplusplus
extern "C" {
#endif

// Everything about one call. Arrays of the reference are without gaps: (B * T, n_head * d_v) and so on.
struct attention_call {
	struct attention_shape s;
	struct guarded q, k, v, dout, out, lse, dq, dk, dv;
	struct guarded bias, dbias; // (n_bias, S); n_bias 0: none
	int n_bias;
	double *weight;     // (B, n_head, T, S)
	double *score_size; // (B, n_head, T): largest sum of |q k| scale in the row
	double *out_ref, *out_size, *lse_ref, *lse_size;
	double *dq_ref, *dq_size, *dk_ref, *dk_size, *dv_ref, *dv_size, *dbias_ref, *dbias_size;
};

// Operands with random numbers, outputs, and zeros for what is right. Rows lie some multiples of `gap` apart; n_bias:
// no key bias, one row of it for all heads, or a row for each.
struct attention_call attention_call_make(
        struct rig *rig, const struct attention_shape *shape, int gap, int accumulate, int n_bias);
// Two query heads of one key head, widths that fill no vector, at the last T of S positions: for the edges of blocks.
struct attention_shape attention_call_edge(int T, int S, int causal);
// What is right, with the magnitudes that rounding goes with.
void attention_call_reference(struct attention_call *c);

#ifdef __cplusplus
}
#endif
#endif
