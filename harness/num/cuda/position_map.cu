// SPDX-License-Identifier: MIT
// The two parts of the 2D position map that a softmax feels: a gain per map, and a bias per map and key.
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"
#include "harness/num/position_map.h"

enum { THREADS = 128, MAPS = 8 };

static __global__ void __launch_bounds__(THREADS) map_gain(float *gain, const float *w, ptrdiff_t ldw, int m)
{
	__shared__ double part[THREADS / 32];
	double sum = 0;
	for (int c = (int)threadIdx.x; c < m; c += THREADS)
		sum += (double)w[blockIdx.x * ldw + c];
	sum = over_block<THREADS, sum_of>(sum, part);
	if (threadIdx.x == 0)
		gain[blockIdx.x] = (float)sum;
}

void cuda_map_gain(const struct exec *, real *gain, const real *w, ptrdiff_t ldw, int n_map, int m)
{
	LAUNCH(map_gain, n_map, THREADS, 0, cuda.stream, gain, w, ldw, m);
	cuda_launched("map_gain");
}

// Number k of e(j).
static __device__ __forceinline__ float number_of(const struct map_keys &keys, int j, int k)
{
	const double angle = j * pow(10000.0, -2.0 * (k / 2) / keys.width);
	return (float)(k % 2 ? cos(angle) : sin(angle));
}

// A thread makes e(j) of its key as it goes (position_map.h: map_keys_fill) and serves all maps with it.
static __global__ void __launch_bounds__(THREADS) map_bias(float *bias, ptrdiff_t ldbias, const float *w, ptrdiff_t ldw,
        const float *b, const struct map_keys keys, int S, const int *shift, int first_map, int maps)
{
	const int j = (int)(blockIdx.x * THREADS + threadIdx.x);
	float sum[MAPS];
	if (j >= S + *shift)
		return;
	for (int h = 0; h < maps; h++)
		sum[h] = b ? b[first_map + h] : 0;
	for (int k = 0; k < keys.n; k++) {
		const float e = number_of(keys, j, k);
#pragma unroll
		for (int h = 0; h < MAPS; h++)
			if (h < maps)
				sum[h] += w[(first_map + h) * ldw + keys.from + k] * e;
	}
#pragma unroll
	for (int h = 0; h < MAPS; h++)
		if (h < maps)
			bias[(first_map + h) * ldbias + j] = sum[h];
}

// In a graph the launch has a thread for every position that there is room for: it may be played at later ones.
void cuda_map_bias(const struct exec *, real *bias, ptrdiff_t ldbias, const real *w, ptrdiff_t ldw, const real *b,
        int n_map, int m, int S, int cut)
{
	const struct map_keys keys = map_keys_of((enum map_cut)cut, m);
	const int most = cuda.is_recording ? (int)ldbias : S;
	if (S < 1)
		return;
	for (int h = 0; h < n_map; h += MAPS)
		LAUNCH(map_bias, cuda_blocks(most, THREADS), THREADS, 0, cuda.stream, bias, ldbias, w, ldw, b, keys, S,
		        cuda.shift, h, min(n_map - h, (int)MAPS));
	cuda_launched("map_bias");
}

// A block has one of the key's numbers and up to MAPS maps.
static __global__ void __launch_bounds__(THREADS) map_bias_backward(
        float *dw, ptrdiff_t ldw, const float *dbias, ptrdiff_t ldbias, const struct map_keys keys, int n_map, int S)
{
	__shared__ double part[THREADS / 32];
	const int k = (int)blockIdx.x, first_map = (int)blockIdx.y * MAPS, maps = min(n_map - first_map, (int)MAPS);
	double sum[MAPS] = {0};
	for (int j = (int)threadIdx.x; j < S; j += THREADS) {
		const double e = (double)number_of(keys, j, k);
#pragma unroll
		for (int h = 0; h < MAPS; h++)
			if (h < maps)
				sum[h] += (double)dbias[(first_map + h) * ldbias + j] * e;
	}
#pragma unroll
	for (int h = 0; h < MAPS; h++) {
		const double whole = over_block<THREADS, sum_of>(sum[h], part);
		if (h < maps && threadIdx.x == 0)
			dw[(first_map + h) * ldw + keys.from + k] += (float)whole;
	}
}

void cuda_map_bias_backward(const struct exec *, real *dw, ptrdiff_t ldw, const real *dbias, ptrdiff_t ldbias,
        int n_map, int m, int S, int cut)
{
	const struct map_keys keys = map_keys_of((enum map_cut)cut, m);
	if (S < 1 || keys.n < 1)
		return;
	LAUNCH(map_bias_backward, dim3((unsigned)keys.n, (unsigned)cuda_blocks(n_map, MAPS)), THREADS, 0, cuda.stream,
	        dw, ldw, dbias, ldbias, keys, n_map, S);
	cuda_launched("map_bias_backward");
}
