// SPDX-License-Identifier: MIT
// Attention of few query rows over cached rows, as they lie (flash-decoding): a tile of DTYPE_BLOCK positions at a
// time, all query heads that share a key head at once, so that each cached byte is read once. The context is cut into
// splits whose length depends on the context alone; each split keeps a running maximum, sum and average of its own, and
// they are put together in order: any number of threads gives the same bits.
//
// A tile goes one of three ways. Where every query head has a key head of its own, memory is the limit: rows are read
// from end to end, for all heads. Where few share one, its slice of the tile serves them all. Where many do, arithmetic
// is the limit: the slice is unpacked once, and scores and averages are products of matrices. Scores lie position after
// position, a lane a (key head, vector): maxima and exponentials of eight lanes are taken together.
#include <math.h>
#include <string.h>

#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/rows.h"
#include "harness/num/cpu/turn.h"
#include "harness/num/cpu/vec.h"
#include "harness/num/stored.h"

enum {
	TILE = DTYPE_BLOCK,
	SPLIT_LEAST = 4 * TILE,
	SPLITS_MOST = 32,
	PANEL = TILE * TILE + 16, // numbers to the next panel: not all in the same sets of L1
	MANY = 8,                 // query heads of a key head from which on its tile is a product
};

// Below any score that counts, and finite: a row that sees nothing of a split weighs nothing there.
static const real LOWEST = -1e30f;

struct decode {
	const struct attention_shape *shape;
	const struct stored *k, *v;
	const struct row_kernels *kernels;
	int group, m; // query heads of a key head; with the query rows: vectors that are scored together
	int is_product;
	int head_lanes, n_lane; // of a key head; of all, in whole vectors
	int split, n_split;
	ptrdiff_t ld;                 // of averages: d_v in whole vectors
	real *q;                      // (B, n_k_head, m, d_qk), scaled; product: (B, n_k_head, d_qk, head_lanes)
	real *most, *total, *average; // of each (sequence, split, lane)
	struct turn_table turn;
};

// Of one thread.
struct workspace {
	real *score;  // (TILE, n_lane)
	real *turned; // a sequence's queries, turned back by the tile's position
	real *copy;   // a tile of keys or values in reals; product: of one head, in panels of TILE columns
	real *row;    // one row of turned keys
	real *slice;  // (m, TILE): scores of one key head
	real *shrink; // (n_lane)
};

// The way to rows p0.. of a tile: as they lie, or a copy in reals where a kernel could not begin there.
struct source {
	enum dtype dtype;
	struct cached rows;
};

static int visible(const struct attention_shape *s, int i)
{
	return s->causal ? cpu_min(s->S, s->q_position + i + 1) : s->S;
}

static ptrdiff_t whole_vectors(int n)
{
	return (ptrdiff_t)cpu_blocks(n, VEC) * VEC;
}

static void pack_queries(const struct decode *d, struct strided q)
{
	const struct attention_shape *s = d->shape;
	const ptrdiff_t to_vector = d->is_product ? 1 : s->d_qk, to_number = d->is_product ? d->head_lanes : 1;
	real *to = d->q;
	for (int b = 0; b < s->B; b++)
		for (int g = 0; g < s->n_k_head; g++, to += (ptrdiff_t)d->head_lanes * s->d_qk)
			for (int i = 0; i < d->head_lanes; i++) {
				const int t = i / d->group, head = g * d->group + i % d->group;
				const real *from = q.x + b * q.b_stride + t * q.t_stride + head * s->d_qk;
				for (int j = 0; j < s->d_qk; j++)
					to[i * to_vector + j * to_number] = i < d->m ? from[j] * (real)s->scale : 0;
			}
}

static int is_as_kept(const struct stored *s, int width)
{
	return !s->tail && stored_is_whole(s, 0, width);
}

static struct source source_of(const struct stored *s, real *copy, int S, int b, int p0, int n, int n_part, int width)
{
	if (is_as_kept(s, width))
		return (struct source){
		        s->dtype, {s->at + b * s->b_bytes + p0 * s->row_bytes + dtype_row_bytes(s->dtype, s->from),
		                          s->row_bytes, n_part, width}};
	const int columns = n_part * width;
	cpu_read_block(s, copy, columns, b, p0, n, S, 0, columns);
	return (struct source){DTYPE_F32, {(unsigned char *)copy, columns * (ptrdiff_t)sizeof(*copy), n_part, width}};
}

