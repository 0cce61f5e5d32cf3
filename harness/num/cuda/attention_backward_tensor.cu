// SPDX-License-Identifier: MIT
// Attention backward on tensor cores: operands, weights and ds rounded to bf16, everything else f32. A block has 64
// rows, 16 a warp, and goes through tiles of 32 columns; what mma leaves of a score is, lane by lane, what the next mma
// wants of its left operand, whichever side the rows are. Wide gradients are several panels, whose blocks make the
// scores again.
#include "harness/num/cuda/attention_backward.cuh"
#include "harness/num/cuda/tile.cuh"

enum {
	WARPS = TILE_WARPS,
	THREADS = TILE_THREADS,
	MMA_ROWS = 16,
	MMA_DEPTH = 16,
	ROWS = WARPS * MMA_ROWS,
	TILE = 32,
	N_SCORE = TILE / 8,
	PAD = 8 // rows of shared memory are so much wider than their numbers: ldmatrix meets no bank twice
};
#define LOG2_E 1.44269504088896340736F

// Shared memory, in numbers: rows and columns of the score's operands (q, k), then of the others (dout, v).
struct backward_layout {
	int padded[2], ld[2], row[2], column[2], bytes;
};

static __device__ inline void load_operand(uint16_t *to, int n_tile, const struct matrix *m, int padded, int ld)
{
	const struct tile_rows rows = rows_in_place((const unsigned char *)m->x, m->stride * (ptrdiff_t)sizeof(float));
	const struct tile_shape shape = {n_tile, m->n, m->width, 0, m->width, padded, ld};
	convert_rows<DTYPE_F32>(to, &rows, &shape, NULL, 0);
}

// d (16, TILE) = 16 rows times the tile's.
static __device__ inline void multiply(float (*d)[4], const uint16_t *row, const uint16_t *column, int padded, int ld)
{
	const int lane = (int)threadIdx.x % 32;
#pragma unroll
	for (int j = 0; j < N_SCORE; j++)
		d[j][0] = d[j][1] = d[j][2] = d[j][3] = 0;
	for (int c = 0; c < padded; c += MMA_DEPTH) {
		uint32_t left[4];
		load_matrices(left, row + lane % 16 * ld + c + lane / 16 * 8);
#pragma unroll
		for (int j = 0; j < N_SCORE; j += 2) {
			uint32_t right[4];
			load_matrices(right, column + (j * 8 + lane / 16 * 8 + lane % 8) * ld + c + lane / 8 % 2 * 8);
			mma_bf16(d[j], left, right);
			mma_bf16(d[j + 1], left, right + 2);
		}
	}
}

