// SPDX-License-Identifier: MIT
// Which numbers of P a key's position gives in the 2D position map (op.h), and what they are.
//
// Cut PE: e has 2 ceil(m / 4) numbers; P's first numbers are e(i), what is left of m comes from e(j) (m 10: 6 + 4).
// Cut halves: m / 2 numbers of i (rounded down), the rest of j, e's ladder as wide as that part (C-repro; 5 + 5 at m
// 10).
#ifndef KVLAB_NUM_POSITION_MAP_H
#define KVLAB_NUM_POSITION_MAP_H
#include "harness/num/backend.h"
#ifdef __cplusplus
extern "C" {
#endif

struct map_keys {
	int width;   // of the sinusoid e: its ladder's
	int from, n; // the key's numbers among the m
};

struct map_keys map_keys_of(enum map_cut cut, int m);
// E (S, n): e(j) = sin(j f_0), cos(j f_0), sin(j f_1), ..., f_t = 10000^(-2t / width).
void map_keys_fill(real *to, const struct map_keys *keys, int S);

#ifdef __cplusplus
}
#endif
#endif
