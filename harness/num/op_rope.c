// SPDX-License-Identifier: MIT
// Rotary positions: a rotation of pairs, so backward is the rotation by the opposite angle.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct rope_args {
	struct tensor *x, *out;
	struct rope rope;
};

static void rotate(struct tape *tape, real *out, ptrdiff_t ldo, const real *in, const struct tensor *x, ptrdiff_t ldx,
        const struct rope *r, double sign, int accumulate)
{
	const struct exec exec = op_exec(tape);
	tape->backend->rope(&exec, out, ldo, in, ldx, x->B, x->T, r->n_head, x->C / r->n_head, r->n_rotary, r->base,
	        r->first, r->halves, sign, accumulate);
}

static void rope_backward(struct tape *tape, void *args)
{
	const struct rope_args *a = args;
	if (a->out->is_live && a->x->dx)
		rotate(tape, a->x->dx, a->x->t_stride, a->out->dx, a->x, a->out->t_stride, &a->rope, -1,
		        op_gradient_take(a->x));
}

struct tensor *op_rope(struct tape *tape, struct tensor *x, const struct rope *rope)
{
	if (rope->n_rotary % 2 || x->C % rope->n_head || rope->n_rotary > x->C / rope->n_head)
		BUG("rope: %d rotated numbers in heads of %d", rope->n_rotary, x->C / rope->n_head);
	if (!tensor_is_matrix(x))
		x = op_packed(tape, x);
	struct tensor *out = tensor_new(tape, x->B, x->T, x->C);
	double n = (double)tensor_n_row(x) * x->C, rotated = (double)tensor_n_row(x) * rope->n_head * rope->n_rotary;
	if (tape->mode == TAPE_COUNT) {
		struct tally tally = {3 * rotated, op_bytes(n), op_bytes(n)};
		tape_count(tape, tally, tally);
		return out;
	}
	rotate(tape, out->x, out->t_stride, x->x, x, x->t_stride, rope, 1, 0);
	struct rope_args *a = tape_record(tape, rope_backward, sizeof(*a));
	if (a)
		*a = (struct rope_args){x, out, *rope};
	return out;
}
