// SPDX-License-Identifier: MIT
// Layer norm: xhat = (x - mean) * r, r = 1 / sqrt(var + eps), out = xhat * gain + bias.
//   dx = r (g - mean(g) - xhat mean(g xhat)) with g = dout * gain; dgain = sum(dout xhat); dbias = sum(dout).
// RMS norm is the same without the mean (and without mean(g) in dx) and without bias.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct norm {
	struct tensor *x, *gain, *bias, *out;
	real *stat;
	int is_rms;
};

static void norm_backward(struct tape *tape, void *args)
{
	const struct norm *n = args;
	if (!n->out->is_live)
		return;
	const struct exec exec = op_exec(tape);
	int ax = n->x->dx ? op_gradient_take(n->x) : 0;
	int ag = n->gain->dx ? op_gradient_take(n->gain) : 0;
	int ab = n->bias && n->bias->dx ? op_gradient_take(n->bias) : 0;
	tape->backend->norm_backward(&exec, n->x->dx, ax, n->gain->dx, ag, n->bias ? n->bias->dx : NULL, ab, n->out->dx,
	        n->x->x, n->stat, n->gain->x, (int)tensor_n_row(n->x), n->x->C, n->is_rms);
}

static struct tensor *norm(
        struct tape *tape, struct tensor *x, struct tensor *gain, struct tensor *bias, double eps, int is_rms)
{
	if (gain->C != x->C || (bias && bias->C != x->C))
		BUG("norm: gain of %d on %d columns", gain->C, x->C);
	x = op_packed(tape, x);
	struct tensor *out = tensor_new_if(
	        tape, x->B, x->T, x->C, op_has_gradient(x) || op_has_gradient(gain) || op_has_gradient(bias));
	double n = (double)tensor_n_row(x) * x->C, c = x->C;
	if (tape->mode == TAPE_COUNT) {
		// Forward: mean, deviation, scale, gain, bias. Backward: two sums, dx, dgain, dbias.
		tape_count(tape, (struct tally){(is_rms ? 4 : 8) * n, op_bytes(n + (is_rms ? 1 : 2) * c), op_bytes(n)},
		        (struct tally){
		                (is_rms ? 10 : 14) * n, op_bytes(2 * n + c), op_bytes(n + (is_rms ? 1 : 2) * c)});
		op_saved(tape, 2 * n / c);
		return out;
	}
	struct norm *args = op_record(tape, out, norm_backward, sizeof(*args));
	real *stat = args ? op_saved(tape, 2 * n / c) : NULL;
	const struct exec exec = op_exec(tape);
	tape->backend->norm(
	        &exec, out->x, stat, x->x, gain->x, bias ? bias->x : NULL, (int)tensor_n_row(x), x->C, eps, is_rms);
	if (args)
		*args = (struct norm){x, gain, bias, out, stat, is_rms};
	return out;
}

struct tensor *op_layernorm(struct tape *tape, struct tensor *x, struct tensor *gain, struct tensor *bias, double eps)
{
	return norm(tape, x, gain, bias, eps, 0);
}

struct tensor *op_rmsnorm(struct tape *tape, struct tensor *x, struct tensor *gain, double eps)
{
	return norm(tape, x, gain, NULL, eps, 1);
}
