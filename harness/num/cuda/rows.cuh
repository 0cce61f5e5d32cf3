// SPDX-License-Identifier: MIT
// Cached rows read by kernels, as they lie (num/stored.h, num/dtype.h): any type, any address, a head's numbers
// anywhere in the row. Numbers of an f32 operand with strides are rows too, so that every attention kernel reads one
// form.
#ifndef KVLAB_NUM_CUDA_ROWS_CUH
#define KVLAB_NUM_CUDA_ROWS_CUH
#include <stdint.h>

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/dtype.cuh"

struct rows {
	const unsigned char *at; // row 0 of sequence 0
	ptrdiff_t b_bytes, row_bytes;
	int dtype, columns, from; // numbers in a row; the first of the tensor's
	// Scales per channel: units of DTYPE_BLOCK rows, channel after channel, and the rows of the last unit, not yet
	// full, as reals (B, DTYPE_BLOCK, columns). NULL: scales per row.
	const real *tail;
	ptrdiff_t channel_bytes;
};

// Positions by which rotary pairs are turned as rows are read. A turn is kept as a fraction of the circle in 64 bits:
// position times fraction is exact but for whole circles, at any position, without a double in sight.
enum { TURN_PAIRS = 384 }; // what a kernel's 4 KB of parameters have room for
struct turn {
	int from, n_rotary, halves, first; // as in struct rope; n_rotary 0: nothing turns
	uint64_t fraction[TURN_PAIRS];
};
struct rotor {
	float c, s;
};

static __device__ inline struct rotor rotor_at(const struct turn *t, int pair, int position)
{
	const uint64_t phase = (uint64_t)(int64_t)(position + t->first) * t->fraction[pair];
	struct rotor r;
	sincospif((float)(int32_t)(phase >> 32) * 0x1p-31F, &r.s, &r.c);
	return r;
}

// Number j of the tensor's row p of sequence b, of S rows. Nothing is turned.
static __device__ inline float number_at(const struct rows *x, int b, int p, int S, int j)
{
	const unsigned char *sequence = x->at + b * x->b_bytes;
	j += x->from;
	if (!x->tail)
		return dtype_number(x->dtype, sequence + p * x->row_bytes, x->columns, j);
	if (p / DTYPE_BLOCK * DTYPE_BLOCK + DTYPE_BLOCK > S)
		return x->tail[((ptrdiff_t)b * DTYPE_BLOCK + p % DTYPE_BLOCK) * x->columns + j];
	return dtype_number(x->dtype, sequence + p / DTYPE_BLOCK * x->row_bytes + j * x->channel_bytes, DTYPE_BLOCK,
	        p % DTYPE_BLOCK);
}

// The other number of j's pair, and which pair it is; -1 where j is not turned. j counts within a head.
static __device__ inline int turn_partner(const struct turn *t, int j, int *pair, int *is_second)
{
	const int i = j - t->from, half = t->n_rotary / 2;
	if (i < 0 || i >= t->n_rotary)
		return -1;
	*pair = t->halves ? i % half : i / 2;
	*is_second = t->halves ? i >= half : i % 2;
	const int apart = t->halves ? half : 1;
	return *is_second ? j - apart : j + apart;
}

// The same of a head that begins at number `from`, turned by its position; t NULL: not turned.
static __device__ inline float turned_at(
        const struct rows *x, const struct turn *t, int b, int p, int S, int from, int j)
{
	const float own = number_at(x, b, p, S, from + j);
	int pair, is_second;
	const int partner = t ? turn_partner(t, j, &pair, &is_second) : -1;
	if (partner < 0)
		return own;
	const struct rotor r = rotor_at(t, pair, p);
	const float other = number_at(x, b, p, S, from + partner);
	return is_second ? other * r.s + own * r.c : own * r.c - other * r.s;
}

#endif
