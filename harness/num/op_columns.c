// SPDX-License-Identifier: MIT
// Columns taken from one tensor (in any order, also more than once), or laid side by side head by head from two.
// Backward adds each column's gradient to where it came from.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct copied {
	struct tensor *x, *out;
	const struct column_run *run;
	int n_run, is_whole; // the runs read each column of x once
};

static void copied_backward(struct tape *tape, void *args)
{
	const struct copied *c = args;
	if (!c->out->is_live || !c->x->dx)
		return;
	const struct exec exec = op_exec(tape);
	const struct arena_mark mark = arena_mark(tape->step);
	struct column_run *back = arena_alloc(tape->step, (size_t)c->n_run * sizeof(*back));
	for (int i = 0; i < c->n_run; i++)
		back[i] = (struct column_run){c->run[i].from, c->run[i].to, c->run[i].n};
	int accumulate = op_gradient_take(c->x);
	if (!accumulate && !c->is_whole) { // some columns may be nobody's, others several runs'
		tensor_clear_gradient(tape, c->x);
		accumulate = 1;
	}
	tape->backend->copy_columns(&exec, (struct strided_out){c->x->dx, c->x->b_stride, c->x->t_stride, accumulate},
	        op_gradient(c->out), c->x->B, c->x->T, back, c->n_run);
	arena_rewind(tape->step, mark);
}

// Columns of x go to out; run lives on the step arena.
static void copy_runs(
        struct tape *tape, struct tensor *out, struct tensor *x, const struct column_run *run, int n_run, int is_whole)
{
	double n = 0;
	for (int i = 0; i < n_run; i++)
		n += run[i].n;
	n *= (double)tensor_n_row(x);
	if (tape->mode == TAPE_COUNT) {
		tape_count(tape, (struct tally){0, op_bytes(n), op_bytes(n), 0},
		        (struct tally){n, op_bytes(n), op_bytes((double)tensor_n_row(x) * x->C), 0});
		return;
	}
	const struct exec exec = op_exec(tape);
	tape->backend->copy_columns(&exec, (struct strided_out){out->x, out->b_stride, out->t_stride, 0}, op_values(x),
	        x->B, x->T, run, n_run);
	struct copied *c = op_record(tape, out, copied_backward, sizeof(*c));
	if (c)
		*c = (struct copied){x, out, run, n_run, is_whole};
}

struct tensor *op_columns(struct tape *tape, struct tensor *x, int n, const int *index)
{
	struct column_run *run = arena_alloc(tape->step, (size_t)n * sizeof(*run));
	int n_run = 0;
	for (int j = 0; j < n; j++) {
		if (index[j] < 0 || index[j] >= x->C)
			BUG("columns: column %d of %d", index[j], x->C);
		if (j && index[j] == index[j - 1] + 1)
			run[n_run - 1].n++;
		else
			run[n_run++] = (struct column_run){j, index[j], 1};
	}
	x = op_reals(tape, x);
	struct tensor *out = tensor_new_if(tape, x->B, x->T, n, op_has_gradient(x));
	copy_runs(tape, out, x, run, n_run, 0);
	return out;
}

struct tensor *op_join(struct tape *tape, struct tensor *a, struct tensor *b, int n_head, int n_b_head)
{
	if (a->B != b->B || a->T != b->T || a->C % n_head || b->C % n_b_head || (n_b_head != n_head && n_b_head != 1))
		BUG("join: %d heads in (%d, %d, %d), %d in (%d, %d, %d)", n_head, a->B, a->T, a->C, n_b_head, b->B,
		        b->T, b->C);
	const int d_a = a->C / n_head, d_b = b->C / n_b_head, d = d_a + d_b;
	struct column_run *run = arena_alloc(tape->step, 2 * (size_t)n_head * sizeof(*run)), *run_b = run + n_head;
	for (int h = 0; h < n_head; h++) {
		run[h] = (struct column_run){h * d, h * d_a, d_a};
		run_b[h] = (struct column_run){h * d + d_a, n_b_head == 1 ? 0 : h * d_b, d_b};
	}
	a = op_reals(tape, a), b = op_reals(tape, b);
	struct tensor *out = tensor_new_if(tape, a->B, a->T, n_head * d, op_has_gradient(a) || op_has_gradient(b));
	copy_runs(tape, out, a, run, n_head, 1);
	copy_runs(tape, out, b, run_b, n_head, n_b_head == n_head);
	return out;
}
