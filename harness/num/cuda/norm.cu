// SPDX-License-Identifier: MIT
// Norms over the last axis: a row a block. The row is read three times, from memory once.
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"

enum { THREADS = 256 };

static __global__ void __launch_bounds__(THREADS) norm(
        float *out, float *stat, const float *x, const float *gain, const float *bias, int n, float eps, int is_rms)
{
	__shared__ float part[THREADS / 32];
	const float *row = x + (ptrdiff_t)blockIdx.x * n;
	float *to = out + (ptrdiff_t)blockIdx.x * n, mean = 0, sum = 0;
	if (!is_rms) {
		for (int j = (int)threadIdx.x; j < n; j += THREADS)
			sum += row[j];
		mean = over_block<THREADS, sum_of>(sum, part) / (float)n;
	}
	sum = 0;
	for (int j = (int)threadIdx.x; j < n; j += THREADS)
		sum += (row[j] - mean) * (row[j] - mean);
	const float r = 1 / sqrtf(over_block<THREADS, sum_of>(sum, part) / (float)n + eps);
	for (int j = (int)threadIdx.x; j < n; j += THREADS)
		to[j] = (row[j] - mean) * r * gain[j] + (bias ? bias[j] : 0);
	if (stat && threadIdx.x == 0) {
		stat[2 * (ptrdiff_t)blockIdx.x] = mean;
		stat[2 * (ptrdiff_t)blockIdx.x + 1] = r;
	}
}

void cuda_norm(const struct exec *, real *out, real *stat, const real *x, const real *gain, const real *bias, int m,
        int n, double eps, int is_rms)
{
	if (m < 1)
		return;
	LAUNCH(norm, m, THREADS, 0, cuda.stream, out, stat, x, gain, bias, n, (float)eps, is_rms);
	cuda_launched("norm");
}
