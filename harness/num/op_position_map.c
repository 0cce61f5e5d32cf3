// SPDX-License-Identifier: MIT
// The 2D position map, S' = S sum(w) + sum_c w_c P_ijc + b (op.h), in the two parts of it that a softmax over j feels:
//   gain:  q'_h = g_h q_h, g_h = sum_c w_hc:   dq_h = g_h dq'_h,  dw_hc += sum over rows of q_h . dq'_h, for every c
//   bias:  bias_hj = b_h + sum_k w_h,from+k E_jk:   dw_h,from+k += sum_j dbias_hj E_jk,  db_h = sum_j dbias_hj
// E (S, n_key) is the part of P that the key's position gives; the numbers of the query's position act in g alone.
#include "harness/base/err.h"
#include "harness/num/op.h"
#include "harness/num/position_map.h"

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
			tensor_clear_gradient(tape, w);
		for (int h = 0; h < a->n_head; h++) {
			real *row = w->dx + h * w->T / a->n_head * w->t_stride;
			tape->backend->copy(&exec, row, 1, dot + h, 0, w->C, 1, 1); // one number to each
		}
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
	const struct exec exec = op_exec(tape);
	real *gain = arena_alloc(tape_values(tape), (size_t)w->T * sizeof(real));
	tape->backend->map_gain(&exec, gain, w->x, w->t_stride, w->T, w->C);
	const struct map_gain a = {q, w, out, gain, w->T == 1 ? 0 : 1, n_head};
	tape->backend->scale_heads(&exec, (struct strided_out){out->x, out->b_stride, out->t_stride, 0}, op_values(q),
	        q->B, q->T, q->C, n_head, gain, a.gain_stride);
	struct map_gain *record = op_record(tape, out, map_gain_backward, sizeof(*record));
	if (record)
		*record = a;
	return out;
}

struct map_bias {
	struct tensor *w, *b, *out;
	int cut; // enum map_cut
};

static void map_bias_backward(struct tape *tape, void *args)
{
	const struct map_bias *a = args;
	struct tensor *w = a->w, *b = a->b, *out = a->out;
	if (!out->is_live)
		return;
	const struct exec exec = op_exec(tape);
	const struct arena_mark mark = arena_mark(tape->scratch);
	if (w->dx) {
		if (!op_gradient_take(w)) // the query's numbers have no gradient from here
			tensor_clear_gradient(tape, w);
		tape->backend->map_bias_backward(
		        &exec, w->dx, w->t_stride, out->dx, out->t_stride, w->T, w->C, out->C, a->cut);
	}
	if (b && b->dx) { // the sum of a row, as the gain is one
		real *sum = arena_alloc(tape->scratch, (size_t)w->T * sizeof(*sum));
		tape->backend->map_gain(&exec, sum, out->dx, out->t_stride, w->T, out->C);
		if (!op_gradient_take(b))
			tensor_clear_gradient(tape, b);
		tape->backend->copy(&exec, b->dx, w->T, sum, w->T, 1, w->T, 1);
	}
	arena_rewind(tape->scratch, mark);
}

struct tensor *op_map_bias(struct tape *tape, struct tensor *w, struct tensor *b, int S, int room, enum map_cut cut)
{
	const struct map_keys keys = map_keys_of(cut, w->C);
	if (w->B != 1 || w->C < 1 || (b && (b->T != 1 || b->C != w->T)) || room < S)
		BUG("map_bias: weights (%d, %d, %d), room for %d of %d positions", w->B, w->T, w->C, room, S);
	w = op_reals(tape, w);
	struct tensor *out = tensor_new_if(tape, 1, w->T, room, op_has_gradient(w) || op_has_gradient(b));
	const double macs = (double)w->T * S * keys.n, n_out = (double)w->T * S, n_b = b ? w->T : 0;
	if (tape->mode == TAPE_COUNT) {
		// The sinusoid is not counted: it is fixed.
		const double n_e = (double)S * keys.n, n_w = (double)w->T * keys.n, sums = b ? n_out : 0;
		tape_count(tape, (struct tally){2 * macs + sums, op_bytes(n_e + n_w + n_b), op_bytes(n_out), macs},
		        (struct tally){2 * macs + sums, op_bytes(n_out + n_e), op_bytes(n_w + n_b), macs});
		return tensor_columns(tape, out, 0, S);
	}
	const struct exec exec = op_exec(tape);
	tape->backend->map_bias(
	        &exec, out->x, out->t_stride, w->x, w->t_stride, b ? b->x : NULL, w->T, w->C, S, (int)cut);
	out = tensor_columns(tape, out, 0, S);
	struct map_bias *record = op_record(tape, out, map_bias_backward, sizeof(*record));
	if (record)
		*record = (struct map_bias){w, b, out, (int)cut};
	return out;
}
