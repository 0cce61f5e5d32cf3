// SPDX-License-Identifier: MIT
// Products of matrices on the device, f32 without TF32 or bf16 operands with f32 sums: cublasLt behind one function
// (matmul.cu; where kernels are emulated, tests/emulate/matmul.cu).
#ifndef KVLAB_NUM_CUDA_MATMUL_CUH
#define KVLAB_NUM_CUDA_MATMUL_CUH
#include "harness/base/err.h"

// c (m, n) = [c +] a b + bias, row-major, for n_batch matrices that lie a_batch, b_batch, c_batch elements apart.
struct matmul {
	int is_bf16;                      // a and b; otherwise f32. c is f32
	int a_is_transposed;              // a lies as (k, m), otherwise (m, k)
	int b_is_transposed;              // b lies as (n, k), otherwise (k, n)
	int accumulate, m, n, k, n_batch; // all at least 1
	const void *a, *b;
	const float *bias; // (n), added to every row, or NULL; with one matrix and without accumulate
	float *c;
	long lda, ldb, ldc, a_batch, b_batch, c_batch;
};

int cuda_matmul_start(struct err *err);
const char *cuda_matmul_library(void);
void cuda_matmul(const struct matmul *p);

#endif
