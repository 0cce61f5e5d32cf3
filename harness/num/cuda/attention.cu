// SPDX-License-Identifier: MIT
// The attention slots: operands of either as rows, the choice of kernel, the split of positions and the join.
#include <math.h>

#include "harness/num/cuda/attention.cuh"
#include "harness/num/cuda/reduce.cuh"
#include "harness/num/stored.h"

// Blocks that keep a large card busy several times over. A constant, not the card's count of multiprocessors: how the
// positions are split decides the bits.
enum {
	BLOCKS_WANTED = 528,
	SPLITS_MOST = 264,
	FEW_ROWS = 8,
	SPLIT_LEAST = 256,
	JOIN_WARPS = 8,
	JOIN_COLUMNS = 128 // of the value, at a time
};

static int gcd(int a, int b)
{
	return b ? gcd(b, a % b) : a;
}

// A step of few new rows is split as its blocks ask for, however short the context is now: it may be played again when
// it is longer.
void attention_split(const struct exec *exec, struct attention_args *a, int B, int n_panel)
{
	const long n_block = (long)a->n_row_block * a->n_group * n_panel * B;
	long n_split = n_block < BLOCKS_WANTED ? BLOCKS_WANTED / n_block : 1;
	n_split = n_split < SPLITS_MOST ? n_split : (long)SPLITS_MOST;
	if (a->T > FEW_ROWS && n_split > (a->S + SPLIT_LEAST - 1) / SPLIT_LEAST)
		n_split = (a->S + SPLIT_LEAST - 1) / SPLIT_LEAST;
	a->n_split = (int)n_split;
	if (n_split == 1)
		return;
	const long n_state = (long)B * a->n_head * a->T * n_split;
	a->most = cuda_scratch<float>(exec, n_state);
	a->total = cuda_scratch<float>(exec, n_state);
	a->sum = cuda_scratch<float>(exec, n_state * a->d_v);
}

// One new position of one head. Every warp takes each eighth split, first to last, and then they are added in order:
// the sums of a few hundred splits are read in the time of some forty. Splits without a position have written neither
// sum nor maximum worth reading.
static __global__ void __launch_bounds__(32 * JOIN_WARPS) join(const __grid_constant__ struct attention_args a)
{
	__shared__ float part[JOIN_WARPS][JOIN_COLUMNS];
	const ptrdiff_t state = blockIdx.x;
	const int t = (int)(state % a.T), head = (int)(state / a.T % a.n_head), b = (int)(state / a.T / a.n_head);
	const int thread = (int)threadIdx.x, lane = thread % 32, warp = thread / 32;
	const float *most = a.most + state * a.n_split, *total = a.total + state * a.n_split;
	const float *sum = a.sum + state * a.n_split * a.d_v;
	float *out = a.out.x + b * a.out.b_stride + t * a.out.t_stride + head * a.d_v;
	float largest = -INFINITY, whole = 0;
	for (int i = lane; i < a.n_split; i += 32)
		largest = fmaxf(largest, most[i]);
	largest = over_warp<most_of>(largest);
	for (int i = lane; i < a.n_split; i += 32)
		whole += total[i] == 0 ? 0 : total[i] * expf(most[i] - largest);
	whole = over_warp<sum_of>(whole);
	for (int c0 = 0; c0 < a.d_v; c0 += JOIN_COLUMNS) {
		float mine[JOIN_COLUMNS / 32] = {0};
		for (int i = warp; i < a.n_split; i += JOIN_WARPS) {
			if (total[i] == 0)
				continue;
			const float factor = expf(most[i] - largest);
#pragma unroll
			for (int j = 0; j < JOIN_COLUMNS / 32; j++)
				if (c0 + j * 32 + lane < a.d_v)
					mine[j] += sum[(ptrdiff_t)i * a.d_v + c0 + j * 32 + lane] * factor;
		}
#pragma unroll
		for (int j = 0; j < JOIN_COLUMNS / 32; j++)
			part[warp][j * 32 + lane] = mine[j];
		__syncthreads();
		if (thread < JOIN_COLUMNS && c0 + thread < a.d_v) {
			float x = 0;
			for (int i = 0; i < JOIN_WARPS; i++)
				x += part[i][thread];
			out[c0 + thread] = x / whole;
		}
		__syncthreads();
	}
	if (a.lse && thread == 0)
		a.lse[state] = largest + logf(whole);
}

