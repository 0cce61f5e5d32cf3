// SPDX-License-Identifier: MIT
// Row kernels for processors with AVX2, FMA and F16C, whatever the rest of the build is made for.
#include "harness/num/cpu/rows.h"

#if defined(__x86_64__) && !defined(KVLAB_DOUBLE)
#pragma GCC target("avx2,fma,f16c")
#include <immintrin.h>

#include "harness/num/cpu/half.h"
#include "harness/num/cpu/vec.h"

#include "harness/num/cpu/rows_x86.inc"

enum { IS_TUNED = 1 }; // tiles of cached rows, and common widths of heads, have code of their own
#include "harness/num/cpu/rows_template.inc"

const struct row_kernels rows_avx2 = {.name = "avx2", ROW_KERNELS_TABLE};
#else
const struct row_kernels rows_avx2 = {.name = "avx2"};
#endif
