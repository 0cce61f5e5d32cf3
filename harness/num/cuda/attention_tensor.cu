// SPDX-License-Identifier: MIT
// Attention on tensor cores: operands rounded to bf16, sums and softmax in f32, scores never in memory. One kernel for
// long calls and for decoding:
//   ROW_WARPS  warps that divide the query rows, 16 each; the other way the 4 warps divide a tile's positions, each
//   with
//              a running maximum of its own, and are put together in order at the end. Decoding has few rows, the heads
//              of a group, and takes 1.
//   TILE       positions at a time; widths are padded to 16 in shared memory, rows 8 numbers further apart than wide:
//              ldmatrix then meets no bank twice.
//   COLUMNS    value columns of a block by 8: sums are kept in registers, so wider heads are several panels, whose
//   blocks
//              make the scores again.
// Decoding is to run at the speed of memory. Of 3.35 TB/s a multiprocessor of an H100 gets 14.5 bytes a clock, and has
// to keep some 20 KB in flight: a staged tile is that of 64 positions, one travels while the other is worked on, and
// two or three blocks fit. Long calls read their rows again for every 64 query rows, out of L2, and are not staged:
// more blocks hide that.
#include "harness/num/cuda/attention.cuh"
#include "harness/num/cuda/tile.cuh"

enum { WARPS = TILE_WARPS, THREADS = TILE_THREADS, MMA_ROWS = 16, MMA_DEPTH = 16, MMA_COLUMNS = 8, PAD = 8 };
#define LOG2_E 1.44269504088896340736F
#define LN_2 0.69314718055994530942F

// Offsets of a block's shared memory, and how its rows are staged.
struct tensor_layout {
	int padded, ld, value, query, staged, bytes; // key is at 0
	int is_staged, is_one;                       // keys and values are parts of the same lines
	int k_stride, v_stride, stage_bytes;
};

// What is read of the block's head: spans of bytes within the rows of k and v.
struct parts {
	int k_from, v_from; // numbers
	struct span k, v;
	ptrdiff_t apart; // v's rows begin so far behind k's, where is_one
};

static __host__ __device__ inline struct parts parts_of(const struct attention_args *a, int g, int panel, int n_panel)
{
	struct parts p;
	const int head = g * a->group, left = a->d_v - panel * n_panel;
	p.k_from = a->k.from + head / a->k_group * a->d_qk;
	p.v_from = a->v.from + head / a->v_group * a->d_v + panel * n_panel;
	p.k = span_of(a->k.dtype, a->k.columns, p.k_from, a->d_qk);
	p.v = span_of(a->v.dtype, a->v.columns, p.v_from, left < n_panel ? left : n_panel);
	if (a->k.tail) {
		p.k.from = p.k_from * (int)a->k.channel_bytes;
		p.k.to = p.k.from + a->d_qk * (int)a->k.channel_bytes;
	}
	p.apart = a->v.at - a->k.at;
	return p;
}

// Both as one, in bytes of k's rows.
static __host__ __device__ inline struct span both(const struct parts *p)
{
	const int v_from = p->v.from + (int)p->apart, v_to = p->v.to + (int)p->apart;
	struct span s = {p->k.from < v_from ? p->k.from : v_from, p->k.to > v_to ? p->k.to : v_to};
	return s;
}

static __device__ inline const unsigned char *row_at(const struct rows *x, int b, int p)
{
	return x->at + b * x->b_bytes + (x->tail ? p / DTYPE_BLOCK : p) * x->row_bytes;
}

