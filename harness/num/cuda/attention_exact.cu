// SPDX-License-Identifier: MIT
// Attention in f32 throughout, any widths and types: the parity mode's kernel, and what takes the shapes that do not
// fit the tensor cores' one. A block of 16 query rows goes through tiles of 32 positions with a running maximum; each
// warp has four rows and, while scores are made, a position a lane. Rows are read number by number: this is the kernel
// to be believed, not the fast one.
#include "harness/num/cuda/attention.cuh"
#include "harness/num/cuda/reduce.cuh"

enum {
	WARPS = 4,
	THREADS = 32 * WARPS,
	ROWS_WARP = 4,
	ROWS = WARPS * ROWS_WARP,
	TILE = 32,
	SLICE = 64, // columns of keys or values that are in shared memory
	SLICES = 4,
	PANEL = SLICE * SLICES,
	COLUMNS_LANE = PANEL / 32
};

static __global__ void __launch_bounds__(THREADS) attention_exact(const __grid_constant__ struct attention_args a)
{
	__shared__ float tile[TILE]
	                     [SLICE + 1]; // of keys, then of values; odd rows: a column's lanes meet no bank twice
	__shared__ float query[ROWS][SLICE], weight[ROWS][TILE];
	const struct attention_block w = attention_block_of(&a, ROWS, TILE);
	const int thread = (int)threadIdx.x, lane = thread % 32, first = thread / 32 * ROWS_WARP;
	const int head = w.g * a.group, k_from = head / a.k_group * a.d_qk, v_from = head / a.v_group * a.d_v;
	const int panel = w.panel * PANEL, n_column = min((int)PANEL, a.d_v - panel);
	float most[ROWS_WARP], total[ROWS_WARP], sum[ROWS_WARP][COLUMNS_LANE];
	for (int i = 0; i < ROWS_WARP; i++) {
		most[i] = -INFINITY, total[i] = 0;
		for (int j = 0; j < COLUMNS_LANE; j++)
			sum[i][j] = 0;
	}
	for (int p0 = w.from; p0 < w.to; p0 += TILE) {
		float score[ROWS_WARP] = {0};
		for (int c0 = 0; c0 < a.d_qk; c0 += SLICE) {
			const int n = min((int)SLICE, a.d_qk - c0);
			for (int i = thread; i < TILE * SLICE; i += THREADS) {
				const int p = i / SLICE, c = i % SLICE;
				tile[p][c] = p0 + p < w.to && c < n
				                     ? turned_at(&a.k, &a.turn, w.b, p0 + p, w.S, k_from, c0 + c)
				                     : 0;
			}
			for (int i = thread; i < ROWS * SLICE; i += THREADS) {
				const int r = i / SLICE, c = i % SLICE;
				query[r][c] = r < w.n_row && c < n ? attention_query(&a, &w, w.row + r)[c0 + c] : 0;
			}
			__syncthreads();
			for (int c = 0; c < n; c++)
				for (int i = 0; i < ROWS_WARP; i++)
					score[i] += query[first + i][c] * tile[lane][c];
			__syncthreads();
		}
		for (int i = 0; i < ROWS_WARP; i++) {
			const int r = w.row + first + i;
			const int is_seen = first + i < w.n_row && p0 + lane < min(w.to, attention_visible(&a, &w, r));
			float x = -INFINITY;
			if (is_seen) {
				x = score[i] * a.scale;
				if (a.key_bias)
					x += a.key_bias[attention_head(&a, &w, r) * a.key_bias_stride + p0 + lane];
			}
			const float before = most[i];
			most[i] = fmaxf(before, over_warp<most_of>(x));
			const float e = is_seen ? expf(x - most[i]) : 0;
			const float shrink = before < most[i] ? expf(before - most[i]) : 1; // 0 at first
			weight[first + i][lane] = e;
			total[i] = total[i] * shrink + over_warp<sum_of>(e);
			for (int j = 0; j < COLUMNS_LANE; j++)
				sum[i][j] *= shrink;
		}
#pragma unroll
		for (int s = 0; s < SLICES; s++) {
			const int c0 = s * SLICE;
			if (c0 >= n_column)
				break;
			__syncthreads(); // weights are there, and nobody reads the slice before
			for (int i = thread; i < TILE * SLICE; i += THREADS) {
				const int p = i / SLICE, c = i % SLICE;
				tile[p][c] = p0 + p < w.to && c0 + c < n_column
				                     ? number_at(&a.v, w.b, p0 + p, w.S, v_from + panel + c0 + c)
				                     : 0;
			}
			__syncthreads();
			for (int p = 0; p < TILE; p++)
				for (int i = 0; i < ROWS_WARP; i++) {
					sum[i][2 * s] += weight[first + i][p] * tile[p][lane];
					sum[i][2 * s + 1] += weight[first + i][p] * tile[p][lane + 32];
				}
		}
		__syncthreads();
	}
#pragma unroll
	for (int i = 0; i < ROWS_WARP; i++) {
		if (first + i >= w.n_row)
			continue;
		const int r = w.row + first + i;
		if (lane == 0 && w.panel == 0)
			attention_write_row(&a, &w, r, most[i], total[i]);
#pragma unroll
		for (int j = 0; j < COLUMNS_LANE; j++)
			if (j * 32 + lane < n_column && w.from < w.to)
				attention_write(&a, &w, r, panel + j * 32 + lane, total[i], sum[i][j]);
	}
}

void attention_exact_launch(const struct exec *exec, struct attention_args *a, int B)
{
	const int n_panel = (a->d_v + PANEL - 1) / PANEL;
	a->n_row_block = (a->T * a->group + ROWS - 1) / ROWS;
	attention_split(exec, a, B, n_panel);
	LAUNCH(attention_exact,
	        dim3((unsigned)(a->n_row_block * a->n_split * a->n_group), (unsigned)n_panel, (unsigned)B),
	        dim3(THREADS), 0, cuda.stream, *a);
	cuda_launched("attention_exact");
	attention_join(a, B);
}
