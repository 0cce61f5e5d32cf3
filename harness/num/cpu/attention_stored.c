// SPDX-License-Identifier: MIT
// Attention of few query rows over cached rows, as they lie (flash-decoding): a tile of DTYPE_BLOCK positions at a
// time, all query heads that share a key head at once, so that each cached byte is read once. The context is cut into
// splits whose length depends on the context alone; each split keeps a running maximum, sum and average of its own, and
// they are put together in order: any number of threads gives the same bits.
#include <math.h>
#include <string.h>

#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/rows.h"
#include "harness/num/cpu/turn.h"
#include "harness/num/cpu/vec.h"
#include "harness/num/stored.h"

enum { TILE = DTYPE_BLOCK, SPLIT_LEAST = 4 * TILE, SPLITS_MOST = 32 };

struct decode {
	const struct attention_shape *shape;
	const struct stored *k, *v;
	const struct row_kernels *kernels;
	int group, m; // query heads of a key head; with the query rows: vectors that are scored together
	int split, n_split;
	ptrdiff_t ld;                 // of averages: d_v in whole vectors
	real *q;                      // (B, n_k_head, m, d_qk), scaled
	real *most, *total, *average; // of each (sequence, split, key head, vector)
	struct turn_table turn;
};

// Of one thread.
struct workspace {
	real *score;  // (m, TILE)
	real *copy;   // (TILE, wider of d_qk and d_v)
	real *turned; // (m, d_qk): queries turned back by the tile's position
};

static int visible(const struct attention_shape *s, int i)
{
	return s->causal ? cpu_min(s->S, s->q_position + i + 1) : s->S;
}

static void pack_queries(const struct decode *d, struct strided q)
{
	const struct attention_shape *s = d->shape;
	real *to = d->q;
	for (int b = 0; b < s->B; b++)
		for (int g = 0; g < s->n_k_head; g++)
			for (int i = 0; i < d->m; i++, to += s->d_qk) {
				const int t = i / d->group, head = g * d->group + i % d->group;
				const real *from = q.x + b * q.b_stride + t * q.t_stride + head * s->d_qk;
				for (int j = 0; j < s->d_qk; j++)
					to[j] = from[j] * (real)s->scale;
			}
}

// Columns from..from+d-1 of n rows: as they lie, or a copy in reals where a kernel could not begin there.
static struct rows rows_at(enum dtype *dtype, const struct decode *d, const struct stored *s, real *copy, int b, int p0,
        int n, int from, int columns)
{
	if (!s->tail && stored_is_whole(s, from, columns)) {
		const size_t skipped = dtype_row_bytes(s->dtype, s->from + from);
		*dtype = s->dtype;
		return (struct rows){s->at + b * s->b_bytes + p0 * s->row_bytes + skipped, s->row_bytes, n, columns,
		        TILE * s->row_bytes};
	}
	*dtype = DTYPE_F32;
	const ptrdiff_t row_bytes = columns * (ptrdiff_t)sizeof(real);
	cpu_read_block(s, copy, columns, b, p0, n, d->shape->S, from, columns);
	return (struct rows){(unsigned char *)copy, row_bytes, n, columns, 0};
}

// Scores of the m vectors of key head g at positions p0..p0+n-1.
static void score_tile(
        const struct decode *d, const struct workspace *space, const real *q, int b, int g, int p0, int n)
{
	const struct attention_shape *s = d->shape;
	const struct stored *k = d->k;
	const int from = g * s->d_qk;
	if (k->turn) {
		enum dtype dtype;
		const struct rows as_kept = rows_at(&dtype, d, k, space->copy, b, p0, n, from, s->d_qk);
		turn_rows(space->copy, s->d_qk, &as_kept, dtype, &d->turn, d->kernels);
		const struct rows rows = {
		        (unsigned char *)space->copy, s->d_qk * (ptrdiff_t)sizeof(real), n, s->d_qk, 0};
		d->kernels->dot[DTYPE_F32](space->score, TILE, q, s->d_qk, d->m, &rows);
	} else if (k->tail && p0 + TILE <= s->S) { // the average's kernel: channels are the rows, queries the weights
		const unsigned char *unit = k->at + b * k->b_bytes + p0 / TILE * k->row_bytes;
		const struct rows channels = {
		        unit + (k->from + from) * k->channel_bytes, k->channel_bytes, s->d_qk, TILE, k->row_bytes};
		memset(space->score, 0, (size_t)d->m * TILE * sizeof(real));
		d->kernels->sum[k->dtype](space->score, TILE, q, s->d_qk, d->m, &channels);
	} else {
		enum dtype dtype;
		const struct rows rows = rows_at(&dtype, d, k, space->copy, b, p0, n, from, s->d_qk);
		d->kernels->dot[dtype](space->score, TILE, q, s->d_qk, d->m, &rows);
	}
	for (int i = 0; i < d->m && s->key_bias; i++) {
		const real *bias = s->key_bias + (g * d->group + i % d->group) * s->key_bias_stride + p0;
		for (int j = 0; j < n; j++)
			space->score[i * TILE + j] += bias[j];
	}
}

