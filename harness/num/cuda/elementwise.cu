// SPDX-License-Identifier: MIT
// Kernels that touch each number once: bound by memory. A thread takes one number; what it reads lies beside its
// neighbours' in memory.
#include <math.h>

#include "harness/base/rng.h"
#include "harness/num/cuda/cuda.cuh"

enum { THREADS = 256 };

static __device__ __forceinline__ long index_of_thread()
{
	return (long)blockIdx.x * THREADS + threadIdx.x;
}

static __device__ __forceinline__ void put(float *at, float x, int accumulate)
{
	*at = accumulate ? *at + x : x;
}

static __global__ void __launch_bounds__(THREADS) add(float *out, const float *a, const float *b, long n)
{
	const long i = index_of_thread();
	if (i < n)
		out[i] = a[i] + b[i];
}

void cuda_add(const struct exec *, real *out, const real *a, const real *b, long n)
{
	if (n < 1)
		return;
	LAUNCH(add, cuda_blocks(n, THREADS), THREADS, 0, cuda.stream, out, a, b, n);
	cuda_launched("add");
}

static __global__ void __launch_bounds__(THREADS)
        copy(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int m, int n, int accumulate)
{
	const long i = index_of_thread();
	if (i < (long)m * n)
		put(out + i / n * ldo + i % n, x[i / n * ldx + i % n], accumulate);
}

void cuda_copy(
        const struct exec *, real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n, int accumulate)
{
	if (m < 1 || n < 1)
		return;
	LAUNCH(copy, cuda_blocks((long)m * n, THREADS), THREADS, 0, cuda.stream, out, ldo, x, ldx, m, n, accumulate);
	cuda_launched("copy");
}

// --- activations --------------------------------------------------------------------------------------------------

static __device__ float gelu(float x, float *slope)
{
	const float cdf = 0.5F * erfcf(-0.70710678118654752F * x);
	*slope = cdf + x * 0.3989422804014327F * expf(-0.5F * x * x);
	return x * cdf;
}

// The polynomial sees x within +-10, where the sigmoid is 1 or nothing already: its cube cannot overflow.
static __device__ float gelu_new(float x, float *slope)
{
	const float a = 1.5957691216057308F, b = 0.044715F; // a = 2 sqrt(2 / pi)
	const float z = fmaxf(fminf(x, 10), -10), zz = z * z;
	const float e = expf(-a * z * (1 + b * zz)), s = 1 / (1 + e), rest = e * s; // 1 - s without cancellation
	*slope = s + x * s * rest * (a * (1 + 3 * b * zz));
	return x * s;
}

static __device__ float relu(float x, float *slope)
{
	const bool is_off = x <= 0; // NaN is not below 0: it must reach the loss
	*slope = is_off ? 0.0F : 1.0F;
	return is_off ? 0.0F : x;
}

template <float (*function)(float, float *)>
static __global__ void __launch_bounds__(THREADS) unary(float *out, float *slope, const float *x, long n)
{
	const long i = index_of_thread();
	float d;
	if (i >= n)
		return;
	out[i] = function(x[i], &d);
	if (slope)
		slope[i] = d;
}

void cuda_unary(const struct exec *, real *out, real *slope, const real *x, long n, enum unary kind)
{
	const int n_block = cuda_blocks(n, THREADS);
	if (n < 1)
		return;
	if (kind == UNARY_GELU)
		LAUNCH((unary<gelu>), n_block, THREADS, 0, cuda.stream, out, slope, x, n);
	else if (kind == UNARY_GELU_NEW)
		LAUNCH((unary<gelu_new>), n_block, THREADS, 0, cuda.stream, out, slope, x, n);
	else
		LAUNCH((unary<relu>), n_block, THREADS, 0, cuda.stream, out, slope, x, n);
	cuda_launched("unary");
}

static __global__ void __launch_bounds__(THREADS) swiglu(float *out, const float *x, int m, int n)
{
	const long i = index_of_thread();
	if (i >= (long)m * n)
		return;
	const float *row = x + i / n * 2 * n + i % n, gate = row[0], up = row[n];
	out[i] = gate / (1 + expf(-gate)) * up;
}

