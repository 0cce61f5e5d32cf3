// SPDX-License-Identifier: MIT
// Residual connection: out = a + b; the gradient goes to both.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct add {
	struct tensor *a, *b, *out;
};

static void pass(struct tape *tape, const struct tensor *out, struct tensor *to)
{
	if (!to->dx)
		return;
	const struct exec exec = op_exec(tape);
	int rows = (int)tensor_n_row(out);
	tape->backend->copy(&exec, to->dx, to->t_stride, out->dx, out->t_stride, rows, out->C, op_gradient_take(to));
}

static void add_backward(struct tape *tape, void *args)
{
	const struct add *s = args;
	if (!s->out->is_live)
		return;
	pass(tape, s->out, s->b);
	// The stream's gradient goes on unchanged, and nobody needs it here any more: where nothing has been added to
	// a's yet, hand the memory over instead of copying it.
	if (s->a->is_own && s->a->dx && !s->a->is_live && s->out->is_own) {
		real *spare = s->a->dx;
		s->a->dx = s->out->dx;
		s->out->dx = spare;
		s->a->is_live = 1;
	} else {
		pass(tape, s->out, s->a);
	}
}

struct tensor *op_add(struct tape *tape, struct tensor *a, struct tensor *b)
{
	if (a->B != b->B || a->T != b->T || a->C != b->C)
		BUG("add: (%d, %d, %d) and (%d, %d, %d)", a->B, a->T, a->C, b->B, b->T, b->C);
	a = op_packed(tape, a);
	b = op_packed(tape, b);
	struct tensor *out = tensor_new_if(tape, a->B, a->T, a->C, op_has_gradient(a) || op_has_gradient(b));
	double n = (double)tensor_n_row(a) * a->C;
	if (tape->mode == TAPE_COUNT) {
		tape_count(tape, (struct tally){n, op_bytes(2 * n), op_bytes(n)},
		        (struct tally){0, op_bytes(n), op_bytes(2 * n)});
		return out;
	}
	const struct exec exec = op_exec(tape);
	tape->backend->add(&exec, out->x, a->x, b->x, (long)n);
	struct add *s = op_record(tape, out, add_backward, sizeof(*s));
	if (s)
		*s = (struct add){a, b, out};
	return out;
}
