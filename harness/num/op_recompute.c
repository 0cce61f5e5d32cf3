// SPDX-License-Identifier: MIT
// A piece of the tape that is run, forgotten but for its result, and run again in backward: memory for time. The second
// run draws the same dropout masks and its records are walked as they would have been, so gradients keep their bits.
#include <string.h>

#include "harness/base/err.h"
#include "harness/num/op.h"

struct piece {
	struct tensor *x, *out;
	recomputed *run;
	int dropout_site;
	void *args;
};

// What the piece sees of x: not its own, so that no op hands it memory that is given back before x's gradient is read.
static struct tensor seen_inside(const struct tensor *x)
{
	struct tensor inner = *x;
	inner.is_own = 0;
	return inner;
}

static void piece_backward(struct tape *tape, void *args)
{
	const struct piece *p = args;
	struct tensor x = seen_inside(p->x);
	if (!p->out->is_live)
		return;
	const int site = tape->dropout_site;
	const struct tape_mark begin = tape_mark(tape);
	tape->last = NULL; // the walk that called this has its own place
	tape->dropout_site = p->dropout_site;
	struct tensor *out = p->run(tape, &x, p->args);
	out->dx = p->out->dx;
	out->is_live = 1;
	tape_backward(tape);
	tape->dropout_site = site;
	tape_rewind(tape, begin);
	p->x->is_live = x.is_live;
}

// Of what pieces need, the largest: total and largest before a piece, which made total what it is now.
static double without_smaller(double before, double *largest, double now, double kept)
{
	const double piece = now - before, was = *largest;
	*largest = piece > was ? piece : was;
	return before + kept + *largest - was;
}

// What a count sees: the results stay, of the rest the largest piece; backward begins with another forward.
static struct tensor *count_piece(struct tape *tape, recomputed *run, struct tensor *x, const void *args)
{
	const double bytes = tape->tensor_bytes, saved = tape->saved_bytes;
	const struct tally before = tape->forward;
	struct tensor *out = run(tape, x, args);
	const struct tally f = tape->forward;
	tape_count(tape, (struct tally){0, 0, 0, 0},
	        (struct tally){f.flops - before.flops, f.read_bytes - before.read_bytes,
	                f.write_bytes - before.write_bytes, f.macs - before.macs});
	tape->tensor_bytes = without_smaller(
	        bytes, &tape->again_bytes, tape->tensor_bytes, op_bytes((double)tensor_n_row(out) * out->C));
	tape->saved_bytes = without_smaller(saved, &tape->again_saved, tape->saved_bytes, 0);
	return out;
}

struct tensor *op_recompute(struct tape *tape, recomputed *run, struct tensor *x, const void *args, size_t bytes)
{
	if (tape->mode == TAPE_RUN)
		return run(tape, x, args);
	if (tape->mode == TAPE_COUNT)
		return count_piece(tape, run, x, args);
	struct record *last = tape->last;
	const int site = tape->dropout_site;
	const struct tape_mark begin = tape_mark(tape);
	struct tensor inner = seen_inside(x);
	const struct tensor made = *run(tape, &inner, args);
	if (!made.is_own || made.t_stride != made.C || !tensor_is_matrix(&made))
		BUG("a recomputed piece of the tape whose result is a view");
	tape->last = last;
	tape_rewind(tape, begin);
	x->is_live = inner.is_live;
	struct tensor *out = tensor_new_if(tape, made.B, made.T, made.C, made.dx != NULL);
	const struct exec exec = op_exec(tape);
	tape->backend->move(&exec, out->x, made.x, (size_t)tensor_n_row(out) * (size_t)out->C * sizeof(real));
	struct piece *p = op_record(tape, out, piece_backward, sizeof(*p));
	if (p) {
		*p = (struct piece){x, out, run, site, arena_alloc(tape->step, bytes)};
		memcpy(p->args, args, bytes);
	}
	return out;
}
