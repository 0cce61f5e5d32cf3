// SPDX-License-Identifier: MIT
// Where the time of a step goes: the CPU backend's table with every slot wrapped in a timer. Also notes which products
// and attentions a step consists of, from which the floor of its time is computed (floor.h).
#ifndef KVLAB_BENCH_PROFILE_H
#define KVLAB_BENCH_PROFILE_H
#include "harness/num/backend.h"
#ifdef __cplusplus
extern "C" {
#endif

enum profile_kind {
	PROFILE_GEMM_FORWARD,  // NT
	PROFILE_GEMM_BACKWARD, // NN and TN
	PROFILE_ATTENTION_FORWARD,
	PROFILE_ATTENTION_BACKWARD,
	PROFILE_NORM,
	PROFILE_UNARY,
	PROFILE_RESIDUAL,   // add, copy
	PROFILE_COLUMN_SUM, // bias gradients
	PROFILE_EMBED,
	PROFILE_LOSS,
	PROFILE_OPTIMISER,
	PROFILE_OTHER, // rope, swiglu, dropout, what looks into heads
	PROFILE_KINDS,
};
extern const char *const profile_name[PROFILE_KINDS];

enum { PROFILE_PRODUCTS = 128 };
struct profile_product {
	enum gemm_form form;
	int m, n, k;
	long calls;
	double spent_s;
};

struct profile {
	double spent_s[PROFILE_KINDS];
	double attention_flops; // of useful multiply-adds, forward and backward
	struct profile_product product[PROFILE_PRODUCTS];
	int n_product; // distinct shapes
};

// A backend that adds up into *to while it is used; one at a time.
const struct backend *profile_start(struct profile *to);
// FLOPs of the products alone that attention needs: 2 a multiply-add, visible pairs only.
double attention_flops(const struct attention_shape *shape, int is_backward);

#ifdef __cplusplus
}
#endif
#endif
