// SPDX-License-Identifier: MIT
// Kernels that touch each number once: bound by memory. A thread takes one number; what it reads lies beside its
// neighbours' in memory.
#include "harness/num/cuda/cuda.cuh"

enum { THREADS = 256 };

static __global__ void __launch_bounds__(THREADS) add(float *out, const float *a, const float *b, long n)
{
	const long i = (long)blockIdx.x * THREADS + threadIdx.x;
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
