// SPDX-License-Identifier: MIT
// Backward of norms, and sums over rows. With xhat = (x - mean) r and g = dout gain:
//     dx = r (g - mean(g) - xhat mean(g xhat)),   without mean(g) where is_rms
//     dgain = sum over rows of dout xhat,   dbias = sum over rows of dout
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"
#include "harness/num/cuda/row_sums.cuh"

enum { THREADS = 256 };

// A row a block.
static __global__ void __launch_bounds__(THREADS) norm_backward(float *dx, int accumulate, const float *dout,
        const float *x, const float *stat, const float *gain, int n, int is_rms)
{
	__shared__ float part[THREADS / 32];
	const ptrdiff_t row = (ptrdiff_t)blockIdx.x * n;
	const float mean = stat[2 * (ptrdiff_t)blockIdx.x], r = stat[2 * (ptrdiff_t)blockIdx.x + 1];
	float g_sum = 0, gx_sum = 0;
	for (int j = (int)threadIdx.x; j < n; j += THREADS) {
		const float g = dout[row + j] * gain[j];
		g_sum += g;
		gx_sum += g * ((x[row + j] - mean) * r);
	}
	const float g_mean = is_rms ? 0 : over_block<THREADS, sum_of>(g_sum, part) / (float)n;
	const float gx_mean = over_block<THREADS, sum_of>(gx_sum, part) / (float)n;
	for (int j = (int)threadIdx.x; j < n; j += THREADS) {
		const float xhat = (x[row + j] - mean) * r;
		const float d = r * (dout[row + j] * gain[j] - g_mean - xhat * gx_mean);
		dx[row + j] = accumulate ? dx[row + j] + d : d;
	}
}

struct gain_terms {
	const float *dout, *x, *stat;
	int n;
	__device__ __forceinline__ float operator()(int i, int j) const
	{
		const ptrdiff_t at = (ptrdiff_t)i * n + j;
		return dout[at] * ((x[at] - stat[2 * (ptrdiff_t)i]) * stat[2 * (ptrdiff_t)i + 1]);
	}
};

struct matrix_terms {
	const float *x;
	ptrdiff_t ldx;
	__device__ __forceinline__ float operator()(int i, int j) const
	{
		return x[i * ldx + j];
	}
};

void cuda_norm_backward(const struct exec *exec, real *dx, int accumulate_x, real *dgain, int accumulate_gain,
        real *dbias, int accumulate_bias, const real *dout, const real *x, const real *stat, const real *gain, int m,
        int n, int is_rms)
{
	const struct gain_terms terms = {dout, x, stat, n};
	if (dx && m > 0) {
		LAUNCH(norm_backward, m, THREADS, 0, cuda.stream, dx, accumulate_x, dout, x, stat, gain, n, is_rms);
		cuda_launched("norm_backward");
	}
	if (dgain)
		sum_rows(exec, dgain, terms, m, n, accumulate_gain);
	if (dbias)
		cuda_column_sum(exec, dbias, dout, n, m, n, accumulate_bias);
}

void cuda_column_sum(const struct exec *exec, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate)
{
	const struct matrix_terms terms = {x, ldx};
	sum_rows(exec, out, terms, m, n, accumulate);
}
