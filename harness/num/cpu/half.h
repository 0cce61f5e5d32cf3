// SPDX-License-Identifier: MIT
// IEEE half precision: floats rounded to nearest, ties to even, and back. By F16C where the build has it; the portable
// form gives the same bits, subnormals and NaN's payload included (tests compare all of them).
#ifndef KVLAB_NUM_CPU_HALF_H
#define KVLAB_NUM_CPU_HALF_H
#include <stdint.h>
#include <string.h>
#ifdef __F16C__
#include <immintrin.h>
#endif

static inline uint32_t float_bits(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static inline float float_of_bits(uint32_t bits)
{
	float x;
	memcpy(&x, &bits, sizeof(x));
	return x;
}

static inline uint16_t half_of_float(float x)
{
	const uint32_t least_normal = 0x38800000, infinity = 0x7f800000;
	const uint32_t beyond = 0x477ff000; // 65520: what is nearer to 65536 than to the largest half
	const uint32_t sign = float_bits(x) >> 16 & 0x8000, size = float_bits(x) & 0x7fffffff;
	const uint32_t normal = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
	// 0.5 has the unit of the subnormal halves, 2^-24: the sum rounds as they do.
	const uint32_t subnormal = float_bits(float_of_bits(size) + 0.5F) - 0x3f000000;
	const uint32_t nan = 0x7e00 | (size >> 13 & 0x3ff);
	uint32_t half = size < least_normal ? subnormal : normal;
	half = size >= beyond ? 0x7c00 : half;
	half = size > infinity ? nan : half;
	return (uint16_t)(sign | half);
}

static inline float float_of_half(uint16_t half)
{
	const uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = half & 0x7fff;
	const uint32_t subnormal = float_bits((float)(int)size * 0x1p-24F);
	uint32_t bits = size < 0x400 ? subnormal : (size << 13) + 0x38000000;
	bits = size >= 0x7c00 ? 0x7f800000 | size << 13 : bits;
	bits = size > 0x7c00 ? bits | 0x400000 : bits; // NaN is quiet
	return float_of_bits(sign | bits);
}

// n is a multiple of 8.
static inline void halves_of_floats(uint16_t *half, const float *x, int n)
{
#ifdef __F16C__
	for (int i = 0; i < n; i += 8)
		_mm_storeu_si128((__m128i *)(void *)(half + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
#else
	for (int i = 0; i < n; i++)
		half[i] = half_of_float(x[i]);
#endif
}

static inline void floats_of_halves(float *x, const uint16_t *half, int n)
{
#ifdef __F16C__
	for (int i = 0; i < n; i += 8)
		_mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(half + i))));
#else
	for (int i = 0; i < n; i++)
		x[i] = float_of_half(half[i]);
#endif
}

#endif