// --- rows as they lie -----------------------------------------------------------------------------------------

// Scores (m, TILE) of key head g to its lanes.
static void to_lanes(const struct decode *d, const struct workspace *space, int g, int n)
{
	for (int j = 0; j < n; j++)
		for (int i = 0; i < d->m; i++)
			space->score[j * d->n_lane + g * d->m + i] = space->slice[i * TILE + j];
}

// Keys by channel: the average's kernel, channels are the rows and queries the weights.
static void score_channels(const struct decode *d, const struct workspace *space, const real *q, int b, int p0)
{
	const struct attention_shape *s = d->shape;
	const struct stored *k = d->k;
	const unsigned char *unit = k->at + b * k->b_bytes + p0 / TILE * k->row_bytes;
	for (int g = 0; g < s->n_k_head; g++, q += (ptrdiff_t)d->m * s->d_qk) {
		const struct rows channels = {unit + (k->from + g * s->d_qk) * k->channel_bytes, k->channel_bytes,
		        s->d_qk, TILE, k->row_bytes};
		memset(space->slice, 0, (size_t)d->m * TILE * sizeof(real));
		d->kernels->sum[k->dtype](space->slice, TILE, (struct weights){q, s->d_qk, 1}, d->m, &channels);
		to_lanes(d, space, g, TILE);
	}
}

// Part g of n rows; the same of the next tile is fetched meanwhile.
static struct rows slice_of(const struct source *from, int g, int n)
{
	const struct cached *rows = &from->rows;
	const size_t skipped = (size_t)g * dtype_row_bytes(from->dtype, rows->d);
	return (struct rows){rows->at + skipped, rows->row_bytes, n, rows->d, TILE * rows->row_bytes};
}

static void score_slices(
        const struct decode *d, const struct workspace *space, const real *q, const struct source *keys, int n)
{
	const struct attention_shape *s = d->shape;
	for (int g = 0; g < s->n_k_head; g++, q += (ptrdiff_t)d->m * s->d_qk) {
		const struct rows rows = slice_of(keys, g, n);
		d->kernels->dot[keys->dtype](space->slice, TILE, q, s->d_qk, d->m, &rows);
		to_lanes(d, space, g, n);
	}
}

static void score_rows(const struct decode *d, const struct workspace *space, const real *q, int b, int p0, int n)
{
	const struct attention_shape *s = d->shape;
	const struct stored *k = d->k;
	if (k->tail && !k->turn && p0 + TILE <= s->S) {
		score_channels(d, space, q, b, p0);
		return;
	}
	const struct source keys = source_of(k, space->copy, s->S, b, p0, n, s->n_k_head, s->d_qk);
	if (!k->turn && d->group > 1) {
		score_slices(d, space, q, &keys, n);
		return;
	}
	const int is_fused = k->turn && turn_is_whole(&d->turn, s->d_qk);
	const struct cached one = {(unsigned char *)space->row, 0, s->n_k_head, s->d_qk};
	struct cached row = keys.rows;
	for (int j = 0; j < n; j++, row.at += row.row_bytes) {
		real *score = space->score + (ptrdiff_t)j * d->n_lane;
		if (is_fused) {
			const struct turned turned = turn_of(&d->turn, j);
			d->kernels->score_turned[keys.dtype](score, q, d->m, &row, &turned);
		} else if (k->turn) {
			const struct rows heads = {
			        row.at, (ptrdiff_t)dtype_row_bytes(keys.dtype, s->d_qk), s->n_k_head, s->d_qk, 0};
			d->kernels->copy[keys.dtype](space->row, s->d_qk, &heads);
			turn_rows(space->row, s->d_qk, s->n_k_head, &d->turn, j);
			d->kernels->score[DTYPE_F32](score, q, d->m, &one);
		} else
			d->kernels->score[keys.dtype](score, q, d->m, &row);
	}
}

static void average_rows(const struct decode *d, const struct workspace *space, real *average, int b, int p0, int n)
{
	const struct attention_shape *s = d->shape;
	const struct source values = source_of(d->v, space->copy, s->S, b, p0, n, s->n_k_head, s->d_v);
	if (d->group == 1) {
		d->kernels->average[values.dtype](average, space->score, d->n_lane, d->m, &values.rows, n);
		return;
	}
	for (int g = 0; g < s->n_k_head; g++) {
		const struct rows rows = slice_of(&values, g, n);
		const struct weights weights = {space->score + g * d->m, 1, d->n_lane};
		d->kernels->sum[values.dtype](average + g * d->m * d->ld, d->ld, weights, d->m, &rows);
	}
}

