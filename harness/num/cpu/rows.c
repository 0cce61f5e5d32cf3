// SPDX-License-Identifier: MIT
#include "harness/num/cpu/rows.h"

const struct row_kernels *rows_best(void)
{
#ifdef __x86_64__
	if (rows_avx512.dot[0] && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	        __builtin_cpu_supports("f16c"))
		return &rows_avx512;
	if (rows_avx2.dot[0] && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	        __builtin_cpu_supports("f16c"))
		return &rows_avx2;
#endif
	return &rows_portable;
}