// Asks for the tile at p0.
static __device__ inline void stage(const struct attention_args *a, const struct tensor_layout *m,
        const struct parts *p, const struct attention_block *w, unsigned char *to, int p0, int tile)
{
	const int n = min(tile, w->to - p0);
	const unsigned char *k = row_at(&a->k, w->b, p0), *v = row_at(&a->v, w->b, p0);
	if (m->is_one) {
		const struct span s = both(p);
		stage_lines(to, m->k_stride, k + s.from, a->k.row_bytes, s.to - s.from, n);
		return;
	}
	// Of units those that are full: the rest is in the tail.
	const int n_key = a->k.tail ? min(tile, w->S - p0) / DTYPE_BLOCK : n;
	stage_lines(to, m->k_stride, k + p->k.from, a->k.row_bytes, p->k.to - p->k.from, n_key);
	stage_lines(to + tile / (a->k.tail ? (int)DTYPE_BLOCK : 1) * m->k_stride, m->v_stride, v + p->v.from,
	        a->v.row_bytes, p->v.to - p->v.from, n);
}

// Keys (tile, ld) and values (tile, ld_v) of the tile at p0, from there. One function for all kernels: inlined, each
// would have a copy for every type.
static __device__ __noinline__ void make_tile(const struct attention_args *a, const struct tensor_layout *m,
        const struct parts *p, const struct attention_block *w, const unsigned char *staged, uint16_t *key,
        uint16_t *value, int p0, int tile, int n_column, int ld_v)
{
	const int n = min(tile, w->to - p0);
	const unsigned char *k = row_at(&a->k, w->b, p0), *v = row_at(&a->v, w->b, p0);
	struct tile_rows keys = rows_in_place(k, a->k.row_bytes), values = rows_in_place(v, a->v.row_bytes);
	if (m->is_staged && m->is_one) {
		const struct span s = both(p);
		keys = rows_staged(staged, m->k_stride, k + s.from, a->k.row_bytes, s.from);
		values = keys, values.at += p->apart;
	} else if (m->is_staged) {
		const unsigned char *staged_v = staged + tile / (a->k.tail ? (int)DTYPE_BLOCK : 1) * m->k_stride;
		keys = rows_staged(staged, m->k_stride, k + p->k.from, a->k.row_bytes, p->k.from);
		values = rows_staged(staged_v, m->v_stride, v + p->v.from, a->v.row_bytes, p->v.from);
	}
	const struct tile_shape k_shape = {tile, n, a->k.columns, p->k_from, a->d_qk, m->padded, m->ld};
	const struct turn *turn = a->turn.n_rotary ? &a->turn : NULL;
	if (a->k.tail)
		convert_channels(key, &a->k, &keys, &k_shape, turn, w->b, p0, w->S);
	else
		convert(key, a->k.dtype, &keys, &k_shape, turn, p0);
	const struct tile_shape v_shape = {
	        tile, n, a->v.columns, p->v_from, min(n_column, a->d_v - w->panel * n_column), n_column, ld_v};
	convert(value, a->v.dtype, &values, &v_shape, NULL, 0);
}

static __device__ inline float exponential(float x, float most)
{
	return exp2f(x - (most == -INFINITY ? 0 : most));
}

template <int ROW_WARPS, int TILE, int COLUMNS>
static __global__ void __launch_bounds__(THREADS) attention_tensor(
        const __grid_constant__ struct attention_args a, const __grid_constant__ struct tensor_layout m)
{
	constexpr int ROWS = MMA_ROWS * ROW_WARPS, POSITION_WARPS = WARPS / ROW_WARPS, OWN = TILE / POSITION_WARPS;
	constexpr int N_SCORE = OWN / MMA_COLUMNS, PANEL = COLUMNS * MMA_COLUMNS, LD_V = PANEL + PAD;
	unsigned char *const shared = (unsigned char *)dynamic_shared();
	uint16_t *const key = (uint16_t *)shared, *const value = (uint16_t *)(shared + m.value);
	uint16_t *const query = (uint16_t *)(shared + m.query);
	const struct attention_block w = attention_block_of(&a, ROWS, TILE);
	const struct parts parts = parts_of(&a, w.g, w.panel, PANEL);
	const int thread = (int)threadIdx.x, lane = thread % 32, warp = thread / 32;
	const int warp_row = warp / POSITION_WARPS * MMA_ROWS, own = warp % POSITION_WARPS * OWN;
	const int column = lane % 4 * 2; // of an mma's 8: this lane has two

	for (int i = thread; i < ROWS * m.padded; i += THREADS) {
		const int r = i / m.padded, c = i % m.padded;
		const float x = r < w.n_row && c < a.d_qk ? attention_query(&a, &w, w.row + r)[c] : 0;
		query[r * m.ld + c] = __bfloat16_as_ushort(__float2bfloat16_rn(x));
	}

	// Two rows a lane: lane / 4 and 8 further on. Scores and maxima are in powers of 2.
	const float factor = a.scale * LOG2_E;
	const float *bias[2];
	int seen[2], first_unseen = w.S; // positions that a row sees; from where on some row of the block does not
	float most[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0}, sum[COLUMNS][4];
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const int r = w.row + min(warp_row + lane / 4 + 8 * i, w.n_row - 1);
		seen[i] = min(w.to, attention_visible(&a, &w, r));
		bias[i] = a.key_bias + attention_head(&a, &w, r) * a.key_bias_stride;
	}
	first_unseen = min(w.to, attention_visible(&a, &w, w.row));
