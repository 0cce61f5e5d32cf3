// SPDX-License-Identifier: MIT
#include "harness/num/op.h"

#include "harness/base/err.h"
#include "harness/num/stored.h"

int op_gradient_take(struct tensor *t)
{
	int live = t->is_live;
	t->is_live = 1;
	return live;
}

void *op_record(struct tape *tape, const struct tensor *out, void (*backward)(struct tape *, void *), size_t bytes)
{
	return out->dx ? tape_record(tape, backward, bytes) : NULL;
}

real *op_saved(struct tape *tape, double n)
{
	tape->saved_bytes += op_bytes(n);
	return tape->mode == TAPE_RECORD ? arena_alloc(tape_values(tape), (size_t)op_bytes(n)) : NULL;
}

struct exec op_exec_wide(const struct tape *tape)
{
	return (struct exec){tape->n_thread, tape->scratch};
}

struct exec op_exec(const struct tape *tape)
{
	return (struct exec){tape->is_decoding ? 1 : tape->n_thread, tape->scratch};
}

// --- rows kept in other types ---------------------------------------------------------------------------------------

struct stored op_stored(const struct tensor *w)
{
	if (w->stored)
		return *w->stored;
	return (struct stored){.dtype = DTYPE_F32,
	        .at = (const unsigned char *)w->x,
	        .row_bytes = w->t_stride * (ptrdiff_t)sizeof(real),
	        .columns = w->C};
}

double op_row_bytes(const struct tensor *w, double n)
{
	return w->stored ? n * stored_row_bytes(w->stored) : op_bytes(n * w->C);
}

int op_is_few(const struct tape *tape, const struct tensor *w, long m)
{
	return (tape->is_decoding || w->stored) && m <= tape->backend->few_rows && tape->mode == TAPE_RUN &&
	       tape->backend->linear_stored;
}

void op_read_rows(const struct tape *tape, real *x, const struct tensor *stored, int from, int n)
{
	const struct exec exec = op_exec_wide(tape);
	const struct strided_out to = {x, 0, stored->C, 0};
	tape->backend->read_rows(&exec, to, stored->stored, 1, from, n, stored->T, 0, stored->C);
}

struct tensor *op_reals(struct tape *tape, struct tensor *x)
{
	const struct stored *s = x->stored;
	if (!s || (s->dtype == DTYPE_F32 && !s->turn))
		return x;
	struct tensor *all = tensor_new(tape, x->B, x->T, x->C);
	const double n = (double)tensor_n_row(x);
	if (tape->mode == TAPE_COUNT) {
		const double bytes =
		        n * (s->columns == x->C ? stored_row_bytes(s) : (double)dtype_row_bytes(s->dtype, x->C));
		tape_count(tape, (struct tally){.read_bytes = bytes, .write_bytes = op_bytes(n * x->C)},
		        (struct tally){0});
		return all;
	}
	if (tape->mode == TAPE_RECORD)
		BUG("rows without gradients in a recorded step");
	const struct exec exec = op_exec_wide(tape);
	const struct strided_out to = {all->x, all->b_stride, all->t_stride, 0};
	tape->backend->read_rows(&exec, to, s, x->B, 0, x->T, x->T, 0, x->C);
	if (s->turn)
		tape->backend->rope(&exec, to, op_values(all), all->B, all->T, all->C, s->turn);
	return all;
}