// --- products -----------------------------------------------------------------------------------------------------

// Part g of n rows in panels of TILE columns, (panel, row, column): a panel stays in L1 while all vectors pass.
static void unpack(const struct decode *d, const struct stored *s, real *copy, int b, int g, int p0, int n, int width)
{
	const int n_whole = width / TILE, rest = width % TILE, from = g * width;
	if (s->tail || !stored_is_whole(s, from, width)) {
		for (int c = 0; c < width; c += TILE)
			cpu_read_block(s, copy + c / TILE * (ptrdiff_t)PANEL, TILE, b, p0, n, d->shape->S, from + c,
			        cpu_min(TILE, width - c));
		return;
	}
	const ptrdiff_t block = (ptrdiff_t)dtype_row_bytes(s->dtype, TILE), ahead = TILE * s->row_bytes;
	const unsigned char *at =
	        s->at + b * s->b_bytes + p0 * s->row_bytes + dtype_row_bytes(s->dtype, s->from + from);
	for (int j = 0; j < n; j++, at += s->row_bytes, copy += TILE) {
		const struct rows blocks = {at, block, n_whole, TILE, ahead},
		                  last = {at + n_whole * block, block, 1, rest, ahead};
		d->kernels->copy[s->dtype](copy, PANEL, &blocks);
		if (rest)
			d->kernels->copy[s->dtype](copy + n_whole * (ptrdiff_t)PANEL, 0, &last);
	}
}

// Their rows, turned.
static void turn_panels(const struct decode *d, const struct workspace *space, int n)
{
	const int width = d->shape->d_qk;
	for (int j = 0; j < n; j++) {
		for (int c = 0; c < width; c += TILE)
			memcpy(space->row + c, space->copy + c / TILE * (ptrdiff_t)PANEL + j * TILE,
			        (size_t)cpu_min(TILE, width - c) * sizeof(real));
		turn_rows(space->row, width, 1, &d->turn, j);
		for (int c = 0; c < width; c += TILE)
			memcpy(space->copy + c / TILE * (ptrdiff_t)PANEL + j * TILE, space->row + c,
			        (size_t)cpu_min(TILE, width - c) * sizeof(real));
	}
}

// Positions are the vectors, and queries the lanes.
static void score_product(
        const struct decode *d, const struct workspace *space, const real *q, int b, int g, int p0, int n)
{
	const struct attention_shape *s = d->shape;
	real *score = space->score + g * d->head_lanes;
	const ptrdiff_t row_bytes = d->head_lanes * (ptrdiff_t)sizeof(real);
	unpack(d, d->k, space->copy, b, g, p0, n, s->d_qk);
	if (d->k->turn)
		turn_panels(d, space, n);
	for (int j = 0; j < n; j++)
		memset(score + (ptrdiff_t)j * d->n_lane, 0, (size_t)row_bytes);
	for (int c = 0; c < s->d_qk; c += TILE) {
		const struct rows queries = {(const unsigned char *)(q + (ptrdiff_t)c * d->head_lanes), row_bytes,
		        cpu_min(TILE, s->d_qk - c), d->head_lanes, 0};
		const struct weights keys = {space->copy + c / TILE * (ptrdiff_t)PANEL, TILE, 1};
		d->kernels->sum[DTYPE_F32](score, d->n_lane, keys, n, &queries);
	}
}

// 1 when the keys of one head, unpacked, begin with its values.
static int is_value_in_key(const struct decode *d)
{
	const struct attention_shape *s = d->shape;
	const struct stored *k = d->k, *v = d->v;
	return k->at == v->at && k->from == v->from && !k->turn && !k->tail && s->d_v <= s->d_qk &&
	       (s->n_k_head == 1 || s->d_v == s->d_qk);
}

static void average_product(
        const struct decode *d, const struct workspace *space, real *average, int b, int g, int p0, int n)
{
	const struct attention_shape *s = d->shape;
	if (!is_value_in_key(d))
		unpack(d, d->v, space->copy, b, g, p0, n, s->d_v);
	const struct weights weights = {space->score + g * d->head_lanes, 1, d->n_lane};
	for (int c = 0; c < s->d_v; c += TILE) {
		const struct rows panel = {(const unsigned char *)(space->copy + c / TILE * (ptrdiff_t)PANEL),
		        TILE * sizeof(real), n, cpu_min(TILE, s->d_v - c), 0};
		d->kernels->sum[DTYPE_F32](average + c, d->ld, weights, d->m, &panel);
	}
}

