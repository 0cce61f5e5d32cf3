// SPDX-License-Identifier: MIT
// A matrix per head: y_h = x_h w_h^T, or transposed y_h = x_h w_h. One product a head, through strides.
//   plain:       dx_h = dy_h w_h,    dw_h = dy_h^T x_h
//   transposed:  dx_h = dy_h w_h^T,  dw_h = x_h^T dy_h
// Heads that share a matrix add to its gradient in their order.
#include "harness/base/err.h"
#include "harness/num/op.h"

struct linear_heads {
	struct tensor *x, *w, *y;
	int n_head, n_matrix, is_transposed;
};

// Of head h: its columns of x and y, its matrix.
struct head {
	ptrdiff_t x, y, w;
	int from, to; // numbers in, numbers out
};

static struct head head_at(const struct linear_heads *l, int h)
{
	const int from = l->x->C / l->n_head, to = l->y->C / l->n_head, matrix = h * l->n_matrix / l->n_head;
	const ptrdiff_t rows = l->w->T / l->n_matrix;
	return (struct head){h * from, h * to, matrix * rows * l->w->t_stride, from, to};
}

static void linear_heads_backward(struct tape *tape, void *args)
{
	const struct linear_heads *l = args;
	const struct tensor *x = l->x, *w = l->w, *y = l->y;
	const struct exec exec = op_exec(tape);
	const int rows = (int)tensor_n_row(x), t = l->is_transposed;
	if (!y->is_live)
		return;
	const int accumulate_x = x->dx ? op_gradient_take(l->x) : 0, accumulate_w = w->dx ? op_gradient_take(l->w) : 0;
	for (int h = 0; h < l->n_head; h++) {
		const struct head at = head_at(l, h);
		const int is_first = h == 0 || head_at(l, h - 1).w != at.w;
		const struct gemm dx = {.form = t ? GEMM_NT : GEMM_NN,
		        .m = rows,
		        .n = at.from,
		        .k = at.to,
		        .a = y->dx + at.y,
		        .lda = y->t_stride,
		        .b = w->x + at.w,
		        .ldb = w->t_stride,
		        .c = x->dx ? x->dx + at.x : NULL,
		        .ldc = x->t_stride,
		        .accumulate = accumulate_x};
		const struct gemm dw = {.form = GEMM_TN,
		        .m = t ? at.from : at.to,
		        .n = t ? at.to : at.from,
		        .k = rows,
		        .a = t ? x->x + at.x : y->dx + at.y,
		        .lda = t ? x->t_stride : y->t_stride,
		        .b = t ? y->dx + at.y : x->x + at.x,
		        .ldb = t ? y->t_stride : x->t_stride,
		        .c = w->dx ? w->dx + at.w : NULL,
		        .ldc = w->t_stride,
		        .accumulate = accumulate_w || !is_first};
		if (x->dx)
			tape->backend->gemm(&exec, &dx);
		if (w->dx)
			tape->backend->gemm(&exec, &dw);
	}
}

static struct tensor *few_rows(struct tape *tape, struct tensor *x, struct tensor *w, struct tensor *y, int n_head,
        int n_matrix, int is_transposed)
{
	const struct stored stored = op_stored(w);
	const struct exec exec = op_exec_wide(tape);
	const struct linear_stored linear = {.n_part = n_head,
	        .n_matrix = n_matrix,
	        .m = (int)tensor_n_row(x),
	        .n = y->C / n_head,
	        .k = x->C / n_head,
	        .is_transposed = is_transposed,
	        .w = &stored,
	        .x = x->x,
	        .ldx = x->t_stride,
	        .x_part = x->C / n_head,
	        .y = y->x,
	        .ldy = y->t_stride,
	        .y_part = y->C / n_head};
	tape->backend->linear_stored(&exec, &linear);
	return y;
}

struct tensor *op_linear_heads(
        struct tape *tape, struct tensor *x, struct tensor *w, int n_head, int n_matrix, int is_transposed)
{
	const int n_out = n_matrix ? w->T / n_matrix : 0, from = is_transposed ? n_out : w->C;
	if (n_matrix < 1 || n_head % n_matrix || w->T % n_matrix || x->C != n_head * from)
		BUG("linear_heads: %d matrices in (%d, %d) for %d heads in %d columns%s", n_matrix, w->T, w->C, n_head,
		        x->C, is_transposed ? ", transposed" : "");
	x = op_reals(tape, x);
	x = tensor_is_matrix(x) ? x : op_packed(tape, x);
	struct tensor *y = tensor_new_if(
	        tape, x->B, x->T, n_head * (is_transposed ? w->C : n_out), op_has_gradient(x) || op_has_gradient(w));
	const double rows = (double)tensor_n_row(x), macs = rows * n_head * n_out * w->C;
	const double n_x = rows * x->C, n_y = rows * y->C, n_w = (double)w->T * w->C;
	if (tape->mode == TAPE_COUNT) {
		tape_count(tape, (struct tally){2 * macs, op_bytes(n_x) + op_row_bytes(w, w->T), op_bytes(n_y), macs},
		        (struct tally){4 * macs, op_bytes(2 * n_y + n_x + n_w), op_bytes(n_x + n_w), 2 * macs});
		return y;
	}
	if (op_is_few(tape, w, tensor_n_row(x)))
		return few_rows(tape, x, w, y, n_head, n_matrix, is_transposed);
	w = op_reals(tape, w);
	const struct linear_heads l = {x, w, y, n_head, n_matrix, is_transposed};
	const struct exec exec = op_exec_wide(tape);
	for (int h = 0; h < n_head; h++) {
		const struct head at = head_at(&l, h);
		const struct gemm gemm = {.form = is_transposed ? GEMM_NN : GEMM_NT,
		        .m = (int)rows,
		        .n = at.to,
		        .k = at.from,
		        .a = x->x + at.x,
		        .lda = x->t_stride,
		        .b = w->x + at.w,
		        .ldb = w->t_stride,
		        .c = y->x + at.y,
		        .ldc = y->t_stride};
		tape->backend->gemm(&exec, &gemm);
	}
	struct linear_heads *record = op_record(tape, y, linear_heads_backward, sizeof(*record));
	if (record)
		*record = l;
	return y;
}
