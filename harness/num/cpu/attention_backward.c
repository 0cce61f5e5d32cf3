// SPDX-License-Identifier: MIT
// Attention backward: weights are rebuilt from the stored log-sum-exp, a block of query rows by a block of positions at
// a time. Heads that share a key or value head are one task, so their gradients add up in a fixed order.
#include <math.h>

#include "harness/num/cpu/attention.h"

enum { ROWS = 8 * TILE_ROWS, POSITIONS = 128 };

// Scratch of one thread. Gradients of k and v are kept per head of the task, padded to the tile.
struct work {
	real *kt, *vt, *k;     // panels: k^T * scale, v^T, k
	real *q, *dout;        // panels of the query block
	real *weight, *dscore; // (ROWS, POSITIONS)
	real *dq;              // (ROWS, d_qk padded)
	real *dk, *dv;         // (heads of the task, S, width padded)
	real *delta;           // (ROWS): sum of dout * out
};

// The key bias and its gradient in one task: rows of S rounded up to the tile.
struct bias {
	const real *padded; // NULL without a bias
	real *d_bias;       // (n_task, rows of a task), summed in order at the end; NULL when nobody wants it
	int n_task_row;     // query heads of a task, or 1 when all share one row
};

struct call {
	const struct attention_shape *shape;
	struct strided q, k, v, out, dout;
	struct strided_out dq, dk, dv;
	const real *lse;
	struct bias bias;
	int n_task_head, n_task_k, n_task_v; // query, key and value heads per task
};

static int gcd(int a, int b)
{
	return b ? gcd(b, a % b) : a;
}

static size_t work_size(const struct call *c)
{
	const struct attention_shape *s = c->shape;
	const size_t qk = (size_t)round_to_tile(s->d_qk), v = (size_t)round_to_tile(s->d_v), S = (size_t)s->S;
	return panel_size(s->d_qk, s->S) + panel_size(s->d_v, s->S) + panel_size(s->S, s->d_qk) +
	       ROWS * (2 * qk + v + 1) + 2 * ROWS * POSITIONS +
	       S * (qk * (size_t)c->n_task_k + v * (size_t)c->n_task_v);
}

static struct work work_at(real *memory, const struct call *c)
{
	const struct attention_shape *s = c->shape;
	const size_t qk = (size_t)round_to_tile(s->d_qk), v = (size_t)round_to_tile(s->d_v), S = (size_t)s->S;
	struct work w;
	w.kt = memory;
	w.vt = w.kt + panel_size(s->d_qk, s->S);
	w.k = w.vt + panel_size(s->d_v, s->S);
	w.q = w.k + panel_size(s->S, s->d_qk);
	w.dout = w.q + ROWS * qk;
	w.dq = w.dout + ROWS * v;
	w.weight = w.dq + ROWS * qk;
	w.dscore = w.weight + ROWS * POSITIONS;
	w.dk = w.dscore + ROWS * POSITIONS;
	w.dv = w.dk + S * qk * (size_t)c->n_task_k;
	w.delta = w.dv + S * v * (size_t)c->n_task_v;
	return w;
}

// One row of scores becomes weights p = exp(score - lse), and ds = scale p (dp - delta); 0 where not visible. The
// gradient of the scaled score is added to d_bias, if not NULL.
__attribute__((always_inline)) static inline void weights_row(
        real *p, real *ds, real *d_bias, int n_visible, int n, real lse, real delta, real scale)
{
	int j = 0;
	for (; j + VEC <= n_visible; j += VEC) {
		const vec e = vec_exp(vec_load(p + j) - lse), d = e * (vec_load(ds + j) - delta);
		vec_store(p + j, e);
		vec_store(ds + j, d * scale);
		if (d_bias)
			vec_store(d_bias + j, vec_load(d_bias + j) + d);
	}
	if (j < n_visible) {
		const int rest = n_visible - j;
		const vec e = vec_exp(vec_load(p + j) - lse), d = vec_first(e * (vec_load(ds + j) - delta), rest);
		vec_store(p + j, vec_first(e, rest));
		vec_store(ds + j, d * scale);
		if (d_bias)
			vec_store(d_bias + j, vec_load(d_bias + j) + d);
		j += VEC;
	}
	for (; j < n; j += VEC) {
		vec_store(p + j, (vec){0});
		vec_store(ds + j, (vec){0});
	}
}

static void write_rows(struct strided_out to, ptrdiff_t offset, const real *from, int ld, int rows, int columns)
{
	for (int i = 0; i < rows; i++) {
		real *x = to.x + offset + i * to.t_stride;
		for (int j = 0; j < columns; j++)
			x[j] = to.accumulate ? x[j] + from[i * ld + j] : from[i * ld + j];
	}
}

