// SPDX-License-Identifier: MIT
// Dot products per head over all rows: the gradient of one factor a head.
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"

enum { THREADS = 128, ROWS_A_PART = 64 };

// part (n_part, n_head): a block adds up a head of ROWS_A_PART rows.
static __global__ void __launch_bounds__(THREADS)
        dot_parts(float *part, struct strided a, struct strided b, int rows, int T, int d)
{
	__shared__ float shared[THREADS / 32];
	const int h = (int)blockIdx.x, from = (int)blockIdx.y * ROWS_A_PART;
	float sum = 0;
	for (int r = from; r < rows && r < from + ROWS_A_PART; r++) {
		const float *x = a.x + r / T * a.b_stride + r % T * a.t_stride + (ptrdiff_t)h * d;
		const float *y = b.x + r / T * b.b_stride + r % T * b.t_stride + (ptrdiff_t)h * d;
		for (int j = (int)threadIdx.x; j < d; j += THREADS)
			sum += x[j] * y[j];
	}
	sum = over_block<THREADS, sum_of>(sum, shared);
	if (threadIdx.x == 0)
		part[blockIdx.y * gridDim.x + h] = sum;
}

static __global__ void __launch_bounds__(THREADS) add_dots(float *out, const float *part, int n_part, int n_head)
{
	const int h = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (h >= n_head)
		return;
	float sum = 0;
	for (int i = 0; i < n_part; i++)
		sum += part[(ptrdiff_t)i * n_head + h];
	out[h] = sum;
}

void cuda_dot_heads(
        const struct exec *exec, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head)
{
	const int rows = B * T, n_part = cuda_blocks(rows, ROWS_A_PART);
	const struct arena_mark mark = arena_mark(exec->scratch);
	float *part = cuda_scratch<float>(exec, (long)n_part * n_head);
	if (n_part)
		LAUNCH(dot_parts, dim3((unsigned)n_head, (unsigned)n_part), THREADS, 0, cuda.stream, part, a, b, rows,
		        T, C / n_head);
	LAUNCH(add_dots, cuda_blocks(n_head, THREADS), THREADS, 0, cuda.stream, out, part, n_part, n_head);
	cuda_launched("dot_heads");
	arena_rewind(exec->scratch, mark);
}
