// SPDX-License-Identifier: MIT
// Row kernels for any processor: numbers are unpacked by loops that the compiler makes vectors of, where it has some.
#include "harness/num/cpu/rows.h"

#ifndef KVLAB_DOUBLE
#include "harness/num/cpu/half.h"
#include "harness/num/cpu/vec.h"

static inline vec once(vec x)
{
	return x;
}

struct scale {
	vec scale, least;
};

static inline uint16_t half_at(const unsigned char *from)
{
	uint16_t half;
	memcpy(&half, from, sizeof(half));
	return half;
}

__attribute__((always_inline)) static inline struct scale block_scale(const unsigned char *block, const enum dtype type)
{
	struct scale s = {{0}};
	if (type == DTYPE_Q8 || type == DTYPE_Q4)
		s.scale = vec_set(float_of_half(half_at(block)));
	if (type == DTYPE_Q4)
		s.least = vec_set(float_of_half(half_at(block + 2)));
	return s;
}

// Numbers 8 v .. 8 v + 7 of a block; of q8 and q4 the whole numbers, without their scale.
__attribute__((always_inline)) static inline vec block_numbers(const unsigned char *block, int v, const enum dtype type)
{
	vec x = {0};
	for (int i = 0; i < VEC; i++) {
		const int at = v * VEC + i;
		if (type == DTYPE_F32)
			return vec_load((const real *)(const void *)block + v * VEC);
		else if (type == DTYPE_F16)
			x[i] = float_of_half(half_at(block + 2 * at));
		else if (type == DTYPE_BF16)
			x[i] = float_of_bits((uint32_t)half_at(block + 2 * at) << 16);
		else if (type == DTYPE_Q8)
			x[i] = (float)(signed char)block[2 + at];
		else if (v < 2)
			x[i] = (float)(block[4 + at] & 15);
		else
			x[i] = (float)(block[4 + at - 16] >> 4);
	}
	return x;
}

// n of at most 8 numbers from number p of a row on, zeros after them; types without scales.
__attribute__((always_inline)) static inline vec load_part(
        const unsigned char *row, int p, int n, const enum dtype type)
{
	unsigned char half[2 * VEC] = {0};
	if (type == DTYPE_F32)
		return vec_load_first((const real *)(const void *)row + p, n);
	memcpy(half, row + (ptrdiff_t)p * 2, (size_t)n * 2);
	return block_numbers(half, 0, type);
}

enum { IS_TUNED = 0 }; // one cached row and one vector at a time: less code
#include "harness/num/cpu/rows_template.inc"

const struct row_kernels rows_portable = {.name = "portable", ROW_KERNELS_TABLE};
#else
const struct row_kernels rows_portable = {.name = "none"};
#endif