// --- weights ------------------------------------------------------------------------------------------------------

static void add_bias(const struct decode *d, const struct workspace *space, int p0, int n, int from, int n_lane)
{
	const struct attention_shape *s = d->shape;
	for (int lane = from; lane < from + n_lane; lane++) {
		const int g = lane / d->head_lanes, i = lane % d->head_lanes;
		if (g >= s->n_k_head || i >= d->m)
			continue;
		const real *bias = s->key_bias + (g * d->group + i % d->group) * s->key_bias_stride + p0;
		for (int j = 0; j < n; j++)
			space->score[(ptrdiff_t)j * d->n_lane + lane] += bias[j];
	}
}

// The last positions of a step of several rows: what a row does not see weighs nothing.
static void hide(const struct decode *d, const struct workspace *space, int p0, int n, int from, int n_lane)
{
	for (int lane = from; lane < from + n_lane; lane++) {
		const int i = lane % d->head_lanes, seen = visible(d->shape, cpu_min(i, d->m - 1) / d->group) - p0;
		for (int j = seen < 0 ? 0 : seen; j < n; j++)
			space->score[(ptrdiff_t)j * d->n_lane + lane] = -INFINITY;
	}
}

// Lanes from..from+n_lane-1 of scores become weights; their maxima, sums and averages so far are brought to the new
// maximum.
static void weigh(
        const struct decode *d, const struct workspace *space, ptrdiff_t state, int p0, int n, int from, int n_lane)
{
	const int all_seen = visible(d->shape, 0) >= p0 + n;
	real *most = d->most + state + from, *total = d->total + state + from;
	if (d->shape->key_bias)
		add_bias(d, space, p0, n, from, n_lane);
	if (!all_seen)
		hide(d, space, p0, n, from, n_lane);
	d->kernels->weigh(space->score + from, d->n_lane, n, n_lane, most, total, space->shrink);
	for (int i = 0; i < n_lane; i++) {
		real *average = d->average + (state + from + i) * d->ld;
		for (int c = 0; c < d->ld && space->shrink[i] != 1; c += VEC)
			vec_store(average + c, vec_load(average + c) * space->shrink[i]);
	}
}

// --- the whole ----------------------------------------------------------------------------------------------------

static void attend_tile(
        const struct decode *d, const struct workspace *space, const real *q, ptrdiff_t state, int b, int p0, int n)
{
	const ptrdiff_t q_head = (ptrdiff_t)d->head_lanes * d->shape->d_qk;
	if (!d->is_product) {
		score_rows(d, space, q, b, p0, n);
		weigh(d, space, state, p0, n, 0, d->n_lane);
		average_rows(d, space, d->average + state * d->ld, b, p0, n);
		return;
	}
	for (int g = 0; g < d->shape->n_k_head; g++) {
		const int lane = g * d->head_lanes;
		score_product(d, space, q + g * q_head, b, g, p0, n);
		weigh(d, space, state, p0, n, lane, d->head_lanes);
		average_product(d, space, d->average + (state + lane) * d->ld, b, g, p0, n);
	}
}

static void attend_split(const struct decode *d, const struct workspace *space, int b, int split)
{
	const struct attention_shape *s = d->shape;
	const ptrdiff_t state = ((ptrdiff_t)b * d->n_split + split) * d->n_lane;
	const int to = cpu_min((split + 1) * d->split, visible(s, s->T - 1)), n_vector = s->n_k_head * d->head_lanes;
	const ptrdiff_t q_size = (ptrdiff_t)n_vector * s->d_qk;
	for (ptrdiff_t i = 0; i < d->n_lane; i++)
		d->most[state + i] = LOWEST, d->total[state + i] = 0;
	memset(d->average + state * d->ld, 0, (size_t)(d->n_lane * d->ld) * sizeof(real));
	memset(space->score, 0, (size_t)d->n_lane * TILE * sizeof(real)); // lanes that are nobody's
	for (int p0 = split * d->split; p0 < to; p0 += TILE) {
		const real *q = d->q + b * q_size;
		if (d->k->turn) {
			memcpy(space->turned, q, (size_t)q_size * sizeof(real));
			for (int g = 0; g < s->n_k_head && d->is_product; g++)
				turn_back(space->turned + (ptrdiff_t)g * d->head_lanes * s->d_qk, 1, d->head_lanes,
				        d->head_lanes, &d->turn, p0 / TILE);
			if (!d->is_product)
				turn_back(space->turned, s->d_qk, 1, n_vector, &d->turn, p0 / TILE);
			q = space->turned;
		}
		attend_tile(d, space, q, state, b, p0, cpu_min(TILE, to - p0));
	}
}

