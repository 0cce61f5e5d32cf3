// SPDX-License-Identifier: MIT
#include "harness/num/op.h"

#include <string.h>

#include "harness/base/err.h"
#include "harness/num/stored.h"

int op_gradient_take(struct tensor *t)
{
	int live = t->is_live;
	t->is_live = 1;
	return live;
}

void op_gradient_clear(struct tensor *t)
{
	for (int b = 0; b < t->B; b++)
		for (int i = 0; i < t->T; i++)
			memset(t->dx + b * t->b_stride + i * t->t_stride, 0, (size_t)t->C * sizeof(real));
}

void *op_record(struct tape *tape, const struct tensor *out, void (*backward)(struct tape *, void *), size_t bytes)
{
	return out->dx ? tape_record(tape, backward, bytes) : NULL;
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
	return (tape->is_decoding || w->stored) && m <= OP_FEW_ROWS && tape->mode == TAPE_RUN &&
	       tape->backend->linear_stored;
}

// Tiles of positions are shared out among threads; each is a function of its bytes.
static void read_all(const struct tape *tape, struct tensor *to, const struct tensor *from, int first)
{
	const int S = from->T, n_tile = (to->T + DTYPE_BLOCK - 1) / DTYPE_BLOCK;
#pragma omp parallel for num_threads(tape->n_thread) if (tape->n_thread > 1 && n_tile > 1) schedule(static)
	for (int i = 0; i < to->B * n_tile; i++) {
		const int b = i / n_tile, t = i % n_tile * DTYPE_BLOCK,
		          n = to->T - t < DTYPE_BLOCK ? to->T - t : DTYPE_BLOCK;
		stored_read(from->stored, to->x + b * to->b_stride + t * to->t_stride, to->t_stride, b, first + t, n, S,
		        0, to->C);
	}
}

void op_read_rows(const struct tape *tape, real *x, const struct tensor *stored, int from, int n)
{
	struct tensor to = {.B = 1, .T = n, .C = stored->C, .t_stride = stored->C, .x = x};
	read_all(tape, &to, stored, from);
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
	read_all(tape, all, x, 0);
	const struct exec exec = op_exec_wide(tape);
	if (s->turn)
		tape->backend->rope(&exec, (struct strided_out){all->x, all->b_stride, all->t_stride, 0},
		        op_values(all), all->B, all->T, all->C, s->turn);
	return all;
}
