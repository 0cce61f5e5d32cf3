// SPDX-License-Identifier: MIT
// Copies rows from..from+n-1 of every sequence: where only some positions are needed, the rest is not computed.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct rows {
	struct tensor *x, *out;
	int from;
};

static void rows_backward(struct tape *tape, void *args)
{
	const struct rows *r = args;
	struct tensor *x = r->x, *out = r->out;
	if (!out->is_live || !x->dx)
		return;
	const struct exec exec = op_exec(tape);
	if (!op_gradient_take(x))
		tensor_clear_gradient(tape, x);
	for (int b = 0; b < x->B; b++)
		tape->backend->copy(&exec, x->dx + b * x->b_stride + r->from * x->t_stride, x->t_stride,
		        out->dx + b * out->b_stride, out->t_stride, out->T, out->C, 1);
}

static struct tensor *copy_rows(struct tape *tape, struct tensor *x, int from, int n)
{
	struct tensor *out = tensor_new_if(tape, x->B, n, x->C, op_has_gradient(x));
	double count = (double)x->B * n * x->C;
	if (tape->mode == TAPE_COUNT) {
		tape_count(tape, (struct tally){0, op_bytes(count), op_bytes(count)},
		        (struct tally){0, op_bytes(count), op_bytes((double)x->B * x->T * x->C)});
		return out;
	}
	const struct exec exec = op_exec(tape);
	for (int b = 0; b < x->B; b++)
		tape->backend->copy(&exec, out->x + b * out->b_stride, out->t_stride,
		        x->x + b * x->b_stride + from * x->t_stride, x->t_stride, n, x->C, 0);
	struct rows *r = op_record(tape, out, rows_backward, sizeof(*r));
	if (r)
		*r = (struct rows){x, out, from};
	return out;
}

struct tensor *op_rows(struct tape *tape, struct tensor *x, int from, int n)
{
	if (from < 0 || n < 1 || from + n > x->T)
		BUG("rows %d..%d of sequences of %d", from, from + n, x->T);
	x = op_reals(tape, x);
	if (n == x->T && tensor_is_matrix(x))
		return x;
	return copy_rows(tape, x, from, n);
}

struct tensor *op_packed(struct tape *tape, struct tensor *x)
{
	x = op_reals(tape, x);
	return tensor_is_matrix(x) && x->t_stride == x->C ? x : copy_rows(tape, x, 0, x->T);
}
