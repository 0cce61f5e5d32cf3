// SPDX-License-Identifier: MIT
// Between the files of factor*.c.
#ifndef KVLAB_MODEL_FACTOR_H
#define KVLAB_MODEL_FACTOR_H
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

// A layer's keys on the way to latents of r numbers in all; D = n_kv_head * d_head numbers of all key heads.
struct factor_work {
	const struct attn_source *source;
	const struct attn_conversion *how;
	const struct key_latents *shape;
	struct arena *arena;
	int D, d_head, r;
	double *gram_k, *gram_q; // (D, D): of keys; of queries, added up over a group's heads
	double *down, *up;       // (r, D), (D, r): c = down k, k = up c
	double *gain;            // (r): what each number holds of what is approximated (variants/convert.h)
	double *plane;           // (n_plane): what `plane` of factored_keys holds
};
// n doubles.
double *factor_zeros(const struct factor_work *work, long n);
// The turned numbers of latent `space`, of the n key heads from space * n on.
void factor_planes(struct factor_work *work, int space, int n);

#ifdef __cplusplus
}
#endif
#endif
