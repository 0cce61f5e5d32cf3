// SPDX-License-Identifier: MIT
// Products of at most FEW_ROWS rows with weights as they lie: few_rows.cu.
#ifndef KVLAB_NUM_CUDA_FEW_ROWS_CUH
#define KVLAB_NUM_CUDA_FEW_ROWS_CUH
#include "harness/num/backend.h"
#include "harness/num/cuda/dtype.cuh"

enum { FEW_ROWS = 8 };

// A number of y has the same bits whatever m is: its sum is cut by k alone.
void few_rows(const struct linear_stored *l);

#endif
