// SPDX-License-Identifier: MIT
// The two parts of the 2D position map that a softmax feels: a gain per map, and a bias per map and key.
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"
#include "harness/num/position_map.h"

enum { THREADS = 128 };

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

// A thread makes e(j) of its key as it goes (position_map.h: map_keys_fill) and serves all maps with it.
static __global__ void __launch_bounds__(THREADS) map_bias(float *bias, const float *w, ptrdiff_t ldw, const float *b,
        const struct map_keys keys, int S, int first_map, int maps)
{
	const int j = (int)(blockIdx.x * THREADS + threadIdx.x);
	float sum[8];
	if (j >= S)
		return;
	for (int h = 0; h < maps; h++)
		sum[h] = b ? b[first_map + h] : 0;
	for (int k = 0; k < keys.n; k++) {
		const double angle = j * pow(10000.0, -2.0 * (k / 2) / keys.width);
		const float e = (float)(k % 2 ? cos(angle) : sin(angle));
#pragma unroll
		for (int h = 0; h < 8; h++)
			if (h < maps)
				sum[h] += w[(first_map + h) * ldw + keys.from + k] * e;
	}
#pragma unroll
	for (int h = 0; h < 8; h++)
		if (h < maps)
			bias[(ptrdiff_t)(first_map + h) * S + j] = sum[h];
}

void cuda_map_bias(
        const struct exec *, real *bias, const real *w, ptrdiff_t ldw, const real *b, int n_map, int m, int S, int cut)
{
	const struct map_keys keys = map_keys_of((enum map_cut)cut, m);
	// Its S is part of the launch: a step that makes one cannot be played at other positions.
	if (S < 1 || cuda_refuse("a position map's bias, one number a position,"))
		return;
	for (int h = 0; h < n_map; h += 8)
		LAUNCH(map_bias, cuda_blocks(S, THREADS), THREADS, 0, cuda.stream, bias, w, ldw, b, keys, S, h,
		        n_map - h < 8 ? n_map - h : 8);
	cuda_launched("map_bias");
}