// C (n, width) += weight^T panels, summed over the m rows of a query block. The first rows of a block do not see its
// last positions: each tile of positions starts at the tile of rows that has weights for it.
static void add_transposed(const struct attention_shape *s, real *c, ptrdiff_t ldc, const real *weight,
        const real *panels, int width, int i0, int m, int p0, int n)
{
	for (int j = 0; j < width; j += TILE_COLUMNS, panels += (ptrdiff_t)m * TILE_COLUMNS)
		for (int p = 0; p < n; p += TILE_ROWS) {
			// The first row that sees the tile's first position, down to a whole tile. That one may not see
			// the last positions: weights_row has set them to 0.
			const int rows = cpu_min(TILE_ROWS, n - p), behind = p0 + p - s->q_position - i0;
			const int first = s->causal && behind > 0 ? behind / TILE_ROWS * TILE_ROWS : 0;
			real *to = c + p * ldc + j;
			tile_small(to, ldc, to, ldc, weight + first * POSITIONS + p, 1, POSITIONS,
			        panels + (ptrdiff_t)first * TILE_COLUMNS, TILE_COLUMNS, rows,
			        cpu_min(TILE_COLUMNS, width - j), m - first);
		}
}

static void query_block(
        const struct call *c, const struct work *w, int b, int head, int i0, int m, real *dk, real *dv, real *d_bias)
{
	const struct attention_shape *s = c->shape;
	const int qk = round_to_tile(s->d_qk), v = round_to_tile(s->d_v), last_visible = visible(s, i0 + m - 1);
	const real *q = c->q.x + b * c->q.b_stride + i0 * c->q.t_stride + head * s->d_qk;
	const real *dout = c->dout.x + b * c->dout.b_stride + i0 * c->dout.t_stride + head * s->d_v;
	const real *out = c->out.x + b * c->out.b_stride + i0 * c->out.t_stride + head * s->d_v;
	const real *bias = bias_of_head(c->bias.padded, s, head);
	const real *lse = c->lse + ((ptrdiff_t)b * s->n_head + head) * s->T + i0;
	pack_columns(w->q, q, c->q.t_stride, m, s->d_qk);
	pack_columns(w->dout, dout, c->dout.t_stride, m, s->d_v);
	for (int i = 0; i < m; i++) {
		const real *d = dout + i * c->dout.t_stride, *o = out + i * c->out.t_stride;
		vec sum = {0};
		int j = 0;
		for (; j + VEC <= s->d_v; j += VEC)
			sum += vec_load(d + j) * vec_load(o + j);
		w->delta[i] = vec_sum(sum);
		for (; j < s->d_v; j++)
			w->delta[i] += d[j] * o[j];
	}
	for (int p0 = 0; p0 < last_visible; p0 += POSITIONS) {
		const int n = cpu_min(POSITIONS, last_visible - p0);
		multiply_visible(s, w->weight, POSITIONS, bias ? bias + p0 : NULL, q, c->q.t_stride,
		        w->kt + (ptrdiff_t)p0 * s->d_qk, s->d_qk, i0, i0 + m, p0, n);
		multiply_visible(s, w->dscore, POSITIONS, NULL, dout, c->dout.t_stride, w->vt + (ptrdiff_t)p0 * s->d_v,
		        s->d_v, i0, i0 + m, p0, n);
		for (int i = 0; i < m; i++) {
			const int in_block = visible(s, i0 + i) - p0, seen = in_block < 0 ? 0 : cpu_min(n, in_block);
			const int last = tile_visible(s, i0 + i / TILE_ROWS * TILE_ROWS, i0 + m, p0, n) + TILE_ROWS - 1;
			real *p = w->weight + i * POSITIONS, *ds = w->dscore + i * POSITIONS;
			if (d_bias)
				weights_row(p, ds, d_bias + p0, seen, cpu_min(n, last), lse[i], w->delta[i],
				        (real)s->scale);
			else
				weights_row(p, ds, NULL, seen, cpu_min(n, last), lse[i], w->delta[i], (real)s->scale);
		}
		multiply_weights(s, w->dq, qk, w->dscore, POSITIONS, w->k, s->d_qk, i0, i0 + m, p0, n, p0 > 0);
		add_transposed(s, dk + (ptrdiff_t)p0 * qk, qk, w->dscore, w->q, s->d_qk, i0, m, p0, n);
		add_transposed(s, dv + (ptrdiff_t)p0 * v, v, w->weight, w->dout, s->d_v, i0, m, p0, n);
	}
	if (c->dq.x)
		write_rows(c->dq, b * c->dq.b_stride + i0 * c->dq.t_stride + head * s->d_qk, w->dq, qk, m, s->d_qk);
}

