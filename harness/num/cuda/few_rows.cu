// SPDX-License-Identifier: MIT
// Products of few rows: what decoding spends most of its time in, so what counts is that weights stream from memory.
// To keep it busy each multiprocessor needs some 16 KB on its way (3.35 TB/s times 0.6 us over 132 of them). A lane
// loads 16 bytes (8 numbers) of each of ROWS weight rows before it uses the first; four warps of a block, in turns of
// 256 numbers, share the rows, so that even a matrix of 1,536 rows has a few hundred blocks. Rows of x are some KB that
// every block reads again: they stay in L1 and L2.
#include <limits.h>

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/few_rows.cuh"
#include "harness/num/cuda/reduce.cuh"
#include "harness/num/stored.h"

enum { WARPS = 4, THREADS = 32 * WARPS, COLUMN_WARPS = 8, COLUMN_THREADS = 32 * COLUMN_WARPS, SPAN = 32 * CHUNK };

struct product {
	const unsigned char *w;
	ptrdiff_t row_bytes, ldx, x_part, ldy, y_part;
	const float *x, *bias;
	float *y;
	int dtype, columns, n_part, n_matrix, m, n, k;
	int split; // warps that share a row
};

static __device__ __forceinline__ void load_eight(float *x, const float *at, int first, int second)
{
	const float4 a = __ldg((const float4 *)(at + first)), b = __ldg((const float4 *)(at + second));
	x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
	x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}

static __device__ __forceinline__ const unsigned char *matrix_of(const struct product *p, int part, int rows)
{
	return p->w + (ptrdiff_t)(part * p->n_matrix / p->n_part) * rows * p->row_bytes;
}

// y (m, n) = x (m, k) w^T: ROWS weight rows a group of `split` warps. grid: (groups of rows / groups of a block, parts)
template <int dtype, int M, int ROWS> static __global__ void __launch_bounds__(THREADS) dot_rows(const struct product p)
{
	__shared__ float part_sum[WARPS][M * ROWS];
	const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, part = (int)blockIdx.y;
	const int row = (int)(blockIdx.x * (WARPS / p.split) + warp / p.split) * ROWS;
	const unsigned char *w = matrix_of(&p, part, p.n);
	const float *x = p.x + part * p.x_part;
	float sum[M][ROWS] = {};
	for (int i = warp % p.split * 32 + lane; i < p.k / CHUNK; i += p.split * 32) {
		struct chunk<dtype> raw[ROWS];
#pragma unroll
		for (int r = 0; r < ROWS; r++) // rows behind the last are the last again, and not written
			raw[r].load(w + (ptrdiff_t)min(row + r, p.n - 1) * p.row_bytes, i);
		float xs[M][CHUNK];
#pragma unroll
		for (int m = 0; m < M; m++)
			load_eight(xs[m], x + min(m, p.m - 1) * p.ldx, chunk_first<dtype>(i), chunk_second<dtype>(i));
#pragma unroll
		for (int r = 0; r < ROWS; r++) {
			float ws[CHUNK];
			raw[r].floats(ws);
#pragma unroll
			for (int m = 0; m < M; m++)
#pragma unroll
				for (int j = 0; j < CHUNK; j++)
					sum[m][r] += ws[j] * xs[m][j];
		}
	}
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int r = 0; r < ROWS; r++) {
			const float total = over_warp<sum_of>(sum[m][r]);
			if (lane == 0)
				part_sum[warp][m * ROWS + r] = total;
		}
	__syncthreads();
	if (warp % p.split)
		return;
	for (int i = lane; i < M * ROWS; i += 32) {
		const int m = i / ROWS, j = row + i % ROWS;
		float total = part_sum[warp][i];
		for (int other = 1; other < p.split; other++)
			total += part_sum[warp + other][i];
		if (m < p.m && j < p.n)
			p.y[part * p.y_part + m * p.ldy + j] = total + (p.bias ? p.bias[part * p.n + j] : 0);
	}
}

// y (m, n) = x (m, k) w: a block has SPAN columns, its warps take rows of w in turns. grid: (spans, parts)
template <int dtype, int M> static __global__ void __launch_bounds__(COLUMN_THREADS) sum_rows(const struct product p)
{
	__shared__ float part_sum[COLUMN_WARPS][SPAN];
	const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, part = (int)blockIdx.y;
	const int at = (int)blockIdx.x * 32 + lane, is_there = at < p.n / CHUNK;
	const unsigned char *w = matrix_of(&p, part, p.k);
	const float *x = p.x + part * p.x_part;
	float sum[M][CHUNK] = {};
#pragma unroll 4
	for (int row = warp; row < p.k; row += COLUMN_WARPS) {
		struct chunk<dtype> raw;
		float ws[CHUNK];
		raw.load(w + row * p.row_bytes, is_there ? at : 0);
		raw.floats(ws);
#pragma unroll
		for (int m = 0; m < M; m++) {
			const float factor = __ldg(x + min(m, p.m - 1) * p.ldx + row);
#pragma unroll
			for (int j = 0; j < CHUNK; j++)
				sum[m][j] += factor * ws[j];
		}
	}
#pragma unroll
	for (int m = 0; m < M; m++) {
		if (m >= p.m)
			break;
#pragma unroll
		for (int j = 0; j < CHUNK; j++)
			part_sum[warp][lane * CHUNK + j] = sum[m][j];
		__syncthreads();
		const int i = (int)threadIdx.x / CHUNK, j = (int)threadIdx.x % CHUNK, mine = (int)blockIdx.x * 32 + i;
		float total = 0;
		for (int other = 0; other < COLUMN_WARPS; other++)
			total += part_sum[other][threadIdx.x];
		if (mine < p.n / CHUNK) {
			const int column = j < 4 ? chunk_first<dtype>(mine) + j : chunk_second<dtype>(mine) + j - 4;
			p.y[part * p.y_part + m * p.ldy + column] = total;
		}
		__syncthreads();
	}
}

