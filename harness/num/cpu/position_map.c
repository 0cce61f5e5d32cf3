// SPDX-License-Identifier: MIT
// The two parts of the 2D position map that a softmax feels: a gain per map, and a bias per map and key.
#include "harness/num/position_map.h"

#include "harness/num/cpu/cpu.h"

void cpu_map_gain(const struct exec *exec, real *gain, const real *w, ptrdiff_t ldw, int n_map, int m)
{
	(void)exec;
	for (int h = 0; h < n_map; h++) {
		double sum = 0;
		for (int c = 0; c < m; c++)
			sum += (double)w[h * ldw + c];
		gain[h] = (real)sum;
	}
}

void cpu_map_bias(const struct exec *exec, real *bias, ptrdiff_t ldbias, const real *w, ptrdiff_t ldw, const real *b,
        int n_map, int m, int S, int cut)
{
	const struct map_keys keys = map_keys_of((enum map_cut)cut, m);
	const struct arena_mark mark = arena_mark(exec->scratch);
	real *position = arena_alloc(exec->scratch, (size_t)S * (size_t)keys.n * sizeof(*position));
	map_keys_fill(position, &keys, S);
	for (int h = 0; h < n_map; h++)
		for (int j = 0; j < S; j++)
			bias[h * ldbias + j] = b ? b[h] : 0;
	const struct gemm gemm = {.form = GEMM_NT,
	        .m = n_map,
	        .n = S,
	        .k = keys.n,
	        .a = w + keys.from,
	        .lda = ldw,
	        .b = position,
	        .ldb = keys.n,
	        .c = bias,
	        .ldc = ldbias,
	        .accumulate = 1};
	if (keys.n)
		cpu_gemm(exec, &gemm);
	arena_rewind(exec->scratch, mark);
}

void cpu_map_bias_backward(const struct exec *exec, real *dw, ptrdiff_t ldw, const real *dbias, ptrdiff_t ldbias,
        int n_map, int m, int S, int cut)
{
	const struct map_keys keys = map_keys_of((enum map_cut)cut, m);
	const struct arena_mark mark = arena_mark(exec->scratch);
	real *position = arena_alloc(exec->scratch, (size_t)S * (size_t)keys.n * sizeof(*position));
	map_keys_fill(position, &keys, S);
	const struct gemm gemm = {.form = GEMM_NN,
	        .m = n_map,
	        .n = keys.n,
	        .k = S,
	        .a = dbias,
	        .lda = ldbias,
	        .b = position,
	        .ldb = keys.n,
	        .c = dw + keys.from,
	        .ldc = ldw,
	        .accumulate = 1};
	if (keys.n)
		cpu_gemm(exec, &gemm);
	arena_rewind(exec->scratch, mark);
}
