// SPDX-License-Identifier: MIT
// Row kernels for processors with AVX-512 (F, BW, DQ and VL): products are summed in sixteen lanes and, with 32
// registers, in larger tiles; the rest is that of AVX2.
#include "harness/num/cpu/rows.h"

#if defined(__x86_64__) && !defined(KVLAB_DOUBLE)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
// The header of GCC 12 itself reads what it leaves undefined on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "harness/num/cpu/half.h"
#include "harness/num/cpu/vec.h"

#include "harness/num/cpu/rows_x86.inc"

#define ROWS_WIDE
enum { WIDE = 16, TILE = 16, GROUP = 4, SCALES_SUMS = 0 };
typedef real wide __attribute__((vector_size(64)));

static inline wide wide_load(const real *p)
{
	return (wide)_mm512_loadu_ps(p);
}
static inline void wide_store(real *p, wide x)
{
	_mm512_storeu_ps(p, (__m512)x);
}
static inline wide wide_once(wide x)
{
	__asm__("" : "+v"(x));
	return x;
}
static inline wide wide_load_first(const real *p, int n)
{
	return (wide)_mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p);
}
static inline vec fold(wide x)
{
	return (vec)_mm512_castps512_ps256((__m512)x) + (vec)_mm512_extractf32x8_ps((__m512)x, 1);
}

static inline __m512 sixteen_halves(__m256i x, const enum dtype type)
{
	if (type == DTYPE_F16)
		return _mm512_cvtph_ps(x);
	return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16);
}

// Numbers 16 v .. 16 v + 15 of a block, with their scale.
__attribute__((always_inline)) static inline wide wide_numbers(const unsigned char *block, int v, const enum dtype type)
{
	if (type == DTYPE_F32)
		return wide_load((const real *)(const void *)block + v * WIDE);
	if (type == DTYPE_F16 || type == DTYPE_BF16)
		return (wide)sixteen_halves(_mm256_loadu_si256((const __m256i *)(const void *)block + v), type);
	const __m128 half = _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(const void *)block)); // the first two
	const __m512 scale = _mm512_broadcastss_ps(half);
	if (type == DTYPE_Q8) {
		const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(block + 2 + v * WIDE));
		return (wide)(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)) * scale);
	}
	const __m512 least = _mm512_broadcastss_ps(_mm_movehdup_ps(half));
	const __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(block + 4)));
	const __m512i n = v ? _mm512_srli_epi32(pairs, 4) : _mm512_and_si512(pairs, _mm512_set1_epi32(15));
	return (wide)(_mm512_cvtepi32_ps(n) * scale + least);
}

// Numbers p..p+15 of a row, of which n are there; zeros for the rest. Types without scales.
__attribute__((always_inline)) static inline wide wide_at(const unsigned char *row, int p, int n, const enum dtype type)
{
	const __mmask16 first = (__mmask16)(n < WIDE ? (1U << n) - 1 : 0xffff);
	if (type == DTYPE_F32)
		return (wide)_mm512_maskz_loadu_ps(first, (const real *)(const void *)row + p);
	return (wide)sixteen_halves(_mm256_maskz_loadu_epi16(first, (const uint16_t *)(const void *)row + p), type);
}

#define wide_scale(block, type)                                                                                        \
	(wide)                                                                                                         \
	{                                                                                                              \
		0                                                                                                      \
	} // it is in the numbers
#define one_stream(type) ((type) != DTYPE_Q8 && (type) != DTYPE_Q4)
enum { IS_TUNED = 1 };
#include "harness/num/cpu/rows_template.inc"

const struct row_kernels rows_avx512 = {.name = "avx512", ROW_KERNELS_TABLE};
#else
const struct row_kernels rows_avx512 = {.name = "avx512"};
#endif
