// SPDX-License-Identifier: MIT
// The twin of harness/num/cuda/matmul.cu where kernels are emulated: one thread a number, sums in f32 from first to
// last.
#include <cuda_bf16.h>

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/matmul.cuh"

int cuda_matmul_start(struct err *)
{
	return 0;
}

const char *cuda_matmul_library(void)
{
	return "naive products";
}

static __device__ float element(const void *x, int is_bf16, long at)
{
	return is_bf16 ? __bfloat162float(((const __nv_bfloat16 *)x)[at]) : ((const float *)x)[at];
}

static __global__ void multiply(const struct matmul p)
{
	const int j = (int)(blockIdx.x * blockDim.x + threadIdx.x), i = (int)blockIdx.y;
	const long batch = blockIdx.z, a = batch * p.a_batch, b = batch * p.b_batch;
	float sum = 0;
	if (j >= p.n)
		return;
	for (long l = 0; l < p.k; l++)
		sum += element(p.a, p.is_bf16, a + (p.a_is_transposed ? l * p.lda + i : i * p.lda + l)) *
		       element(p.b, p.is_bf16, b + (p.b_is_transposed ? j * p.ldb + l : l * p.ldb + j));
	float *to = p.c + batch * p.c_batch + i * p.ldc + j;
	*to = (p.accumulate ? *to : 0) + sum + (p.bias ? p.bias[j] : 0);
}

void cuda_matmul(const struct matmul *p)
{
	LAUNCH(multiply, dim3((unsigned)cuda_blocks(p->n, 64), (unsigned)p->m, (unsigned)p->n_batch), 64, 0,
	        cuda.stream, *p);
}