// Vector i of key head g: all its splits in order.
static void combine(const struct decode *d, struct strided_out out, int b, int g, int i)
{
	const struct attention_shape *s = d->shape;
	const ptrdiff_t n_state = d->n_lane, first = b * d->n_split * n_state + g * d->head_lanes + i;
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

// Numbers of a thread's copy of a tile: of one head for a product, of all of them where rows cannot stay as they lie.
static size_t copy_size(const struct decode *d, const struct stored *s, int width)
{
	if (d->is_product)
		return (size_t)cpu_blocks(width, TILE) * PANEL;
	const int n = d->shape->n_k_head;
	return is_as_kept(s, width) ? 0 : (size_t)TILE * (size_t)n * (size_t)width;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static void attention_stored(const struct exec *exec, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *s, const struct row_kernels *kernels)
{
	struct arena_mark mark = arena_mark(exec->scratch);
	const int group = s->n_head / s->n_k_head, split = split_length(s->S), m = s->T * group;
	const int is_product = group >= MANY, head_lanes = is_product ? (int)whole_vectors(m) : m;
	struct decode d = {.shape = s,
	        .k = k,
	        .v = v,
	        .kernels = kernels,
	        .group = group,
	        .m = m,
	        .is_product = is_product,
	        .head_lanes = head_lanes,
	        .n_lane = (int)whole_vectors(s->n_k_head * head_lanes),
	        .split = split,
	        .n_split = cpu_blocks(visible(s, s->T - 1), split),
	        .ld = whole_vectors(s->d_v)};
	const size_t n_q = (size_t)(s->n_k_head * head_lanes) * (size_t)s->d_qk;
	const size_t n_state = (size_t)s->B * (size_t)d.n_split * (size_t)d.n_lane;
	d.q = arena_alloc(exec->scratch, (size_t)s->B * n_q * sizeof(real));
	d.most = arena_alloc(exec->scratch, n_state * sizeof(real));
	d.total = arena_alloc(exec->scratch, n_state * sizeof(real));
	d.average = arena_alloc(exec->scratch, n_state * (size_t)d.ld * sizeof(real));
	pack_queries(&d, q);
	if (k->turn)
		turn_prepare(&d.turn, k->turn, cpu_blocks(s->S, TILE), exec->scratch);
	const size_t n_score = (size_t)d.n_lane * TILE, n_turned = k->turn ? n_q : 0;
	const size_t n_row = k->turn ? (size_t)s->n_k_head * (size_t)whole_vectors(s->d_qk) : 0;
	const size_t n_copy = larger(copy_size(&d, k, s->d_qk), copy_size(&d, v, s->d_v));
	const size_t n_slice = (size_t)m * TILE;
	const size_t size = n_score + n_turned + n_row + n_copy + n_slice + (size_t)d.n_lane;
	real *spaces = arena_alloc(exec->scratch, size * (size_t)exec->n_thread * sizeof(real));
	const int n_task = s->B * d.n_split, n_vector = s->B * s->n_k_head * m;
#pragma omp parallel num_threads(exec->n_thread) if (exec->n_thread > 1 && n_task > 1)
	{
		struct workspace space = {.score = spaces + size * (size_t)cpu_thread()};
		space.turned = space.score + n_score;
		space.row = space.turned + n_turned;
		space.copy = space.row + n_row;
		space.slice = space.copy + n_copy;
		space.shrink = space.slice + n_slice;
#pragma omp for schedule(static) // one stretch a thread: what is fetched past a split's end is its own next
		for (int task = 0; task < n_task; task++)
			attend_split(&d, &space, task / d.n_split, task % d.n_split);
#pragma omp for schedule(static)
		for (int i = 0; i < n_vector; i++)
			combine(&d, out, i / (s->n_k_head * m), i / m % s->n_k_head, i % m);
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
