// SPDX-License-Identifier: MIT
// Sums over the rows of something that is a function of row and column: rows are cut into parts of one size, a thread
// adds up a column of a part, another adds the parts. Both go in order, and nothing but the shape decides the cut.
#ifndef KVLAB_NUM_CUDA_ROW_SUMS_CUH
#define KVLAB_NUM_CUDA_ROW_SUMS_CUH
#include "harness/num/cuda/cuda.cuh"

enum { ROWS_A_PART = 128, SUM_THREADS = 128 };

// part (n_part, n); terms(i, j) is the number of row i, column j.
template <typename terms>
static __global__ void __launch_bounds__(SUM_THREADS) sum_parts(float *part, const terms x, int m, int n)
{
	const int j = (int)(blockIdx.x * SUM_THREADS + threadIdx.x), from = (int)blockIdx.y * ROWS_A_PART;
	if (j >= n)
		return;
	float sum = 0;
	for (int i = from; i < m && i < from + ROWS_A_PART; i++)
		sum += x(i, j);
	part[(ptrdiff_t)blockIdx.y * n + j] = sum;
}

static __global__ void __launch_bounds__(SUM_THREADS)
        add_parts(float *out, const float *part, int n_part, int n, int accumulate)
{
	const int j = (int)(blockIdx.x * SUM_THREADS + threadIdx.x);
	if (j >= n)
		return;
	float sum = accumulate ? out[j] : 0;
	for (int i = 0; i < n_part; i++)
		sum += part[(ptrdiff_t)i * n + j];
	out[j] = sum;
}

// out (n) = [out +] the sum over m rows.
template <typename terms>
static void sum_rows(const struct exec *exec, float *out, const terms &x, int m, int n, int accumulate)
{
	const int n_part = cuda_blocks(m, ROWS_A_PART), n_block = cuda_blocks(n, SUM_THREADS);
	const struct arena_mark mark = arena_mark(exec->scratch);
	float *part = cuda_scratch<float>(exec, (long)n_part * n);
	if (n < 1)
		return;
	if (n_part)
		LAUNCH((sum_parts<terms>), dim3((unsigned)n_block, (unsigned)n_part), SUM_THREADS, 0, cuda.stream, part,
		        x, m, n);
	LAUNCH(add_parts, n_block, SUM_THREADS, 0, cuda.stream, out, part, n_part, n, accumulate);
	cuda_launched("sum_rows");
	arena_rewind(exec->scratch, mark);
}

#endif