#pragma unroll
	for (int j = 0; j < COLUMNS; j++)
		sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = 0;

	unsigned char *staged = shared + m.staged, *next = staged + m.stage_bytes;
	if (m.is_staged && w.from < w.to)
		stage(&a, &m, &parts, &w, staged, w.from, TILE);
	copy_commit();
	for (int p0 = w.from; p0 < w.to; p0 += TILE) {
		if (m.is_staged && p0 + TILE < w.to)
			stage(&a, &m, &parts, &w, next, p0 + TILE, TILE);
		copy_commit();
		copy_wait<1>();
		__syncthreads(); // this tile's bytes are there, and nobody reads the tile before
		make_tile(&a, &m, &parts, &w, staged, key, value, p0, TILE, PANEL, LD_V);
		__syncthreads();
		unsigned char *const free = staged;
		staged = next, next = free;

		float score[N_SCORE][4];
#pragma unroll
		for (int j = 0; j < N_SCORE; j++)
			score[j][0] = score[j][1] = score[j][2] = score[j][3] = 0;
		for (int c = 0; c < m.padded; c += MMA_DEPTH) {
			uint32_t q[4];
			load_matrices(q, query + (warp_row + lane % 16) * m.ld + c + lane / 16 * 8);
#pragma unroll
			for (int j = 0; j < N_SCORE; j += 2) {
				uint32_t k[4];
				load_matrices(k,
				        key + (own + j * 8 + lane / 16 * 8 + lane % 8) * m.ld + c + lane / 8 % 2 * 8);
				mma_bf16(score[j], q, k);
				mma_bf16(score[j + 1], q, k + 2);
			}
		}

		float largest[2] = {-INFINITY, -INFINITY};
		const int at = p0 + own + column;
#pragma unroll
		for (int j = 0; j < N_SCORE; j++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				const int position = at + j * 8 + e % 2;
				score[j][e] *= factor;
				if (a.key_bias && position < seen[e / 2])
					score[j][e] += bias[e / 2][position] * LOG2_E;
				if (p0 + TILE > first_unseen && position >= seen[e / 2])
					score[j][e] = -INFINITY;
				largest[e / 2] = fmaxf(largest[e / 2], score[j][e]);
			}
#pragma unroll
		for (int i = 0; i < 2; i++) {
			largest[i] = fmaxf(largest[i], __shfl_xor_sync(~0U, largest[i], 1));
			largest[i] = fmaxf(largest[i], __shfl_xor_sync(~0U, largest[i], 2));
			largest[i] = fmaxf(most[i], largest[i]);
			const float shrink = exponential(most[i], largest[i]); // 0 at first
			most[i] = largest[i];
			total[i] *= shrink;
#pragma unroll
			for (int j = 0; j < COLUMNS; j++)
				sum[j][2 * i] *= shrink, sum[j][2 * i + 1] *= shrink;
		}
#pragma unroll
		for (int j = 0; j < N_SCORE; j++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				score[j][e] = exponential(score[j][e], most[e / 2]);
				total[e / 2] += score[j][e];
			}
#pragma unroll
		for (int s = 0; s < OWN / MMA_DEPTH; s++) {
			// Two neighbouring tiles of scores are, lane by lane, what mma wants of its left operand.
			const float *low = score[2 * s], *high = score[2 * s + 1];
			const uint32_t weight[4] = {bf16_pair(low[0], low[1]), bf16_pair(low[2], low[3]),
			        bf16_pair(high[0], high[1]), bf16_pair(high[2], high[3])};
			const uint16_t *row = value + (own + s * MMA_DEPTH + lane % 16) * LD_V + lane / 16 * 8;
#pragma unroll
			for (int j = 0; j < COLUMNS; j += 2) {
				uint32_t v[4];
				load_matrices_transposed(v, row + j * 8);
				mma_bf16(sum[j], weight, v);
				mma_bf16(sum[j + 1], weight, v + 2);
			}
		}
	}
	copy_wait<0>();