// One row of scores becomes weights; the row's maximum, sum and average so far are brought to the new maximum.
static void weigh(real *score, int seen, real *most, real *total, real *average, ptrdiff_t ld)
{
	real tile_most = score[0];
	for (int j = seen; j < TILE; j++)
		score[j] = score[0];
	vec m = vec_load(score);
	for (int j = VEC; j < TILE; j += VEC)
		m = vec_max(vec_load(score + j), m);
	tile_most = vec_most(m);
	if (tile_most > *most) {
		const real shrink = (real)exp((double)(*most - tile_most)); // 0 at first
		*most = tile_most;
		*total *= shrink;
		for (int j = 0; j < ld; j += VEC)
			vec_store(average + j, vec_load(average + j) * shrink);
	}
	vec sum = {0};
	for (int j = 0; j < TILE; j += VEC) {
		vec e = j < seen ? vec_first(vec_exp(vec_load(score + j) - *most), cpu_min(VEC, seen - j)) : (vec){0};
		vec_store(score + j, e);
		sum += e;
	}
	*total += vec_sum(sum);
}

static void attend_tile(const struct decode *d, const struct workspace *space, const real *q, ptrdiff_t state, int b,
        int g, int p0, int n)
{
	const struct attention_shape *s = d->shape;
	score_tile(d, space, q, b, g, p0, n);
	for (int i = 0; i < d->m; i++) {
		const int seen = cpu_min(n, visible(s, i / d->group) - p0);
		if (seen > 0)
			weigh(space->score + i * TILE, seen, d->most + state + i, d->total + state + i,
			        d->average + (state + i) * d->ld, d->ld);
		else
			memset(space->score + i * TILE, 0, TILE * sizeof(real));
	}
	enum dtype dtype;
	const struct rows rows = rows_at(&dtype, d, d->v, space->copy, b, p0, n, g * s->d_v, s->d_v);
	d->kernels->sum[dtype](d->average + state * d->ld, d->ld, space->score, TILE, d->m, &rows);
}

static void attend_split(const struct decode *d, const struct workspace *space, int b, int split)
{
	const struct attention_shape *s = d->shape;
	const ptrdiff_t n_state = (ptrdiff_t)s->n_k_head * d->m, first = (b * d->n_split + split) * n_state;
	const int to = cpu_min((split + 1) * d->split, visible(s, s->T - 1));
	const size_t q_size = (size_t)d->m * (size_t)s->d_qk;
	for (ptrdiff_t i = 0; i < n_state; i++)
		d->most[first + i] = -INFINITY, d->total[first + i] = 0;
	memset(d->average + first * d->ld, 0, (size_t)(n_state * d->ld) * sizeof(real));
	for (int p0 = split * d->split; p0 < to; p0 += TILE)
		for (int g = 0; g < s->n_k_head; g++) {
			const real *q = d->q + (b * s->n_k_head + g) * (ptrdiff_t)q_size;
			if (d->k->turn) {
				memcpy(space->turned, q, q_size * sizeof(real));
				turn_back(space->turned, s->d_qk, d->m, &d->turn, p0 / TILE);
				q = space->turned;
			}
			attend_tile(d, space, q, first + g * d->m, b, g, p0, cpu_min(TILE, to - p0));
		}
}

