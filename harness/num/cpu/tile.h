// SPDX-License-Identifier: MIT
// The one small matrix kernel under gemm and attention: a 6 x 16 block of C (float; 6 x 8 in double) in registers.
//   C (m, n) = init (m, n) + sum over p of A(i, p) B(p, j)
// init is C itself to add to it, a bias (ldi 0: every row the same), or NULL for zero.
// A is read through two strides, so that a transposed A needs no copy; rows of B and C are contiguous in j and must
// be readable (and, for C, writable) up to a multiple of VEC columns.
// Every number of C is one chain of multiply-adds in the order of p, whatever the blocking: results do not depend on
// where a row stands, how many rows there are, or how many threads share them.
#ifndef KVLAB_NUM_CPU_TILE_H
#define KVLAB_NUM_CPU_TILE_H
#include <stddef.h>

#include "harness/num/cpu/vec.h"

enum { TILE_ROWS = 6, TILE_COLUMNS = 2 * VEC };

__attribute__((always_inline)) static inline void tile_fixed(real *c, ptrdiff_t ldc, const real *init, ptrdiff_t ldi,
        const real *a, ptrdiff_t ai, ptrdiff_t ap, const real *b, ptrdiff_t ldb, int k, const int rows,
        const int vectors)
{
	vec sum[TILE_ROWS][2];
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < vectors; j++)
			sum[i][j] = init ? vec_load(init + i * ldi + j * VEC) : (vec){0};
	for (int p = 0; p < k; p++) {
		vec bp[2];
		for (int j = 0; j < vectors; j++)
			bp[j] = vec_load(b + j * VEC);
		for (int i = 0; i < rows; i++) {
			vec x = vec_set(a[i * ai]);
			for (int j = 0; j < vectors; j++)
				sum[i][j] += x * bp[j];
		}
		a += ap;
		b += ldb;
	}
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < vectors; j++)
			vec_store(c + i * ldc + j * VEC, sum[i][j]);
}

// Up to TILE_ROWS rows and TILE_COLUMNS columns.
static inline void tile_small(real *c, ptrdiff_t ldc, const real *init, ptrdiff_t ldi, const real *a, ptrdiff_t ai,
        ptrdiff_t ap, const real *b, ptrdiff_t ldb, int m, int n, int k)
{
#define ROWS(r)                                                                                                        \
	case r:                                                                                                        \
		if (n > VEC)                                                                                           \
			tile_fixed(c, ldc, init, ldi, a, ai, ap, b, ldb, k, r, 2);                                     \
		else                                                                                                   \
			tile_fixed(c, ldc, init, ldi, a, ai, ap, b, ldb, k, r, 1);                                     \
		break;
	switch (m) {
		ROWS(1)
		ROWS(2)
		ROWS(3)
		ROWS(4)
		ROWS(5)
		ROWS(6)
	}
#undef ROWS
}

#endif