// All query heads of one task: they share its key and value heads and nobody else's.
static void run_task(const struct call *c, const struct work *w, int b, int group)
{
	const struct attention_shape *s = c->shape;
	const int qk = round_to_tile(s->d_qk), v = round_to_tile(s->d_v);
	const int k_first = group * c->n_task_k, v_first = group * c->n_task_v;
	real *d_bias = NULL;
	if (c->bias.d_bias) {
		const ptrdiff_t size = (ptrdiff_t)c->bias.n_task_row * round_to_tile(s->S);
		d_bias = c->bias.d_bias + (b * (s->n_head / c->n_task_head) + group) * size;
		memset(d_bias, 0, (size_t)size * sizeof(real));
	}
	memset(w->dk, 0, (size_t)s->S * (size_t)qk * (size_t)c->n_task_k * sizeof(real));
	memset(w->dv, 0, (size_t)s->S * (size_t)v * (size_t)c->n_task_v * sizeof(real));
	for (int head = group * c->n_task_head; head < (group + 1) * c->n_task_head; head++) {
		const int k_head = head * s->n_k_head / s->n_head, v_head = head * s->n_v_head / s->n_head;
		const real *k = c->k.x + b * c->k.b_stride + k_head * s->d_qk;
		pack_rows(w->kt, k, c->k.t_stride, s->S, s->d_qk, (real)s->scale);
		pack_columns(w->k, k, c->k.t_stride, s->S, s->d_qk);
		pack_rows(w->vt, c->v.x + b * c->v.b_stride + v_head * s->d_v, c->v.t_stride, s->S, s->d_v, 1);
		real *dk = w->dk + (ptrdiff_t)(k_head - k_first) * s->S * qk;
		real *dv = w->dv + (ptrdiff_t)(v_head - v_first) * s->S * v;
		for (int i0 = 0; i0 < s->T; i0 += ROWS)
			query_block(c, w, b, head, i0, cpu_min(ROWS, s->T - i0), dk, dv, d_bias);
		if (d_bias && c->bias.n_task_row > 1)
			d_bias += round_to_tile(s->S);
	}
	for (int i = 0; c->dk.x && i < c->n_task_k; i++)
		write_rows(c->dk, b * c->dk.b_stride + (k_first + i) * s->d_qk, w->dk + (ptrdiff_t)i * s->S * qk, qk,
		        s->S, s->d_qk);
	for (int i = 0; c->dv.x && i < c->n_task_v; i++)
		write_rows(c->dv, b * c->dv.b_stride + (v_first + i) * s->d_v, w->dv + (ptrdiff_t)i * s->S * v, v, s->S,
		        s->d_v);
}

// Adds what the tasks found, sequence by sequence and head by head.
static void add_bias_gradients(const struct call *c, int n_task)
{
	const struct attention_shape *s = c->shape;
	const int width = round_to_tile(s->S), rows = c->bias.n_task_row, n_group = s->n_head / c->n_task_head;
	for (int task = 0; task < n_task; task++)
		for (int i = 0; i < rows; i++) {
			const real *from = c->bias.d_bias + ((ptrdiff_t)task * rows + i) * width;
			real *to = s->d_key_bias + (task % n_group * rows + i) * s->key_bias_stride;
			for (int j = 0; j < s->S; j++)
				to[j] += from[j];
		}
}

void cpu_attention_backward(const struct exec *exec, struct strided_out dq, struct strided_out dk,
        struct strided_out dv, struct strided dout, struct strided out, const real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *s)
{
	// Where v is a view into k whose heads cut the row elsewhere, tasks would write to the same numbers: then one
	// task does all heads of a sequence. (v as k itself has the same heads, and one task writes both.)
	const int is_same = k.x == v.x && s->d_qk == s->d_v && s->n_k_head == s->n_v_head;
	const int is_apart = k.x + s->n_k_head * s->d_qk <= v.x || v.x + s->n_v_head * s->d_v <= k.x;
	const int n_group = is_same || is_apart ? gcd(s->n_k_head, s->n_v_head) : 1, n_task = s->B * n_group;
	struct call c = {.shape = s,
	        .q = q,
	        .k = k,
	        .v = v,
	        .out = out,
	        .dout = dout,
	        .dq = dq,
	        .dk = dk,
	        .dv = dv,
	        .lse = lse,
	        .n_task_head = s->n_head / n_group,
	        .n_task_k = s->n_k_head / n_group,
	        .n_task_v = s->n_v_head / n_group};
	const size_t size = (work_size(&c) + 15) / 16 * 16;
	struct arena_mark mark = arena_mark(exec->scratch);
	c.bias.padded = pad_bias(exec->scratch, s);
	if (s->key_bias && s->d_key_bias) {
		c.bias.n_task_row = s->key_bias_stride ? c.n_task_head : 1;
		c.bias.d_bias = arena_alloc(exec->scratch,
		        (size_t)n_task * (size_t)c.bias.n_task_row * (size_t)round_to_tile(s->S) * sizeof(real));
	}
	real *memory = arena_alloc(exec->scratch, size * (size_t)exec->n_thread * sizeof(real));
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int thread = 0; thread < exec->n_thread; thread++) {
		const struct work w = work_at(memory + size * (size_t)thread, &c);
		const int to = (int)((long)n_task * (thread + 1) / exec->n_thread);
		for (int task = (int)((long)n_task * thread / exec->n_thread); task < to; task++)
			run_task(&c, &w, task / n_group, task % n_group);
	}
	if (c.bias.d_bias)
		add_bias_gradients(&c, n_task);
	arena_rewind(exec->scratch, mark);
}
