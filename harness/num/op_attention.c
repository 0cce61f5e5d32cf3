// SPDX-License-Identifier: MIT
// Softmax attention with independent head counts and widths for q, k and v (backend.h: attention_shape).
//   P = softmax(scale q k^T), out = P v.
//   dv = P^T dout;  dS = P (dout v^T - sum(dout out));  dq = scale dS k;  dk = scale dS^T q.
// With a key bias b: P = softmax(scale q k^T + b), db = sum of dS over query rows and sequences.
// P is rebuilt in backward from the stored log-sum-exp of each row, block by block.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct attention {
	struct tensor *q, *k, *v, *key_bias, *out; // key_bias: NULL without
	real *lse;
	struct attention_shape shape;
};

static struct strided_out gradient(struct tensor *t)
{
	return (struct strided_out){t->dx, t->b_stride, t->t_stride, t->dx ? op_gradient_take(t) : 0};
}

static void attention_backward(struct tape *tape, void *args)
{
	const struct attention *a = args;
	if (!a->out->is_live)
		return;
	const struct exec exec = op_exec(tape);
	struct attention_shape shape = a->shape;
	if (a->key_bias && a->key_bias->dx) {
		if (!op_gradient_take(a->key_bias))
			tensor_clear_gradient(tape, a->key_bias);
		shape.d_key_bias = a->key_bias->dx;
	}
	// In this order: where v is k itself, dv is added to what dk has written.
	struct strided_out dq = gradient(a->q), dk = gradient(a->k), dv = gradient(a->v);
	tape->backend->attention_backward(&exec, dq, dk, dv, op_gradient(a->out), op_values(a->out), a->lse,
	        op_values(a->q), op_values(a->k), op_values(a->v), &shape);
}

// Pairs (query, position) that are scored.
static double n_pair(const struct attention_shape *s)
{
	if (!s->causal)
		return (double)s->T * s->S;
	double pairs = 0;
	for (int t = 0; t < s->T; t++) {
		int visible = s->q_position + t + 1;
		pairs += visible < s->S ? visible : s->S;
	}
	return pairs;
}

static void count(
        struct tape *tape, const struct attention_shape *s, const struct tensor *key_bias, double stored_bytes)
{
	// By convention 5 FLOPs a score for the softmax, 4 more in backward; products at 2 a multiply-add. A bias is
	// one addition a score, in backward another one for its gradient.
	double pairs = n_pair(s) * s->B * s->n_head, rows = (double)s->B * s->T, positions = (double)s->B * s->S;
	double q = rows * s->n_head * s->d_qk, out = rows * s->n_head * s->d_v;
	double k = positions * s->n_k_head * s->d_qk, v = positions * s->n_v_head * s->d_v;
	if (stored_bytes >= 0) { // decoding: as they lie
		tape_count(tape,
		        (struct tally){pairs * (2.0 * s->d_qk + 2.0 * s->d_v + 5), op_bytes(q) + stored_bytes,
		                op_bytes(out), pairs * (s->d_qk + s->d_v)},
		        (struct tally){0});
		return;
	}
	double bias = key_bias ? (double)key_bias->T * key_bias->C : 0, biased = key_bias ? 1 : 0;
	struct tally forward = {pairs * (2.0 * s->d_qk + 2.0 * s->d_v + 5 + biased), op_bytes(q + k + v + bias),
	        op_bytes(out), pairs * (s->d_qk + s->d_v)};
	struct tally backward = {pairs * (6.0 * s->d_qk + 4.0 * s->d_v + 9 + 2 * biased),
	        op_bytes(q + k + v + 2 * out + bias), op_bytes(q + k + v + bias),
	        pairs * (3.0 * s->d_qk + 2.0 * s->d_v)};
	tape_count(tape, forward, backward);
}

// Few query rows over a cache: the rows are attended to as they lie, if the backend can.
static int is_stored(
        const struct tape *tape, const struct tensor *k, const struct tensor *v, const struct attention_shape *s)
{
	return tape->is_decoding && k->stored && v->stored && !v->stored->tail && !v->stored->turn &&
	       s->n_k_head == s->n_v_head && tape->backend->attention_stored;
}

