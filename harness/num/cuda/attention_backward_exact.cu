// SPDX-License-Identifier: MIT
// Attention backward in f32, any widths: 16 rows of a block against tiles of 32 columns, made of slices of 64 numbers
// in shared memory. A warp has four rows; a lane a column of the tile while scores are made, then columns of the
// gradient.
#include "harness/num/cuda/attention_backward.cuh"
#include "harness/num/cuda/reduce.cuh"

enum {
	WARPS = 4,
	THREADS = 32 * WARPS,
	ROWS_WARP = 4,
	ROWS = WARPS * ROWS_WARP,
	TILE = 32,
	SLICE = 64,
	SLICES = 4,
	PANEL = SLICE * SLICES,
	COLUMNS_LANE = PANEL / 32
};

static __device__ inline void load_slice(float *to, int ld, int rows, const struct matrix *m, int from, int columns)
{
	for (int i = (int)threadIdx.x; i < rows * SLICE; i += THREADS) {
		const int r = i / SLICE, c = i % SLICE;
		to[r * ld + c] = r < m->n && c < columns ? m->x[r * m->stride + from + c] : 0;
	}
}

// dot[i] = row `first` + i of `left` with this lane's row of `right`.
static __device__ inline void dots(float *dot, float (*rows)[SLICE], float (*tile)[SLICE + 1], int first,
        const struct matrix *left, const struct matrix *right)
{
	const int lane = (int)threadIdx.x % 32;
	for (int i = 0; i < ROWS_WARP; i++)
		dot[i] = 0;
	for (int c0 = 0; c0 < left->width; c0 += SLICE) {
		const int n = min((int)SLICE, left->width - c0);
		__syncthreads();
		load_slice(&rows[0][0], SLICE, ROWS, left, c0, n);
		load_slice(&tile[0][0], SLICE + 1, TILE, right, c0, n);
		__syncthreads();
		for (int c = 0; c < n; c++)
#pragma unroll
			for (int i = 0; i < ROWS_WARP; i++)
				dot[i] += rows[first + i][c] * tile[lane][c];
	}
}

template <int gradient>
static __global__ void __launch_bounds__(THREADS)
        backward_exact(const __grid_constant__ struct backward_args a, int n_panel)
{
	constexpr int IS_Q = gradient == GRADIENT_Q, IS_V = gradient == GRADIENT_V;
	__shared__ float tile[TILE][SLICE + 1], rows[ROWS][SLICE], weight[ROWS][TILE];
	const struct backward_block w = backward_block_of<gradient>(&a, ROWS, TILE, n_panel);
	const int thread = (int)threadIdx.x, lane = thread % 32, first = thread / 32 * ROWS_WARP;
	const int panel = w.panel * PANEL, n_column = min((int)PANEL, w.width - panel);
	float sum[ROWS_WARP][COLUMNS_LANE], d_bias[ROWS_WARP];
	for (int i = 0; i < ROWS_WARP; i++)
		for (int j = 0; j < COLUMNS_LANE; j++)
			sum[i][j] = 0;
	for (int head = w.head; head < w.head + w.n_head; head++) {
		const long state = ((long)w.b * a.n_head + head) * a.T;
		const float *bias = a.key_bias + head * a.key_bias_stride;
		const struct matrix x = backward_operand(&a, w.b, head, IS_Q, 0, w.row, ROWS);
		const struct matrix x2 = backward_operand(&a, w.b, head, IS_Q, 1, w.row, ROWS);
		for (int i = 0; i < ROWS_WARP; i++)
			d_bias[i] = 0;
		for (int c0 = w.from; c0 < w.to; c0 += TILE) {
			const struct matrix y = backward_operand(&a, w.b, head, !IS_Q, 0, c0, TILE);
			const struct matrix y2 = backward_operand(&a, w.b, head, !IS_Q, 1, c0, TILE);
			float score[ROWS_WARP], product[ROWS_WARP] = {0};
			dots(score, rows, tile, first, &x, &y);
			if (!IS_V)
				dots(product, rows, tile, first, &x2, &y2);
#pragma unroll
			for (int i = 0; i < ROWS_WARP; i++) {
				const int row = w.row + first + i, column = c0 + lane;
				const int query = IS_Q ? row : column, position = IS_Q ? column : row;
				float p = 0, ds = 0;
				if (first + i < w.n_row && column < w.to && backward_is_seen(&a, query, position)) {
					p = expf(score[i] * a.scale + (a.key_bias ? bias[position] : 0) -
					         a.lse[state + query]);
					ds = p * (product[i] - a.delta[state + query]);
				}
				weight[first + i][lane] = IS_V ? p : ds * a.scale;
				d_bias[i] += ds;
			}
			const struct matrix *summed = IS_V ? &y2 : &y;
#pragma unroll
			for (int s = 0; s < SLICES; s++) {
				if (s * SLICE >= n_column)
					break;
				__syncthreads();
				load_slice(&tile[0][0], SLICE + 1, TILE, summed, panel + s * SLICE,
				        min((int)SLICE, n_column - s * SLICE));
				__syncthreads();
				for (int c = 0; c < TILE; c++)
#pragma unroll
					for (int i = 0; i < ROWS_WARP; i++) {
						sum[i][2 * s] += weight[first + i][c] * tile[c][lane];
						sum[i][2 * s + 1] += weight[first + i][c] * tile[c][lane + 32];
					}
			}
		}
#pragma unroll
		for (int i = 0; gradient == GRADIENT_K && a.d_bias && i < ROWS_WARP; i++) {
			const float all = over_warp<sum_of>(d_bias[i]);
			if (lane == 0 && w.panel == 0 && first + i < w.n_row)
				a.d_bias[((long)w.b * a.n_head + head) * a.S + w.row + first + i] = all;
		}
	}
	if (!a.to.x)
		return;
#pragma unroll
	for (int i = 0; i < ROWS_WARP; i++)
#pragma unroll
		for (int j = 0; j < COLUMNS_LANE; j++)
			if (first + i < w.n_row && j * 32 + lane < n_column)
				backward_write(&a, &w, first + i, panel + j * 32 + lane, sum[i][j]);
}

void backward_exact_launch(const struct backward_args *a, enum gradient gradient, int B)
{
	static void (*const kernels[])(const struct backward_args, int) = {
	        backward_exact<GRADIENT_Q>, backward_exact<GRADIENT_K>, backward_exact<GRADIENT_V>};
	const auto kernel = kernels[gradient];
	const int n_row = gradient == GRADIENT_Q ? a->T : a->S, width = gradient == GRADIENT_V ? a->d_v : a->d_qk;
	const int group = gradient == GRADIENT_Q ? 1 : gradient == GRADIENT_K ? a->k_group : a->v_group;
	const int n_panel = cuda_blocks(width, PANEL);
	LAUNCH(kernel, dim3((unsigned)cuda_blocks(n_row, ROWS), (unsigned)(a->n_head / group), (unsigned)(B * n_panel)),
	        dim3(THREADS), 0, cuda.stream, *a, n_panel);
	cuda_launched("attention_backward");
}
