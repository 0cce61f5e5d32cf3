// SPDX-License-Identifier: MIT
#include "harness/num/cpu/rows.h"

static int has_avx2(void)
{
#ifdef __x86_64__
	return rows_avx2.dot[0] && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("f16c");
#else
	return 0;
#endif
}

static int has_avx512(void)
{
#ifdef __x86_64__
	return has_avx2() && rows_avx512.dot[0] && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl");
#else
	return 0;
#endif
}

const struct row_kernels *rows_set(int i)
{
	const struct row_kernels *sets[4] = {0};
	int n = 0;
	if (has_avx512())
		sets[n++] = &rows_avx512;
	if (has_avx2())
		sets[n++] = &rows_avx2;
	sets[n++] = &rows_portable;
	return i < n ? sets[i] : NULL;
}

const struct row_kernels *rows_best(void)
{
	return rows_set(0);
}
