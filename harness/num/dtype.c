// SPDX-License-Identifier: MIT
#include "harness/num/dtype.h"

const char *const dtype_name[N_DTYPE] = {"f32", "f16", "bf16", "q8", "q4"};
