// SPDX-License-Identifier: MIT
// Kernels that look into the heads of a row. Rows r of a (B, T, ...) operand are r = b * T + t, one a block.
#include <string.h>

#include "harness/num/cuda/cuda.cuh"

enum { THREADS = 128, RUNS_A_LAUNCH = 128 };

static __device__ __forceinline__ ptrdiff_t row_at(int r, int T, ptrdiff_t b_stride, ptrdiff_t t_stride)
{
	return r / T * b_stride + r % T * t_stride;
}

struct run_batch {
	int n;
	struct column_run run[RUNS_A_LAUNCH];
};

// Runs may meet in a column when they are added: then the block does one after the other. Otherwise each is a warp's.
static __global__ void __launch_bounds__(THREADS)
        copy_columns(struct strided_out out, struct strided x, int T, const struct run_batch batch)
{
	float *to = out.x + row_at((int)blockIdx.x, T, out.b_stride, out.t_stride);
	const float *from = x.x + row_at((int)blockIdx.x, T, x.b_stride, x.t_stride);
	const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
	if (!out.accumulate) {
		for (int i = warp; i < batch.n; i += THREADS / 32)
			for (int j = lane; j < batch.run[i].n; j += 32)
				to[batch.run[i].to + j] = from[batch.run[i].from + j];
		return;
	}
	for (int i = 0; i < batch.n; i++) {
		for (int j = (int)threadIdx.x; j < batch.run[i].n; j += THREADS)
			to[batch.run[i].to + j] += from[batch.run[i].from + j];
		__syncthreads();
	}
}

void cuda_copy_columns(const struct exec *, struct strided_out out, struct strided x, int B, int T,
        const struct column_run *run, int n_run)
{
	for (int from = 0; from < n_run && B * T > 0; from += RUNS_A_LAUNCH) {
		struct run_batch batch;
		batch.n = n_run - from < RUNS_A_LAUNCH ? n_run - from : RUNS_A_LAUNCH;
		memcpy(batch.run, run + from, (size_t)batch.n * sizeof(*run));
		LAUNCH(copy_columns, B * T, THREADS, 0, cuda.stream, out, x, T, batch);
		cuda_launched("copy_columns");
	}
}

static __global__ void __launch_bounds__(THREADS) scale_heads(
        struct strided_out out, struct strided x, int T, int C, int d, const float *gain, ptrdiff_t gain_stride)
{
	float *to = out.x + row_at((int)blockIdx.x, T, out.b_stride, out.t_stride);
	const float *from = x.x + row_at((int)blockIdx.x, T, x.b_stride, x.t_stride);
	for (int j = (int)threadIdx.x; j < C; j += THREADS) {
		const float scaled = from[j] * gain[j / d * gain_stride];
		to[j] = out.accumulate ? to[j] + scaled : scaled;
	}
}

void cuda_scale_heads(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C, int n_head,
        const real *gain, ptrdiff_t gain_stride)
{
	if (B * T < 1)
		return;
	LAUNCH(scale_heads, B * T, THREADS, 0, cuda.stream, out, x, T, C, C / n_head, gain, gain_stride);
	cuda_launched("scale_heads");
}
