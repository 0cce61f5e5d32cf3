// SPDX-License-Identifier: MIT
// IEEE halves: the CPU backend's conversions under CUDA's names.
#ifndef KVLAB_TESTS_EMULATE_CUDA_FP16_H
#define KVLAB_TESTS_EMULATE_CUDA_FP16_H
#include "harness/num/cpu/half.h"
#include "tests/emulate/cuda_runtime.h"

struct __half {
	uint16_t bits;
};
struct alignas(4) __half2 {
	__half x, y;
};
typedef __half half;
typedef __half2 half2;

static inline float __half2float(__half x)
{
	return float_of_half(x.bits);
}
static inline __half __float2half_rn(float x)
{
	return {half_of_float(x)};
}
static inline __half __float2half(float x)
{
	return __float2half_rn(x);
}
static inline __half __ushort_as_half(unsigned short bits)
{
	return {bits};
}
static inline unsigned short __half_as_ushort(__half x)
{
	return x.bits;
}
static inline float2 __half22float2(__half2 x)
{
	return {__half2float(x.x), __half2float(x.y)};
}
static inline __half2 __floats2half2_rn(float x, float y)
{
	return {__float2half_rn(x), __float2half_rn(y)};
}
static inline __half2 __float22half2_rn(float2 x)
{
	return __floats2half2_rn(x.x, x.y);
}
#endif
