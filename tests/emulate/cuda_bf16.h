// SPDX-License-Identifier: MIT
// bfloat16: the upper half of a float, rounded to nearest, ties to even.
#ifndef KVLAB_TESTS_EMULATE_CUDA_BF16_H
#define KVLAB_TESTS_EMULATE_CUDA_BF16_H
#include "tests/emulate/cuda_runtime.h"

struct __nv_bfloat16 {
	uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
	__nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 x)
{
	return __uint_as_float((unsigned)x.bits << 16);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
	const unsigned bits = __float_as_uint(x);
	if ((bits & 0x7fffffff) > 0x7f800000)
		return {0x7fff};
	return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
static inline __nv_bfloat16 __float2bfloat16(float x)
{
	return __float2bfloat16_rn(x);
}
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
	return {bits};
}
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x)
{
	return x.bits;
}
static inline float2 __bfloat1622float2(__nv_bfloat162 x)
{
	return {__bfloat162float(x.x), __bfloat162float(x.y)};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
	return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
static inline __nv_bfloat162 __float22bfloat162_rn(float2 x)
{
	return __floats2bfloat162_rn(x.x, x.y);
}
#endif
