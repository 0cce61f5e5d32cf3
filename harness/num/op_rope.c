// SPDX-License-Identifier: MIT
// Rotary positions: a rotation of pairs, so backward is the rotation by the opposite angle.
#include <math.h>

#include "harness/base/err.h"
#include "harness/num/op.h"

double rope_frequency(const struct rope *rope, int i)
{
	const struct rope_scaling *s = &rope->scaling;
	const double plain = pow(rope->base, -2.0 * i / rope->n_ladder);
	if (s->kind == ROPE_SCALING_NONE)
		return plain;
	if (s->kind == ROPE_SCALING_LINEAR)
		return plain / s->factor;
	const double turns = s->original_ctx * plain / (2 * M_PI); // that the training context had room for
	const double kept = fmin(1, fmax(0, (turns - s->low) / (s->high - s->low)));
	return kept * plain + (1 - kept) * plain / s->factor;
}

double rope_plane_frequency(const struct rope *r, int set, int i)
{
	if (!r->plane)
		return rope_frequency(r, i);
	const real plane = r->plane[set * r->n_rotary / 2 + i];
	const int n = r->n_ladder / 2;
	// Past what can be rounded, NaN among it, is past all frequencies.
	if (!(plane > -(real)(1 << 20) && plane < (real)(1 << 20)))
		return NAN;
	return rope_frequency(r, ((i + (int)lround((double)plane)) % n + n) % n);
}

struct rope_args {
	struct tensor *x, *out, *plane;
	struct rope rope;
};

static void rope_backward(struct tape *tape, void *args)
{
	const struct rope_args *a = args;
	if (a->plane && a->plane->dx && !op_gradient_take(a->plane))
		tensor_clear_gradient(tape, a->plane);
	if (!a->out->is_live || !a->x->dx)
		return;
	const struct exec exec = op_exec(tape);
	struct rope back = a->rope;
	back.backwards = !back.backwards;
	const struct strided_out dx = {a->x->dx, a->x->b_stride, a->x->t_stride, op_gradient_take(a->x)};
	tape->backend->rope(&exec, dx, op_gradient(a->out), a->x->B, a->x->T, a->x->C, &back);
}

// Cached rows are not copied: who reads them turns them.
static struct tensor *turned_when_read(struct tape *tape, const struct tensor *x, const struct rope *rope)
{
	struct tensor *out = arena_alloc(tape->step, sizeof(*out));
	struct stored *stored = arena_alloc(tape->step, sizeof(*stored));
	struct rope *turn = arena_alloc(tape->step, sizeof(*turn));
	*turn = *rope;
	*stored = *x->stored;
	stored->turn = turn;
	*out = *x;
	out->x = NULL;
	out->stored = stored;
	if (tape->mode == TAPE_COUNT)
		tape_count(tape, (struct tally){.flops = 3.0 * (double)tensor_n_row(x) * rope->n_head * rope->n_rotary},
		        (struct tally){0});
	return out;
}

static struct tensor *turn(struct tape *tape, struct tensor *x, const struct rope *rope, struct tensor *plane)
{
	if (rope->n_rotary % 2 || x->C % rope->n_head || rope->from + rope->n_rotary > x->C / rope->n_head ||
	        rope->n_ladder < 1)
		BUG("rope: %d rotated numbers from %d on in heads of %d, ladder of %d", rope->n_rotary, rope->from,
		        x->C / rope->n_head, rope->n_ladder);
	if (x->stored && tape->is_decoding && !x->stored->turn && !plane)
		return turned_when_read(tape, x, rope);
	x = op_reals(tape, x);
	struct tensor *out = tensor_new_if(tape, x->B, x->T, x->C, op_has_gradient(x));
	double n = (double)tensor_n_row(x) * x->C, rotated = (double)tensor_n_row(x) * rope->n_head * rope->n_rotary;
	if (tape->mode == TAPE_COUNT) {
		const struct tally tally = {3 * rotated, op_bytes(n), op_bytes(n)};
		tape_count(tape, tally, tally);
		return out;
	}
	const struct exec exec = op_exec(tape);
	tape->backend->rope(&exec, (struct strided_out){out->x, out->b_stride, out->t_stride, 0}, op_values(x), x->B,
	        x->T, x->C, rope);
	struct rope_args *a = op_record(tape, out, rope_backward, sizeof(*a));
	if (a)
		*a = (struct rope_args){x, out, plane, *rope};
	return out;
}

struct tensor *op_rope(struct tape *tape, struct tensor *x, const struct rope *rope)
{
	return turn(tape, x, rope, NULL);
}

struct tensor *op_rope_planes(
        struct tape *tape, struct tensor *x, const struct rope *rope, struct tensor *plane, int n_plane_set)
{
	if (plane->C != n_plane_set * rope->n_rotary / 2 || rope->n_head % n_plane_set || rope->n_ladder < 2)
		BUG("rope: %d planes in %d sets for %d heads of %d turned numbers", plane->C, n_plane_set, rope->n_head,
		        rope->n_rotary);
	struct rope chosen = *rope;
	plane = op_reals(tape, plane);
	chosen.plane = plane->x;
	chosen.n_plane_set = n_plane_set;
	return turn(tape, x, &chosen, plane);
}
