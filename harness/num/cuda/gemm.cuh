// SPDX-License-Identifier: MIT
// What products with stored weights take from gemm.cu.
#ifndef KVLAB_NUM_CUDA_GEMM_CUH
#define KVLAB_NUM_CUDA_GEMM_CUH
#include "harness/num/backend.h"

// x (rows, columns) in bf16, in scratch memory, with rows of *ld numbers, a multiple of 16 bytes.
const void *cuda_rounded(const struct exec *exec, long *ld, const real *x, ptrdiff_t ldx, long rows, int columns);

#endif