#pragma unroll
	for (int i = 0; i < 2; i++) {
		total[i] += __shfl_xor_sync(~0U, total[i], 1);
		total[i] += __shfl_xor_sync(~0U, total[i], 2);
	}

	// Warps that have other positions of the same rows hand theirs over, one after the other. The values' place is
	// free.
	if (POSITION_WARPS > 1) {
		float *const hand = (float *)value + warp / POSITION_WARPS * (4 * COLUMNS + 4) * 32 + lane;
		for (int from = 1; from < POSITION_WARPS; from++) {
			__syncthreads();
			if (warp % POSITION_WARPS == from) {
#pragma unroll
				for (int j = 0; j < COLUMNS * 4; j++)
					hand[j * 32] = sum[j / 4][j % 4];
#pragma unroll
				for (int i = 0; i < 2; i++)
					hand[(COLUMNS * 4 + i) * 32] = most[i],
					                         hand[(COLUMNS * 4 + 2 + i) * 32] = total[i];
			}
			__syncthreads();
			if (warp % POSITION_WARPS == 0) {
				float mine[2], theirs[2];
#pragma unroll
				for (int i = 0; i < 2; i++) {
					const float other = hand[(COLUMNS * 4 + i) * 32],
					            larger = fmaxf(most[i], other);
					mine[i] = exponential(most[i], larger), theirs[i] = exponential(other, larger);
					most[i] = larger;
					total[i] = total[i] * mine[i] + hand[(COLUMNS * 4 + 2 + i) * 32] * theirs[i];
				}
#pragma unroll
				for (int j = 0; j < COLUMNS * 4; j++)
					sum[j / 4][j % 4] =
					        sum[j / 4][j % 4] * mine[j % 4 / 2] + hand[j * 32] * theirs[j % 4 / 2];
			}
		}
		if (warp % POSITION_WARPS)
			return;
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const int r = warp_row + lane / 4 + 8 * i;
		if (r >= w.n_row)
			continue;
		if (w.panel == 0 && lane % 4 == 0)
			attention_write_row(&a, &w, w.row + r, most[i] * LN_2, total[i]);
#pragma unroll
		for (int j = 0; j < COLUMNS * 2; j++) {
			const int c = w.panel * PANEL + j / 2 * 8 + column + j % 2;
			if (c < a.d_v && w.from < w.to)
				attention_write(&a, &w, w.row + r, c, total[i], sum[j / 2][2 * i + j % 2]);
		}
	}
}

// --- the choice of a kernel and its shared memory -------------------------------------------------------------------

typedef void (*tensor_kernel)(const struct attention_args, const struct tensor_layout);
static const struct {
	int row_warps, tile;
	tensor_kernel kernel[3]; // 64, 128, 256 columns
} kernels[] = {
        {1, 64, {attention_tensor<1, 64, 8>, attention_tensor<1, 64, 16>, attention_tensor<1, 64, 32>}},
        {4, 64, {attention_tensor<4, 64, 8>, attention_tensor<4, 64, 16>, attention_tensor<4, 64, 32>}},
        {4, 32, {attention_tensor<4, 32, 8>, attention_tensor<4, 32, 16>, attention_tensor<4, 32, 32>}},
};
enum { N_KERNEL = sizeof(kernels) / sizeof(*kernels) };

