// SPDX-License-Identifier: MIT
// Sums and the like over a warp and a block, in a fixed order: the same bits every time.
#ifndef KVLAB_NUM_CUDA_REDUCE_CUH
#define KVLAB_NUM_CUDA_REDUCE_CUH
#include <primitives.cuh>

struct sum_of {
	template <typename T> static __device__ __forceinline__ T join(T a, T b)
	{
		return a + b;
	}
};
struct most_of { // of floats it passes over NaN
	static __device__ __forceinline__ float join(float a, float b)
	{
		return fmaxf(a, b);
	}
	static __device__ __forceinline__ unsigned join(unsigned a, unsigned b)
	{
		return a > b ? a : b;
	}
	static __device__ __forceinline__ int join(int a, int b)
	{
		return a > b ? a : b;
	}
};
struct least_of {
	static __device__ __forceinline__ int join(int a, int b)
	{
		return a < b ? a : b;
	}
};

// Every lane gets the result.
template <typename F, typename T> static __device__ __forceinline__ T over_warp(T x)
{
#pragma unroll
	for (int apart = 16; apart; apart /= 2)
		x = F::join(x, __shfl_xor_sync(0xffffffffU, x, apart));
	return x;
}

// Every thread of a block of THREADS gets the result. `shared` has room for THREADS / 32 and may be used again at once.
template <int THREADS, typename F, typename T> static __device__ __forceinline__ T over_block(T x, T *shared)
{
	x = over_warp<F>(x);
	if (threadIdx.x % 32 == 0)
		shared[threadIdx.x / 32] = x;
	__syncthreads();
	x = shared[0];
	for (int i = 1; i < THREADS / 32; i++)
		x = F::join(x, shared[i]);
	__syncthreads();
	return x;
}

#endif
