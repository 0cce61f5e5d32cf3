// SPDX-License-Identifier: MIT
// The 2D position map, S' = S sum(w) + sum_c w_c P_ijc + b (op.h), in the two parts of it that a softmax over j feels:
//   gain:  q'_h = g_h q_h, g_h = sum_c w_hc:   dq_h = g_h dq'_h,  dw_hc += sum over rows of q_h . dq'_h, for every c
//   bias:  bias_hj = b_h + sum_k w_h,from+k E_jk:   dw_h,from+k += sum_j dbias_hj E_jk,  db_h = sum_j dbias_hj
// E (S, n_key) is the part of P that the key's position gives; the numbers of the query's position act in g alone.
//
// Cut PE: e has 2 ceil(m / 4) numbers; P's first numbers are e(i), what is left of m comes from e(j) (m 10: 6 + 4).
// Cut halves: m / 2 numbers of i (rounded down), the rest of j, e's ladder as wide as that part (C-repro; 5 + 5 at m
// 10).
#include <math.h>

#include "harness/base/err.h"
#include "harness/num/op.h"

struct cut {
	int width;       // of the sinusoid e: its ladder's
	int from, n_key; // the key's numbers among the m
};

static struct cut cut_of(enum map_cut cut, int m)
{
	if (cut == MAP_CUT_HALVES)
		return (struct cut){m - m / 2, m / 2, m - m / 2};
	const int width = 2 * ((m + 3) / 4);
	return (struct cut){width, width < m ? width : m, width < m ? m - width : 0};
}

// E (S, n_key): e(j) = sin(j f_0), cos(j f_0), sin(j f_1), ..., f_t = 10000^(-2t / width).
static void fill_positions(real *to, const struct cut *cut, int S)
{
	for (int k = 0; k < cut->n_key; k++) {
		const double frequency = pow(10000, -2.0 * (k / 2) / cut->width);
		for (int j = 0; j < S; j++)
			to[(ptrdiff_t)j * cut->n_key + k] = (real)(k % 2 ? cos(j * frequency) : sin(j * frequency));
	}
}

struct map_gain {
	struct tensor *q, *w, *out;
	const real *gain;      // (n_map)
	ptrdiff_t gain_stride; // 0: one for all heads
	int n_head;
};

static void map_gain_backward(struct tape *tape, void *args)
{
	const struct map_gain *a = args;
	struct tensor *q = a->q, *w = a->w;
	if (!a->out->is_live)
		return;
	const struct exec exec = op_exec(tape);
	if (w->dx) {
		const struct arena_mark mark = arena_mark(tape->scratch);
		real *dot = arena_alloc(tape->scratch, (size_t)a->n_head * sizeof(real));
		tape->backend->dot_heads(&exec, dot, op_values(q), op_gradient(a->out), q->B, q->T, q->C, a->n_head);
		if (!op_gradient_take(w))
			op_gradient_clear(w);
		for (int h = 0; h < a->n_head; h++)
			for (int c = 0; c < w->C; c++)
				w->dx[h * w->T / a->n_head * w->t_stride + c] += dot[h];
		arena_rewind(tape->scratch, mark);
	}
	if (q->dx)
		tape->backend->scale_heads(&exec,
		        (struct strided_out){q->dx, q->b_stride, q->t_stride, op_gradient_take(q)}, op_gradient(a->out),
		        q->B, q->T, q->C, a->n_head, a->gain, a->gain_stride);
}

struct tensor *op_map_gain(struct tape *tape, struct tensor *q, struct tensor *w, int n_head)
{
	if (w->B != 1 || (w->T != 1 && w->T != n_head) || q->C % n_head)
		BUG("map_gain: weights (%d, %d, %d) for %d heads in %d columns", w->B, w->T, w->C, n_head, q->C);
	q = op_reals(tape, q), w = op_reals(tape, w);
	struct tensor *out = tensor_new_if(tape, q->B, q->T, q->C, op_has_gradient(q) || op_has_gradient(w));
	const double n = (double)tensor_n_row(q) * q->C, n_w = (double)w->T * w->C;
	if (tape->mode == TAPE_COUNT) {
		tape_count(tape, (struct tally){n + n_w, op_bytes(n + n_w), op_bytes(n), 0},
		        (struct tally){3 * n + n_w, op_bytes(2 * n), op_bytes(n + n_w), 0});
		return out;
	}
	real *gain = arena_alloc(tape->step, (size_t)w->T * sizeof(real));
	for (int h = 0; h < w->T; h++) {
		double sum = 0;
		for (int c = 0; c < w->C; c++)
			sum += (double)w->x[h * w->t_stride + c];
		gain[h] = (real)sum;
	}
	const struct map_gain a = {q, w, out, gain, w->T == 1 ? 0 : 1, n_head};
	const struct exec exec = op_exec(tape);
	tape->backend->scale_heads(&exec, (struct strided_out){out->x, out->b_stride, out->t_stride, 0}, op_values(q),
	        q->B, q->T, q->C, n_head, gain, a.gain_stride);
	struct map_gain *record = op_record(tape, out, map_gain_backward, sizeof(*record));
	if (record)
		*record = a;
	return out;
}