void cuda_swiglu(const struct exec *, real *out, const real *x, int m, int n)
{
	if (m < 1 || n < 1)
		return;
	LAUNCH(swiglu, cuda_blocks((long)m * n, THREADS), THREADS, 0, cuda.stream, out, x, m, n);
	cuda_launched("swiglu");
}

static __global__ void __launch_bounds__(THREADS)
        unary_backward(float *dx, const float *dout, const float *slope, long n, int accumulate)
{
	const long i = index_of_thread();
	if (i < n)
		put(dx + i, dout[i] * slope[i], accumulate);
}

void cuda_unary_backward(const struct exec *, real *dx, const real *dout, const real *slope, long n, int accumulate)
{
	if (n < 1)
		return;
	LAUNCH(unary_backward, cuda_blocks(n, THREADS), THREADS, 0, cuda.stream, dx, dout, slope, n, accumulate);
	cuda_launched("unary_backward");
}

static __global__ void __launch_bounds__(THREADS)
        swiglu_backward(float *dx, const float *dout, const float *x, int m, int n, int accumulate)
{
	const long i = index_of_thread();
	if (i >= (long)m * n)
		return;
	const long at = i / n * 2 * n + i % n;
	const float gate = x[at], up = x[at + n], d = dout[i], s = 1 / (1 + expf(-gate));
	put(dx + at + n, d * gate * s, accumulate);
	put(dx + at, d * up * s * (1 + gate * (1 - s)), accumulate);
}

void cuda_swiglu_backward(const struct exec *, real *dx, const real *dout, const real *x, int m, int n, int accumulate)
{
	if (m < 1 || n < 1)
		return;
	LAUNCH(swiglu_backward, cuda_blocks((long)m * n, THREADS), THREADS, 0, cuda.stream, dx, dout, x, m, n,
	        accumulate);
	cuda_launched("swiglu_backward");
}

// --- dropout ------------------------------------------------------------------------------------------------------

// Philox 4x32-10 as rng_block (base/rng.c) counts: the CPU's masks.
static __device__ void random_block(uint32_t word[4], uint64_t seed, uint32_t purpose, uint64_t index, uint32_t block)
{
	const uint32_t multiplier[2] = {0xd2511f53, 0xcd9e8d57}, weyl[2] = {0x9e3779b9, 0xbb67ae85};
	uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
	word[0] = block, word[1] = (uint32_t)index, word[2] = (uint32_t)(index >> 32), word[3] = purpose;
	for (int round = 0; round < 10; round++) {
		const uint32_t high0 = __umulhi(multiplier[0], word[0]), low0 = multiplier[0] * word[0];
		const uint32_t high1 = __umulhi(multiplier[1], word[2]), low1 = multiplier[1] * word[2];
		word[0] = high1 ^ word[1] ^ key[0];
		word[1] = low1;
		word[2] = high0 ^ word[3] ^ key[1];
		word[3] = low0;
		key[0] += weyl[0], key[1] += weyl[1];
	}
}

// Four numbers a thread: what one block of the generator gives.
static __global__ void __launch_bounds__(THREADS) dropout(float *out, const float *x, long n, uint32_t threshold,
        float scale, uint64_t seed, uint64_t index, const uint64_t *shift, int accumulate)
{
	const long from = 4 * index_of_thread();
	uint32_t word[4];
	if (from >= n)
		return;
	random_block(word, seed, RNG_DROPOUT, index + *shift, (uint32_t)(from / 4));
	for (int i = 0; i < 4 && from + i < n; i++)
		put(out + from + i, word[i] < threshold ? 0 : x[from + i] * scale, accumulate);
}

void cuda_dropout(
        const struct exec *, real *out, const real *x, long n, double p, uint64_t seed, uint64_t index, int accumulate)
{
	const uint32_t threshold = (uint32_t)(p * 4294967296.0); // dropped when the word is below it
	if (n < 1)
		return;
	LAUNCH(dropout, cuda_blocks(n, 4 * THREADS), THREADS, 0, cuda.stream, out, x, n, threshold,
	        (float)(1 / (1 - p)), seed, index, cuda.dropout_shift, accumulate);
	cuda_launched("dropout");
}
