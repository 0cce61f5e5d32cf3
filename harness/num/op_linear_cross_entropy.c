// SPDX-License-Identifier: MIT
// A linear map to a vocabulary and its cross-entropy as one op, in chunks of rows: logits of a chunk become its losses,
// then (in place) their gradient, and that at once the chunk's share of dx, dw and db. The logits of all rows, which
// outweigh all else at vocabularies of 30K and more, are never held, and a chunk is still in cache when it is read
// again.
//     logits = x w^T + b;   dlogits = (softmax - one hot) / n;   dx = dlogits w   dw = dlogits^T x   db = sum of
//     dlogits
// Chunks are fixed by shape, and every number of a product is one chain over the rows in their order: a chunk goes on
// where the one before it ended, so the bits are those of op_linear and op_cross_entropy wherever products run on our
// own kernel (all three have a side below 1,024; else above the limit below they may differ from the two ops, never
// between thread counts).
#include "harness/base/err.h"
#include "harness/num/op.h"

enum {
	CHUNK_NUMBERS = 1 << 21, // logits of a chunk: 8 MiB stay in the last cache beside the weights' panels
	CHUNK_ROWS = 256,        // but never fewer rows: each chunk reads all weights again
	APART_NUMBERS = 1 << 28 // 1 GiB of a device's: a chunk also rounds all weights twice and adds to their gradient
};

struct head {
	struct tensor *x, *w, *b;
	const int *targets;
	double *loss;
	int *hit;
	real *logits; // of a chunk
	double scale; // of the gradient: 1 over the number of targets
};

static int chunk_rows(long m, int n_vocab, int numbers)
{
	const int rows = numbers / n_vocab / CHUNK_ROWS * CHUNK_ROWS, least = rows ? rows : CHUNK_ROWS;
	return m < least ? (int)m : least;
}

static void count(struct tape *tape, const struct tensor *x, const struct tensor *w, int has_bias)
{
	const double m = (double)tensor_n_row(x), n = w->T, k = x->C, bias = has_bias ? n : 0;
	// As op_linear and op_cross_entropy, but what lies between them is neither written nor read.
	tape_count(tape,
	        (struct tally){2 * m * n * k + m * bias + 5 * m * n, op_bytes(m * k + n * k + bias), 0, m * n * k},
	        (struct tally){4 * m * n * k + m * bias + 2 * m * n, op_bytes(m * k + n * k),
	                op_bytes(m * k + n * k + bias), 2 * m * n * k});
}

// dx, dw and db of rows from..from+m-1, whose gradient lies in h->logits.
static void gradients(struct tape *tape, const struct exec *exec, const struct head *h, int from, int m)
{
	const ptrdiff_t at = from * h->x->t_stride;
	struct gemm gemm = {.m = m, .n = h->x->C, .k = h->w->T, .a = h->logits, .lda = h->w->T, .ldc = h->x->C};
	if (h->x->dx) {
		gemm.form = GEMM_NN;
		gemm.b = h->w->x, gemm.ldb = h->w->C;
		gemm.c = h->x->dx + at, gemm.ldc = h->x->t_stride;
		gemm.accumulate = h->x->is_live;
		tape->backend->gemm(exec, &gemm);
	}
	if (h->w->dx) {
		gemm.form = GEMM_TN;
		gemm.m = h->w->T, gemm.k = m;
		gemm.b = h->x->x + at, gemm.ldb = h->x->t_stride;
		gemm.c = h->w->dx, gemm.ldc = h->w->C;
		gemm.accumulate = op_gradient_take(h->w);
		tape->backend->gemm(exec, &gemm);
	}
	if (h->b && h->b->dx)
		tape->backend->column_sum(exec, h->b->dx, h->logits, h->w->T, m, h->w->T, op_gradient_take(h->b));
}

static void chunk(struct tape *tape, const struct head *h, int from, int m)
{
	const struct exec exec = op_exec_wide(tape);
	const int is_recording = tape->mode == TAPE_RECORD;
	const struct gemm gemm = {.form = GEMM_NT,
	        .m = m,
	        .n = h->w->T,
	        .k = h->x->C,
	        .a = h->x->x + from * h->x->t_stride,
	        .lda = h->x->t_stride,
	        .b = h->w->x,
	        .ldb = h->w->C,
	        .bias = h->b ? h->b->x : NULL,
	        .c = h->logits,
	        .ldc = h->w->T};
	tape->backend->gemm(&exec, &gemm);
	tape->backend->cross_entropy(&exec, h->loss + from, h->hit + from, is_recording ? h->logits : NULL, h->logits,
	        h->targets + from, m, h->w->T, h->scale);
	if (is_recording)
		gradients(tape, &exec, h, from, m);
}

struct loss op_linear_cross_entropy(
        struct tape *tape, struct tensor *x, struct tensor *w, struct tensor *b, const int *targets, double *row_loss)
{
	const long m = tensor_n_row(x);
	const int is_apart = tape->mode == TAPE_COUNT || tape->backend->memory; // scratch is counted for devices
	const int rows = chunk_rows(m, w->T, is_apart ? APART_NUMBERS : CHUNK_NUMBERS);
	if (w->C != x->C || (b && b->C != w->T))
		BUG("linear cross-entropy: weight (%d, %d) on an input of %d columns", w->T, w->C, x->C);
	if (tape->mode == TAPE_COUNT) {
		count(tape, x, w, b != NULL);
		op_count_scratch(tape, rows, w->T, x->C, op_bytes((double)rows * w->T));
		return (struct loss){0, 0, 0};
	}
	x = tensor_is_matrix(x) ? x : op_packed(tape, x);
	w = op_reals(tape, w);
	long n_target = 0;
	for (long i = 0; i < m; i++)
		n_target += targets[i] >= 0;
	n_target = tape->n_target ? tape->n_target : n_target;
	const struct arena_mark mark = arena_mark(tape->scratch), step = arena_mark(tape->step);
	struct head h = {x, w, b, targets, .scale = n_target ? 1.0 / (double)n_target : 0};
	h.loss = row_loss ? row_loss : arena_alloc(tape->step, (size_t)m * sizeof(*h.loss));
	h.hit = arena_alloc(tape->step, (size_t)m * sizeof(*h.hit));
	h.logits = arena_alloc(tape->scratch, (size_t)rows * (size_t)w->T * sizeof(real));
	for (long from = 0; from < m; from += rows)
		chunk(tape, &h, (int)from, m - from < rows ? (int)(m - from) : rows);
	if (tape->mode == TAPE_RECORD && x->dx)
		op_gradient_take(x);
	const struct loss result = loss_of_rows(h.loss, h.hit, targets, m);
	arena_rewind(tape->scratch, mark);
	arena_rewind(tape->step, step);
	return result;
}
