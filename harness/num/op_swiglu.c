// SPDX-License-Identifier: MIT
// x = (gate, up): out = gate * s * up with s = sigmoid(gate).
//   dup = dout * gate * s;  dgate = dout * up * s * (1 + gate * (1 - s)).
#include "harness/base/err.h"
#include "harness/num/op.h"

struct swiglu {
	struct tensor *x, *out;
};

static void swiglu_backward(struct tape *tape, void *args)
{
	const struct swiglu *s = args;
	if (!s->out->is_live || !s->x->dx)
		return;
	const struct exec exec = op_exec(tape);
	tape->backend->swiglu_backward(
	        &exec, s->x->dx, s->out->dx, s->x->x, (int)tensor_n_row(s->x), s->out->C, op_gradient_take(s->x));
}

struct tensor *op_swiglu(struct tape *tape, struct tensor *x)
{
	if (x->C % 2)
		BUG("swiglu on an odd number of columns (%d)", x->C);
	x = op_packed(tape, x);
	struct tensor *out = tensor_new_if(tape, x->B, x->T, x->C / 2, op_has_gradient(x));
	double n = (double)tensor_n_row(out) * out->C;
	if (tape->mode == TAPE_COUNT) {
		tape_count(tape, (struct tally){6 * n, op_bytes(2 * n), op_bytes(n)},
		        (struct tally){12 * n, op_bytes(3 * n), op_bytes(2 * n)});
		return out;
	}
	const struct exec exec = op_exec(tape);
	tape->backend->swiglu(&exec, out->x, x->x, (int)tensor_n_row(x), out->C);
	struct swiglu *s = op_record(tape, out, swiglu_backward, sizeof(*s));
	if (s)
		*s = (struct swiglu){x, out};
	return out;
}
