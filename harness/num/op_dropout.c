// SPDX-License-Identifier: MIT
// Inverted dropout. The mask is a function of (seed, step, site, element), so backward draws it again.
#include "harness/num/op.h"

struct dropout {
	struct tensor *x, *out;
	double p;
	unsigned long long seed, index;
};

static void dropout_backward(struct tape *tape, void *args)
{
	const struct dropout *d = args;
	if (!d->out->is_live || !d->x->dx)
		return;
	const struct exec exec = op_exec(tape);
	long n = tensor_n_row(d->x) * d->x->C;
	tape->backend->dropout(&exec, d->x->dx, d->out->dx, n, d->p, d->seed, d->index, op_gradient_take(d->x));
}

struct tensor *op_dropout(struct tape *tape, struct tensor *x, double p)
{
	if (p <= 0 || tape->mode == TAPE_RUN)
		return x;
	x = op_packed(tape, x);
	struct tensor *out = tensor_new_if(tape, x->B, x->T, x->C, op_has_gradient(x));
	double n = (double)tensor_n_row(x) * x->C;
	if (tape->mode == TAPE_COUNT) {
		tape_count(
		        tape, (struct tally){n, op_bytes(n), op_bytes(n)}, (struct tally){n, op_bytes(n), op_bytes(n)});
		return out;
	}
	const uint64_t index = op_dropout_index((long)tape->dropout_step, tape->dropout_site++);
	const struct exec exec = op_exec(tape);
	tape->backend->dropout(&exec, out->x, x->x, (long)n, p, tape->dropout_seed, index, 0);
	struct dropout *d = op_record(tape, out, dropout_backward, sizeof(*d));
	if (d)
		*d = (struct dropout){x, out, p, tape->dropout_seed, index};
	return out;
}