// Bytes of the cached rows: once where values lie in the rows that keys are.
static double stored_bytes(const struct tensor *k, const struct tensor *v)
{
	const double rows = (double)tensor_n_row(k);
	const int is_one = k->stored->origin == v->stored->origin;
	return op_row_bytes(k, rows) + (is_one ? 0 : op_row_bytes(v, rows));
}

struct tensor *op_attention_biased(struct tape *tape, struct tensor *q, struct tensor *k, struct tensor *v,
        struct tensor *key_bias, struct attention_shape shape)
{
	shape.B = q->B, shape.T = q->T, shape.S = k->T;
	if (q->C != shape.n_head * shape.d_qk || k->C != shape.n_k_head * shape.d_qk ||
	        v->C != shape.n_v_head * shape.d_v || shape.n_head % shape.n_k_head || shape.n_head % shape.n_v_head ||
	        k->T != v->T || k->B != q->B || v->B != q->B)
		BUG("attention: q (%d, %d, %d), k (%d, %d, %d), v (%d, %d, %d) with %d, %d, %d heads of %d and %d",
		        q->B, q->T, q->C, k->B, k->T, k->C, v->B, v->T, v->C, shape.n_head, shape.n_k_head,
		        shape.n_v_head, shape.d_qk, shape.d_v);
	if (key_bias && (key_bias->B != 1 || (key_bias->T != 1 && key_bias->T != shape.n_head) || key_bias->C != k->T))
		BUG("attention: key bias (%d, %d, %d) for %d heads and %d positions", key_bias->B, key_bias->T,
		        key_bias->C, shape.n_head, k->T);
	shape.key_bias = shape.d_key_bias = NULL;
	if (key_bias) {
		shape.key_bias = key_bias->x;
		shape.key_bias_stride = key_bias->T == 1 ? 0 : key_bias->t_stride;
	}
	q = op_reals(tape, q);
	struct tensor *out = tensor_new_if(tape, q->B, q->T, shape.n_head * shape.d_v,
	        op_has_gradient(q) || op_has_gradient(k) || op_has_gradient(v) || op_has_gradient(key_bias));
	if (is_stored(tape, k, v, &shape)) {
		if (tape->mode == TAPE_COUNT)
			return count(tape, &shape, key_bias, stored_bytes(k, v)), out;
		const struct exec exec = op_exec_wide(tape);
		tape->backend->attention_stored(&exec, (struct strided_out){out->x, out->b_stride, out->t_stride, 0},
		        op_values(q), k->stored, v->stored, &shape);
		return out;
	}
	k = op_reals(tape, k), v = op_reals(tape, v);
	const double n_lse = (double)q->B * shape.n_head * q->T;
	if (tape->mode == TAPE_COUNT) {
		count(tape, &shape, key_bias, -1);
		op_saved(tape, n_lse);
		// Backward: a number a query row and head, and the bias's gradient of each sequence and head.
		op_count_scratch(tape, 0, 0, 0,
		        op_bytes(n_lse + (op_has_gradient(key_bias) ? (double)q->B * shape.n_head * shape.S : 0)));
		return out;
	}
	struct attention *a = op_record(tape, out, attention_backward, sizeof(*a));
	real *lse = a ? op_saved(tape, n_lse) : NULL;
	const struct exec exec = op_exec_wide(tape);
	tape->backend->attention(&exec, (struct strided_out){out->x, out->b_stride, out->t_stride, 0}, lse,
	        op_values(q), op_values(k), op_values(v), &shape);
	if (a)
		*a = (struct attention){q, k, v, key_bias, out, lse, shape};
	return out;
}

struct tensor *op_attention(
        struct tape *tape, struct tensor *q, struct tensor *k, struct tensor *v, struct attention_shape shape)
{
	return op_attention_biased(tape, q, k, v, NULL, shape);
}