void attention_join(const struct attention_args *a, int B)
{
	if (a->n_split == 1)
		return;
	LAUNCH(join, dim3((unsigned)(B * a->n_head * a->T)), dim3(32 * JOIN_WARPS), 0, cuda.stream, *a);
	cuda_launched("attention: join");
}

static struct attention_args args_of(
        struct strided_out out, float *lse, struct strided q, const struct attention_shape *s)
{
	struct attention_args a = {};
	a.T = s->T, a.S = s->S, a.n_head = s->n_head, a.d_qk = s->d_qk, a.d_v = s->d_v;
	a.causal = s->causal, a.q_position = s->q_position;
	a.scale = (float)s->scale;
	a.key_bias = s->key_bias, a.key_bias_stride = s->key_bias_stride;
	a.k_group = s->n_head / s->n_k_head, a.v_group = s->n_head / s->n_v_head;
	a.group = gcd(a.k_group, a.v_group), a.n_group = s->n_head / a.group;
	a.q = q, a.out = out, a.lse = lse;
	a.shift = cuda.shift;
	return a;
}

static void run(const struct exec *exec, struct attention_args *a, int B, int is_exact)
{
	const struct arena_mark mark = arena_mark(exec->scratch);
	if (is_exact || !attention_tensor_launch(exec, a, B))
		attention_exact_launch(exec, a, B);
	arena_rewind(exec->scratch, mark);
}

static struct rows rows_of_reals(struct strided x, int columns)
{
	struct rows r = {};
	r.at = (const unsigned char *)x.x;
	r.b_bytes = x.b_stride * (ptrdiff_t)sizeof(real), r.row_bytes = x.t_stride * (ptrdiff_t)sizeof(real);
	r.dtype = DTYPE_F32, r.columns = columns;
	return r;
}

static void attention(const struct exec *exec, struct strided_out out, real *lse, struct strided q, struct strided k,
        struct strided v, const struct attention_shape *s, int is_exact)
{
	struct attention_args a = args_of(out, lse, q, s);
	a.k = rows_of_reals(k, s->n_k_head * s->d_qk);
	a.v = rows_of_reals(v, s->n_v_head * s->d_v);
	run(exec, &a, s->B, is_exact);
}

void cuda_attention_exact(const struct exec *exec, struct strided_out out, real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *s)
{
	attention(exec, out, lse, q, k, v, s, 1);
}

void cuda_attention_rounded(const struct exec *exec, struct strided_out out, real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *s)
{
	attention(exec, out, lse, q, k, v, s, 0);
}

static struct rows rows_of_stored(const struct stored *s)
{
	struct rows r = {};
	r.at = s->at, r.b_bytes = s->b_bytes, r.row_bytes = s->row_bytes;
	r.dtype = s->dtype, r.columns = s->columns, r.from = s->from;
	r.tail = s->tail, r.channel_bytes = s->channel_bytes;
	return r;
}

static void turn_of(struct turn *t, const struct rope *rope)
{
	const double circle = 2 * 3.14159265358979323846;
	if (rope->n_rotary / 2 > TURN_PAIRS)
		BUG("%d rotary numbers of a cached key: the kernel has room for %d", rope->n_rotary, 2 * TURN_PAIRS);
	t->from = rope->from, t->n_rotary = rope->n_rotary, t->halves = rope->halves, t->first = rope->first;
	for (int i = 0; i < rope->n_rotary / 2; i++) {
		const double turns = rope_frequency(rope, i) / circle;
		const uint64_t fraction = (uint64_t)((turns - floor(turns)) * 0x1p64);
		t->fraction[i] = rope->backwards ? 0 - fraction : fraction;
	}
}

static void attention_stored(const struct exec *exec, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *s, int is_exact)
{
	struct attention_args a = args_of(out, NULL, q, s);
	a.k = rows_of_stored(k), a.v = rows_of_stored(v);
	if (k->turn)
		turn_of(&a.turn, k->turn);
	run(exec, &a, s->B, is_exact);
}

void cuda_attention_stored_exact(const struct exec *exec, struct strided_out out, struct strided q,
        const struct stored *k, const struct stored *v, const struct attention_shape *s)
{
	attention_stored(exec, out, q, k, v, s, 1);
}

void cuda_attention_stored_rounded(const struct exec *exec, struct strided_out out, struct strided q,
        const struct stored *k, const struct stored *v, const struct attention_shape *s)
{
	attention_stored(exec, out, q, k, v, s, 0);
}