// Rows or widths that do not suit the kernels above: number by number, a warp an output.
static __global__ void __launch_bounds__(THREADS) any_rows(const struct product p, int is_transposed)
{
	const long at = (long)blockIdx.x * WARPS + threadIdx.x / 32;
	const int m = (int)(at / p.n), j = (int)(at % p.n), part = (int)blockIdx.y, lane = (int)threadIdx.x % 32;
	const unsigned char *w = matrix_of(&p, part, is_transposed ? p.k : p.n);
	float sum = 0;
	if (m >= p.m)
		return;
	for (int l = lane; l < p.k; l += 32)
		sum += p.x[part * p.x_part + m * p.ldx + l] *
		       (is_transposed ? dtype_number(p.dtype, w + l * p.row_bytes, p.columns, j)
		                      : dtype_number(p.dtype, w + j * p.row_bytes, p.columns, l));
	sum = over_warp<sum_of>(sum);
	if (lane == 0)
		p.y[part * p.y_part + m * p.ldy + j] = sum + (p.bias ? p.bias[part * p.n + j] : 0);
}

// --- choice of kernel ---------------------------------------------------------------------------------------------

template <int dtype, int M> static void launch(const struct product *p, int is_transposed)
{
	// Few weight rows: one a group instead of four, so that there are blocks for every multiprocessor.
	const int groups = WARPS / p->split, few = (long)p->n * p->n_part < 4096;
	if (is_transposed)
		LAUNCH((sum_rows<dtype, M>), dim3((unsigned)cuda_blocks(p->n, SPAN), (unsigned)p->n_part),
		        COLUMN_THREADS, 0, cuda.stream, *p);
	else if (few)
		LAUNCH((dot_rows<dtype, M, 1>), dim3((unsigned)cuda_blocks(p->n, groups), (unsigned)p->n_part), THREADS,
		        0, cuda.stream, *p);
	else
		LAUNCH((dot_rows<dtype, M, 4>), dim3((unsigned)cuda_blocks(p->n, 4L * groups), (unsigned)p->n_part),
		        THREADS, 0, cuda.stream, *p);
	cuda_launched("few_rows");
}

template <int dtype> static void launch_rows(const struct product *p, int is_transposed)
{
	if (p->m == 1)
		launch<dtype, 1>(p, is_transposed);
	else if (p->m == 2)
		launch<dtype, 2>(p, is_transposed);
	else if (p->m <= 4)
		launch<dtype, 4>(p, is_transposed);
	else
		launch<dtype, FEW_ROWS>(p, is_transposed);
}

static void (*const kernels[N_DTYPE])(const struct product *p, int is_transposed) = {launch_rows<DTYPE_F32>,
        launch_rows<DTYPE_F16>, launch_rows<DTYPE_BF16>, launch_rows<DTYPE_Q8>, launch_rows<DTYPE_Q4>};

static int is_aligned(const struct product *p, int is_transposed)
{
	const int alignment = chunk_row_alignment(p->dtype), columns = is_transposed ? p->n : p->k;
	return (uintptr_t)p->w % alignment == 0 && p->row_bytes % alignment == 0 &&
	       columns % chunk_columns(p->dtype) == 0 &&
	       (is_transposed || ((uintptr_t)p->x % 16 == 0 && p->ldx % 4 == 0 && p->x_part % 4 == 0));
}

void few_rows(const struct linear_stored *l)
{
	struct product p = {l->w->at, l->w->row_bytes, l->ldx, l->x_part, l->ldy, l->y_part, l->x, l->bias, l->y,
	        (int)l->w->dtype, l->w->columns, l->n_part, l->n_matrix, l->m, l->n, l->k, 1};
	while (p.split < WARPS && l->k >= 2 * SPAN * p.split)
		p.split *= 2;
	if (is_aligned(&p, l->is_transposed)) {
		kernels[p.dtype](&p, l->is_transposed);
		return;
	}
	LAUNCH(any_rows, dim3((unsigned)cuda_blocks((long)l->m * l->n, WARPS), (unsigned)l->n_part), THREADS, 0,
	        cuda.stream, p, l->is_transposed);
	cuda_launched("any_rows");
}
