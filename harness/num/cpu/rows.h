// SPDX-License-Identifier: MIT
// The inner kernels of decoding: few vectors times rows as they lie in memory, in the type that they are kept in.
// Products with weights, scores and weighted averages are made of them. Thrice compiled: with AVX-512
// (rows_avx512.c), with AVX2, FMA and F16C (rows_avx2.c) and for any processor (rows_portable.c); which set runs is
// chosen at run time.
//
// Rows begin with the first number that is wanted; q8 and q4 take d in whole blocks of DTYPE_BLOCK. A number of the
// result depends on its own operands alone: not on m, n, or where its row stands.
#ifndef KVLAB_NUM_CPU_ROWS_H
#define KVLAB_NUM_CPU_ROWS_H
#include "harness/num/dtype.h"
#ifdef __cplusplus
extern "C" {
#endif

struct rows {
	const unsigned char *at;
	ptrdiff_t row_bytes;
	int n, d;        // rows, numbers of each
	ptrdiff_t ahead; // what lies so many bytes on is fetched from memory meanwhile; 0: nothing
};

// Weight j of vector i is at[i * to_vector + j * to_row].
struct weights {
	const real *at;
	ptrdiff_t to_vector, to_row;
};

// Rows of a cache: parts of d numbers that lie side by side belong to different heads.
struct cached {
	const unsigned char *at;
	ptrdiff_t row_bytes;
	int n_part, d;
};

// Numbers from + i and from + pairs + i of each part are turned by rotor (2, pairs): cosines, then sines. from, pairs
// and the width of a part are multiples of 8.
struct turned {
	int from, pairs;
	const real *rotor;
};

struct row_kernels {
	const char *name;
	// out (m, n) = x (m, d) rows^T
	void (*dot[N_DTYPE])(real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, const struct rows *rows);
	// out (m, d) += w (m, n) rows
	void (*sum[N_DTYPE])(real *out, ptrdiff_t ldo, struct weights w, int m, const struct rows *rows);
	// out (n_part, m) = x (n_part, m, d) times the parts of one row, as they are or turned
	void (*score[N_DTYPE])(real *out, const real *x, int m, const struct cached *row);
	void (*score_turned[N_DTYPE])(
	        real *out, const real *x, int m, const struct cached *row, const struct turned *turned);
	// out (n_part * m, d), its rows in whole vectors, += w (n, n_part * m) times the parts of n rows
	void (*average[N_DTYPE])(real *out, const real *w, ptrdiff_t ldw, int m, const struct cached *rows, int n);
	// n_lane columns (a multiple of 8) of scores (n, ld) become weights: most is raised to their maximum, total
	// times shrink = e^(most before - most) grows by their sum.
	void (*weigh)(real *score, ptrdiff_t ld, int n, int n_lane, real *most, real *total, real *shrink);
	// out (n, d) = rows
	void (*copy[N_DTYPE])(real *out, ptrdiff_t ldo, const struct rows *rows);
};

extern const struct row_kernels rows_portable;
// Their kernels are NULL where the compiler does not make them.
extern const struct row_kernels rows_avx2, rows_avx512;
// The sets that this processor runs, the best first; NULL beyond the last.
const struct row_kernels *rows_set(int i);
const struct row_kernels *rows_best(void);

#ifdef __cplusplus
}
#endif
#endif