struct map_bias {
	struct tensor *w, *b, *out;
	const real *position; // E
	struct cut cut;
};

static void map_bias_backward(struct tape *tape, void *args)
{
	const struct map_bias *a = args;
	struct tensor *w = a->w, *b = a->b, *out = a->out;
	if (!out->is_live)
		return;
	const struct exec exec = op_exec(tape);
	if (w->dx) {
		if (!op_gradient_take(w)) // the query's numbers have no gradient from here
			op_gradient_clear(w);
		const struct gemm gemm = {.form = GEMM_NN,
		        .m = w->T,
		        .n = a->cut.n_key,
		        .k = out->C,
		        .a = out->dx,
		        .lda = out->t_stride,
		        .b = a->position,
		        .ldb = a->cut.n_key,
		        .c = w->dx + a->cut.from,
		        .ldc = w->t_stride,
		        .accumulate = 1};
		if (a->cut.n_key)
			tape->backend->gemm(&exec, &gemm);
	}
	if (b && b->dx) {
		const int accumulate = op_gradient_take(b);
		for (int h = 0; h < w->T; h++) {
			double sum = 0;
			for (int j = 0; j < out->C; j++)
				sum += (double)out->dx[h * out->t_stride + j];
			b->dx[h] = (accumulate ? b->dx[h] : 0) + (real)sum;
		}
	}
}

struct tensor *op_map_bias(struct tape *tape, struct tensor *w, struct tensor *b, int S, enum map_cut kind)
{
	const struct cut cut = cut_of(kind, w->C);
	if (w->B != 1 || w->C < 1 || (b && (b->T != 1 || b->C != w->T)))
		BUG("map_bias: weights (%d, %d, %d)", w->B, w->T, w->C);
	w = op_reals(tape, w);
	struct tensor *out = tensor_new_if(tape, 1, w->T, S, op_has_gradient(w) || op_has_gradient(b));
	const double macs = (double)w->T * S * cut.n_key, n_out = (double)w->T * S, n_b = b ? w->T : 0;
	if (tape->mode == TAPE_COUNT) {
		// The sinusoid is not counted: it is fixed.
		const double n_e = (double)S * cut.n_key, n_w = (double)w->T * cut.n_key, sums = b ? n_out : 0;
		tape_count(tape, (struct tally){2 * macs + sums, op_bytes(n_e + n_w + n_b), op_bytes(n_out), macs},
		        (struct tally){2 * macs + sums, op_bytes(n_out + n_e), op_bytes(n_w + n_b), macs});
		return out;
	}
	real *position = arena_alloc(tape->step, (size_t)S * (size_t)cut.n_key * sizeof(real));
	fill_positions(position, &cut, S);
	for (int h = 0; h < w->T; h++)
		for (int j = 0; j < S; j++)
			out->x[h * out->t_stride + j] = b ? b->x[h] : 0;
	const struct gemm gemm = {.form = GEMM_NT,
	        .m = w->T,
	        .n = S,
	        .k = cut.n_key,
	        .a = w->x + cut.from,
	        .lda = w->t_stride,
	        .b = position,
	        .ldb = cut.n_key,
	        .c = out->x,
	        .ldc = out->t_stride,
	        .accumulate = 1};
	const struct exec exec = op_exec(tape);
	if (cut.n_key)
		tape->backend->gemm(&exec, &gemm);
	struct map_bias *record = op_record(tape, out, map_bias_backward, sizeof(*record));
	if (record)
		*record = (struct map_bias){w, b, out, position, cut};
	return out;
}