template <int gradient, int COLUMNS>
static __global__ void __launch_bounds__(THREADS) backward_tensor(
        const __grid_constant__ struct backward_args a, const __grid_constant__ struct backward_layout m, int n_panel)
{
	constexpr int IS_Q = gradient == GRADIENT_Q, IS_V = gradient == GRADIENT_V, PANEL = COLUMNS * 8;
	uint16_t *const shared = (uint16_t *)dynamic_shared();
	const struct backward_block w = backward_block_of<gradient>(&a, ROWS, TILE, n_panel);
	const int lane = (int)threadIdx.x % 32, warp_row = (int)threadIdx.x / 32 * MMA_ROWS;
	const int row = warp_row + lane / 4,
	          column = lane % 4 * 2; // this lane's: rows `row` and 8 on, two columns of 8
	const int panel = w.panel * PANEL, padded = m.padded[IS_V], ld = m.ld[IS_V];
	const uint16_t *summed = shared + m.column[IS_V] + lane % 16 * ld + lane / 16 * 8 + panel;
	float sum[COLUMNS][4];
#pragma unroll
	for (int j = 0; j < COLUMNS; j++)
		sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = 0;
	for (int head = w.head; head < w.head + w.n_head; head++) {
		const long state = ((long)w.b * a.n_head + head) * a.T;
		const float *bias = a.key_bias + head * a.key_bias_stride;
		float d_bias[2] = {0, 0};
		__syncthreads(); // nobody reads the head before
		for (int side = 0; side < (IS_V ? 1 : 2); side++) {
			const struct matrix x = backward_operand(&a, w.b, head, IS_Q, side, w.row, ROWS);
			load_operand(shared + m.row[side], ROWS, &x, m.padded[side], m.ld[side]);
		}
		for (int c0 = w.from; c0 < w.to; c0 += TILE) {
			__syncthreads(); // nor the tile before
			for (int side = 0; side < 2; side++) {
				const struct matrix y = backward_operand(&a, w.b, head, !IS_Q, side, c0, TILE);
				load_operand(shared + m.column[side], TILE, &y, m.padded[side], m.ld[side]);
			}
			__syncthreads();
			float score[N_SCORE][4], product[N_SCORE][4];
			multiply(score, shared + m.row[0] + warp_row * m.ld[0], shared + m.column[0], m.padded[0],
			        m.ld[0]);
			if (!IS_V)
				multiply(product, shared + m.row[1] + warp_row * m.ld[1], shared + m.column[1],
				        m.padded[1], m.ld[1]);
#pragma unroll
			for (int j = 0; j < N_SCORE; j++)
#pragma unroll
				for (int e = 0; e < 4; e++) {
					const int r = row + e / 2 * 8, c = c0 + j * 8 + column + e % 2;
					const int query = IS_Q ? w.row + r : c, position = IS_Q ? c : w.row + r;
					float p = 0, ds = 0;
					if (r < w.n_row && c < w.to && backward_is_seen(&a, query, position)) {
						const float b = a.key_bias ? bias[position] : 0;
						p = exp2f((score[j][e] * a.scale + b - a.lse[state + query]) * LOG2_E);
						ds = IS_V ? 0 : p * (product[j][e] - a.delta[state + query]);
					}
					score[j][e] = IS_V ? p : ds * a.scale;
					d_bias[e / 2] += ds;
				}
#pragma unroll
			for (int s = 0; s < TILE / MMA_DEPTH; s++) {
				const float *low = score[2 * s], *high = score[2 * s + 1];
				const uint32_t weight[4] = {bf16_pair(low[0], low[1]), bf16_pair(low[2], low[3]),
				        bf16_pair(high[0], high[1]), bf16_pair(high[2], high[3])};
#pragma unroll
				for (int j = 0; j < COLUMNS; j += 2) {
					if (panel + j * 8 >= padded)
						continue;
					uint32_t y[4];
					load_matrices_transposed(y, summed + s * MMA_DEPTH * ld + j * 8);
					mma_bf16(sum[j], weight, y);
					mma_bf16(sum[j + 1], weight, y + 2);
				}
			}
		}
#pragma unroll
		for (int i = 0; i < 2; i++) {
			d_bias[i] += __shfl_xor_sync(~0U, d_bias[i], 1);
			d_bias[i] += __shfl_xor_sync(~0U, d_bias[i], 2);
			if (gradient == GRADIENT_K && a.d_bias && w.panel == 0 && lane % 4 == 0 &&
			        row + 8 * i < w.n_row)
				a.d_bias[((long)w.b * a.n_head + head) * a.S + w.row + row + 8 * i] = d_bias[i];
		}
	}
	if (!a.to.x)
		return;
#pragma unroll
	for (int j = 0; j < COLUMNS * 4; j++) {
		const int r = row + j % 4 / 2 * 8, c = panel + j / 4 * 8 + column + j % 2;
		if (r < w.n_row && c < w.width)
			backward_write(&a, &w, r, c, sum[j / 4][j % 4]);
	}
}

typedef void (*backward_kernel)(const struct backward_args, const struct backward_layout, int);
static const backward_kernel kernels[N_GRADIENT][3] = { // 64, 128, 256 columns
        {backward_tensor<GRADIENT_Q, 8>, backward_tensor<GRADIENT_Q, 16>, backward_tensor<GRADIENT_Q, 32>},
        {backward_tensor<GRADIENT_K, 8>, backward_tensor<GRADIENT_K, 16>, backward_tensor<GRADIENT_K, 32>},
        {backward_tensor<GRADIENT_V, 8>, backward_tensor<GRADIENT_V, 16>, backward_tensor<GRADIENT_V, 32>}};

int backward_tensor_launch(const struct backward_args *a, enum gradient gradient, int B)
{
	static int most_bytes, is_ready[N_GRADIENT][3];
	if (!most_bytes)
		cuda_check(
		        cudaDeviceGetAttribute(&most_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "attention");
	struct backward_layout m = {};
	int at = 0;
	for (int side = 0; side < 2; side++) {
		m.padded[side] = cuda_blocks(side ? a->d_v : a->d_qk, MMA_DEPTH) * MMA_DEPTH;
		m.ld[side] = m.padded[side] + PAD;
		m.row[side] = at, at += ROWS * m.ld[side];
		m.column[side] = at, at += TILE * m.ld[side];
	}
	m.bytes = at * (int)sizeof(uint16_t);
	if (m.bytes > most_bytes)
		return 0;
	const int n_row = gradient == GRADIENT_Q ? a->T : a->S, width = gradient == GRADIENT_V ? a->d_v : a->d_qk;
	const int group = gradient == GRADIENT_Q ? 1 : gradient == GRADIENT_K ? a->k_group : a->v_group;
	const int size = width <= 64 ? 0 : width <= 128 ? 1 : 2, n_panel = cuda_blocks(width, 64 << size);
	const backward_kernel kernel = kernels[gradient][size];
	if (!is_ready[gradient][size])
		cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most_bytes),
		        "attention_backward");
	is_ready[gradient][size] = 1;
	LAUNCH(kernel, dim3((unsigned)cuda_blocks(n_row, ROWS), (unsigned)(a->n_head / group), (unsigned)(B * n_panel)),
	        dim3(THREADS), (size_t)m.bytes, cuda.stream, *a, m, n_panel);
	cuda_launched("attention_backward");
	return 1;
}
