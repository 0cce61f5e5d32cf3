// SPDX-License-Identifier: MIT
// Row kernels for processors with AVX2, FMA and F16C, whatever the rest of the build is made for.
#include "harness/num/cpu/rows.h"

#if defined(__x86_64__) && !defined(KVLAB_DOUBLE)
#pragma GCC target("avx2,fma,f16c")
#include <immintrin.h>

#include "harness/num/cpu/half.h"
#include "harness/num/cpu/vec.h"

// x loaded once for all products with it: the compiler would make it an operand in memory of each.
static inline vec once(vec x)
{
	__asm__("" : "+x"(x));
	return x;
}

struct scale {
	vec scale, least;
};

static inline vec half_everywhere(const unsigned char *from)
{
	uint16_t half;
	memcpy(&half, from, sizeof(half));
	return (vec)_mm256_cvtph_ps(_mm_set1_epi16((short)half));
}

__attribute__((always_inline)) static inline struct scale block_scale(const unsigned char *block, const enum dtype type)
{
	struct scale s = {{0}};
	if (type == DTYPE_Q8 || type == DTYPE_Q4)
		s.scale = half_everywhere(block);
	if (type == DTYPE_Q4)
		s.least = half_everywhere(block + 2);
	return s;
}

// Numbers 8 v .. 8 v + 7 of a block; of q8 and q4 the whole numbers, without their scale.
__attribute__((always_inline)) static inline vec block_numbers(const unsigned char *block, int v, const enum dtype type)
{
	if (type == DTYPE_F32)
		return once(vec_load((const real *)(const void *)block + v * VEC));
	if (type == DTYPE_F16)
		return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)block + v));
	if (type == DTYPE_BF16) {
		const __m128i upper = _mm_loadu_si128((const __m128i *)(const void *)block + v);
		return (vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(upper), 16);
	}
	if (type == DTYPE_Q8) {
		const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(block + 2 + v * VEC));
		return (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
	}
	const __m256i pairs =
	        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(block + 4 + v % 2 * VEC)));
	const __m256i n = v < 2 ? _mm256_and_si256(pairs, _mm256_set1_epi32(15)) : _mm256_srli_epi32(pairs, 4);
	return (vec)_mm256_cvtepi32_ps(n);
}

// n of at most 8 numbers from number p of a row on, zeros after them; types without scales.
__attribute__((always_inline)) static inline vec load_part(
        const unsigned char *row, int p, int n, const enum dtype type)
{
	uint16_t half[VEC] = {0};
	if (type == DTYPE_F32)
		return vec_load_first((const real *)(const void *)row + p, n);
	memcpy(half, row + (ptrdiff_t)p * 2, (size_t)n * sizeof(*half));
	return block_numbers((const unsigned char *)half, 0, type);
}

enum { IS_TUNED = 1 }; // tiles of cached rows, and common widths of heads, have code of their own
#include "harness/num/cpu/rows_template.inc"

const struct row_kernels rows_avx2 = {.name = "avx2", ROW_KERNELS_TABLE};
#else
const struct row_kernels rows_avx2 = {.name = "avx2"};
#endif

const struct row_kernels *rows_best(void)
{
#ifdef __x86_64__
	if (rows_avx2.dot[0] && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	        __builtin_cpu_supports("f16c"))
		return &rows_avx2;
#endif
	return &rows_portable;
}