static int aligned(int n, int to)
{
	return (n + to - 1) / to * to;
}

static struct tensor_layout layout_of(const struct attention_args *a, int rows, int tile, int panel, int is_staged)
{
	struct tensor_layout m = {};
	m.padded = aligned(a->d_qk, MMA_DEPTH), m.ld = m.padded + PAD;
	m.value = tile * m.ld * 2;
	m.query = m.value + tile * (panel + PAD) * 2;
	m.staged = m.bytes = m.query + rows * m.ld * 2;
	if (!is_staged)
		return m;
	m.is_staged = 1;
	m.is_one = !a->k.tail && a->k.row_bytes == a->v.row_bytes && a->k.b_bytes == a->v.b_bytes &&
	           a->v.at - a->k.at < a->k.row_bytes && a->k.at - a->v.at < a->k.row_bytes;
	int k_most = 0, v_most = 0, both_most = 0;
	for (int g = 0; g < a->n_group; g++)
		for (int i = 0; i * panel < a->d_v; i++) {
			const struct parts p = parts_of(a, g, i, panel);
			const struct span s = both(&p);
			k_most = max(k_most, p.k.to - p.k.from), v_most = max(v_most, p.v.to - p.v.from);
			both_most = max(both_most, s.to - s.from);
		}
	m.is_one = m.is_one && both_most < k_most + v_most;
	m.k_stride = line_stride(m.is_one ? both_most : k_most);
	m.v_stride = m.is_one ? 0 : line_stride(v_most);
	m.stage_bytes = tile / (a->k.tail ? (int)DTYPE_BLOCK : 1) * m.k_stride + tile * m.v_stride;
	m.bytes += 2 * m.stage_bytes;
	return m;
}

// Of the kernels that have a block for all rows the first whose tiles can be staged, be they small; else the first that
// fits. -1: none does.
static int choose(struct tensor_layout *m, const struct attention_args *a, int n_row, int panel, int most_bytes)
{
	for (int is_staged = 1; is_staged >= 0; is_staged--)
		for (int i = 0; i < N_KERNEL; i++) {
			const int rows = kernels[i].row_warps * MMA_ROWS, is_last = kernels[i].row_warps == WARPS;
			if (n_row > rows && (is_staged || !is_last))
				continue;
			*m = layout_of(a, rows, kernels[i].tile, panel, is_staged);
			if (m->bytes <= most_bytes)
				return i;
		}
	return -1;
}

int attention_tensor_launch(const struct exec *exec, struct attention_args *a, int B)
{
	static int most_bytes, is_ready[N_KERNEL][3];
	if (!most_bytes)
		cuda_check(
		        cudaDeviceGetAttribute(&most_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "attention");
	const int n_row = a->T * a->group, width = a->d_v <= 64 ? 0 : a->d_v <= 128 ? 1 : 2, panel = 64 << width;
	struct tensor_layout m;
	const int i = choose(&m, a, n_row, panel, most_bytes);
	if (i < 0)
		return 0;
	const tensor_kernel kernel = kernels[i].kernel[width];
	if (!is_ready[i][width])
		cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most_bytes),
		        "attention");
	is_ready[i][width] = 1;
	const int n_panel = (a->d_v + panel - 1) / panel, rows = kernels[i].row_warps * MMA_ROWS;
	a->n_row_block = (n_row + rows - 1) / rows;
	attention_split(exec, a, B, n_panel);
	LAUNCH(kernel, dim3((unsigned)(a->n_row_block * a->n_split * a->n_group), (unsigned)n_panel, (unsigned)B),
	        dim3(THREADS), (size_t)m.bytes, cuda.stream, *a, m);
	cuda_launched("attention_tensor");
	attention_join(a, B);
	return 1;
}
