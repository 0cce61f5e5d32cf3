// SPDX-License-Identifier: MIT
// Attention forward with a running maximum: a block of query rows against blocks of positions; scores of one block
// live in L1 and nothing of size T x S exists. Each (sequence, query head) is one task.
#include <math.h>

#include "harness/num/cpu/attention.h"

enum { ROWS = 4 * TILE_ROWS, POSITIONS = 256 };

struct head {
	const struct attention_shape *shape;
	const real *q, *k_panels, *v_panels; // q: row 0 of this head
	const real *bias;                    // of position 0 on, padded; NULL without
	ptrdiff_t q_stride, out_stride;
	real *out, *lse;
	real *score; // (ROWS, POSITIONS)
	real *sum;   // (ROWS, d_v rounded up): weighted sum of values so far
};

// Scores of one row become weights exp(score - most); positions from n_visible on become 0. Returns their sum.
static real exponentials(real *score, int n_visible, int n, real most)
{
	vec sum = {0};
	int j = 0;
	for (; j + VEC <= n_visible; j += VEC) {
		vec e = vec_exp(vec_load(score + j) - most);
		vec_store(score + j, e);
		sum += e;
	}
	if (j < n_visible) {
		vec e = vec_first(vec_exp(vec_load(score + j) - most), n_visible - j);
		vec_store(score + j, e);
		sum += e;
		j += VEC;
	}
	for (; j < n; j += VEC)
		vec_store(score + j, (vec){0});
	return vec_sum(sum);
}

static real row_most(const real *score, int n, real most)
{
	vec m = vec_set(most);
	int j = 0;
	for (; j + VEC <= n; j += VEC)
		m = vec_max(vec_load(score + j), m);
	for (; j < n; j++)
		most = score[j] > most ? score[j] : most;
	real whole = vec_most(m);
	return whole > most ? whole : most;
}

static void scale_row(real *x, int n, real factor)
{
	for (int j = 0; j < n; j += VEC)
		vec_store(x + j, vec_load(x + j) * factor);
}

// Query rows i0..i0+m-1.
static void query_block(const struct head *h, int i0, int m)
{
	const struct attention_shape *s = h->shape;
	const int d_v = round_to_tile(s->d_v), last_visible = visible(s, i0 + m - 1);
	real most[ROWS], total[ROWS];
	for (int i = 0; i < m; i++)
		most[i] = -INFINITY, total[i] = 0;
	for (int p0 = 0; p0 < last_visible; p0 += POSITIONS) {
		const int n = cpu_min(POSITIONS, last_visible - p0);
		multiply_visible(s, h->score, POSITIONS, h->bias ? h->bias + p0 : NULL, h->q + i0 * h->q_stride,
		        h->q_stride, h->k_panels + (ptrdiff_t)p0 * s->d_qk, s->d_qk, i0, i0 + m, p0, n);
		for (int i = 0; i < m; i++) {
			real *score = h->score + i * POSITIONS;
			const int seen = cpu_min(n, visible(s, i0 + i) - p0);
			const int padded = tile_visible(s, i0 + i / TILE_ROWS * TILE_ROWS, i0 + m, p0, n);
			if (seen <= 0) {
				exponentials(score, 0, padded, 0);
				continue;
			}
			const real before = most[i];
			most[i] = row_most(score, seen, before);
			const real shrink = p0 ? (real)exp((double)(before - most[i])) : 0;
			total[i] = total[i] * shrink + exponentials(score, seen, padded, most[i]);
			if (p0 && shrink != 1)
				scale_row(h->sum + i * d_v, d_v, shrink);
		}
		multiply_weights(s, h->sum, d_v, h->score, POSITIONS, h->v_panels, s->d_v, i0, i0 + m, p0, n, p0 > 0);
	}
	for (int i = 0; i < m; i++) {
		const real factor = 1 / total[i];
		real *out = h->out + (i0 + i) * h->out_stride;
		for (int j = 0; j < s->d_v; j++)
			out[j] = h->sum[i * d_v + j] * factor;
		if (h->lse)
			h->lse[i0 + i] = most[i] + (real)log((double)total[i]);
	}
}

void cpu_attention(const struct exec *exec, struct strided_out out, real *lse, struct strided q, struct strided k,
        struct strided v, const struct attention_shape *s)
{
	const size_t k_size = panel_size(s->d_qk, s->S), v_size = panel_size(s->S, s->d_v);
	const size_t sum_size = (size_t)ROWS * (size_t)round_to_tile(s->d_v);
	const size_t size = k_size + v_size + sum_size + ROWS * POSITIONS;
	struct arena_mark mark = arena_mark(exec->scratch);
	real *scratch = arena_alloc(exec->scratch, size * (size_t)exec->n_thread * sizeof(real));
	const real *bias = pad_bias(exec->scratch, s);
	const int n_task = s->B * s->n_head;
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int thread = 0; thread < exec->n_thread; thread++) {
		real *k_panels = scratch + size * (size_t)thread, *v_panels = k_panels + k_size;
		const int to = (int)((long)n_task * (thread + 1) / exec->n_thread);
		for (int task = (int)((long)n_task * thread / exec->n_thread); task < to; task++) {
			const int b = task / s->n_head, head = task % s->n_head;
			const int k_head = head * s->n_k_head / s->n_head, v_head = head * s->n_v_head / s->n_head;
			pack_rows(k_panels, k.x + b * k.b_stride + k_head * s->d_qk, k.t_stride, s->S, s->d_qk,
			        (real)s->scale);
			pack_columns(v_panels, v.x + b * v.b_stride + v_head * s->d_v, v.t_stride, s->S, s->d_v);
			struct head h = {.shape = s,
			        .q = q.x + b * q.b_stride + head * s->d_qk,
			        .k_panels = k_panels,
			        .v_panels = v_panels,
			        .bias = bias_of_head(bias, s, head),
			        .q_stride = q.t_stride,
			        .out_stride = out.t_stride,
			        .out = out.x + b * out.b_stride + head * s->d_v,
			        .lse = lse ? lse + (ptrdiff_t)task * s->T : NULL,
			        .sum = v_panels + v_size,
			        .score = v_panels + v_size + sum_size};
			for (int i0 = 0; i0 < s->T; i0 += ROWS)
				query_block(&h, i0, cpu_min(ROWS, s->T - i0));
		}
	}
	arena_rewind(exec->scratch, mark);
}
