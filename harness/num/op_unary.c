// SPDX-License-Identifier: MIT
// GELU: x Phi(x), derivative Phi(x) + x phi(x). ReLU: max(x, 0). The tanh form of GELU: x s(2u) with s the sigmoid and
// u = sqrt(2 / pi) (x + 0.044715 x^3), which is 0.5 x (1 + tanh(u)); derivative s + 2 x u' s (1 - s).
#include "harness/num/op.h"

struct unary_args {
	struct tensor *x, *out;
	real *slope; // like x
};

static void unary_backward(struct tape *tape, void *args)
{
	const struct unary_args *u = args;
	if (!u->out->is_live || !u->x->dx)
		return;
	const struct exec exec = op_exec(tape);
	long n = tensor_n_row(u->x) * u->x->C;
	tape->backend->unary_backward(&exec, u->x->dx, u->out->dx, u->slope, n, op_gradient_take(u->x));
}

struct tensor *op_unary(struct tape *tape, struct tensor *x, enum unary kind)
{
	x = op_packed(tape, x);
	struct tensor *out = tensor_new_if(tape, x->B, x->T, x->C, op_has_gradient(x));
	double n = (double)tensor_n_row(x) * x->C;
	if (tape->mode == TAPE_COUNT) {
		// One FLOP an element for ReLU; both GELUs by convention 8 forward and 12 backward (exp and erf as
		// polynomials).
		double forward = kind == UNARY_RELU ? 1 : 8, backward = kind == UNARY_RELU ? 1 : 12;
		tape_count(tape, (struct tally){forward * n, op_bytes(n), op_bytes(n)},
		        (struct tally){backward * n, op_bytes(2 * n), op_bytes(n)});
		op_saved(tape, n);
		return out;
	}
	struct unary_args *u = op_record(tape, out, unary_backward, sizeof(*u));
	if (u)
		*u = (struct unary_args){x, out, op_saved(tape, n)};
	const struct exec exec = op_exec(tape);
	tape->backend->unary(&exec, out->x, u ? u->slope : NULL, x->x, (long)n, kind);
	return out;
}