// Vector i of key head g: all its splits in order.
static void combine(const struct decode *d, struct strided_out out, int b, int g, int i)
{
	const struct attention_shape *s = d->shape;
	const ptrdiff_t n_state = (ptrdiff_t)s->n_k_head * d->m, first = b * d->n_split * n_state + g * d->m + i;
	real *to = out.x + b * out.b_stride + i / d->group * out.t_stride + (g * d->group + i % d->group) * s->d_v;
	real most = -INFINITY, total = 0;
	for (int split = 0; split < d->n_split; split++)
		most = fmaxf((float)most, (float)d->most[first + split * n_state]);
	memset(to, 0, (size_t)s->d_v * sizeof(real));
	for (int split = 0; split < d->n_split; split++) {
		const ptrdiff_t at = first + split * n_state;
		const real factor = (real)exp((double)(d->most[at] - most));
		total += d->total[at] * factor;
		for (int j = 0; j < s->d_v; j++)
			to[j] += d->average[at * d->ld + j] * factor;
	}
	for (int j = 0; j < s->d_v; j++)
		to[j] /= total;
}

static int split_length(int S)
{
	int length = SPLIT_LEAST;
	while (S > SPLITS_MOST * length)
		length *= 2;
	return length;
}

static void attention_stored(const struct exec *exec, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *s, const struct row_kernels *kernels)
{
	struct arena_mark mark = arena_mark(exec->scratch);
	const int group = s->n_head / s->n_k_head, split = split_length(s->S);
	struct decode d = {.shape = s,
	        .k = k,
	        .v = v,
	        .kernels = kernels,
	        .group = group,
	        .m = s->T * group,
	        .split = split,
	        .n_split = cpu_blocks(visible(s, s->T - 1), split),
	        .ld = cpu_blocks(s->d_v, VEC) * VEC};
	const size_t n_q = (size_t)s->B * (size_t)s->T * (size_t)s->n_head, n_state = n_q * (size_t)d.n_split;
	d.q = arena_alloc(exec->scratch, n_q * (size_t)s->d_qk * sizeof(real));
	d.most = arena_alloc(exec->scratch, n_state * sizeof(real));
	d.total = arena_alloc(exec->scratch, n_state * sizeof(real));
	d.average = arena_alloc(exec->scratch, n_state * (size_t)d.ld * sizeof(real));
	pack_queries(&d, q);
	if (k->turn)
		turn_prepare(&d.turn, k->turn, cpu_blocks(s->S, TILE), exec->scratch);
	const size_t n_score = (size_t)d.m * TILE, n_turned = (size_t)d.m * (size_t)s->d_qk;
	const size_t size = n_score + (size_t)TILE * (size_t)(s->d_qk > s->d_v ? s->d_qk : s->d_v) + n_turned;
	real *spaces = arena_alloc(exec->scratch, size * (size_t)exec->n_thread * sizeof(real));
	const int n_task = s->B * d.n_split, n_vector = (int)n_q;
#pragma omp parallel num_threads(exec->n_thread) if (exec->n_thread > 1 && n_task > 1)
	{
		struct workspace space = {.score = spaces + size * (size_t)cpu_thread()};
		space.turned = space.score + n_score;
		space.copy = space.turned + n_turned;
#pragma omp for schedule(static) // one stretch a thread: what is fetched past a split's end is its own next
		for (int task = 0; task < n_task; task++)
			attend_split(&d, &space, task / d.n_split, task % d.n_split);
#pragma omp for schedule(static)
		for (int i = 0; i < n_vector; i++)
			combine(&d, out, i / (s->n_k_head * d.m), i / d.m % s->n_k_head, i % d.m);
	}
	arena_rewind(exec->scratch, mark);
}

void cpu_attention_stored(const struct exec *exec, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *s)
{
	attention_stored(exec, out, q, k, v, s, rows_best());
}

void cpu_attention_stored_portable(const struct exec *exec, struct strided_out out, struct strided q,
        const struct stored *k, const struct stored *v, const struct attention_shape *s)
{
	attention_stored(exec, out, q, k, v, s, &rows_portable);
}
