// SPDX-License-Identifier: MIT
// y = x w^T + b.   dx += dy w   dw += dy^T x   db += sum of dy over rows.
#include "harness/base/err.h"
#include "harness/num/op.h"

enum { MAPS = 8, STORED_ROWS = 1024 };

// One product: the columns of `whole` are the outputs of n_map maps whose weights are neighbours in memory.
struct linear_group {
	struct tensor *x, *whole;
	int n_map;
	struct tensor *w[MAPS], *b[MAPS], *y[MAPS];
};

static void input_gradient(const struct backend *backend, const struct exec *exec, const struct linear_group *g)
{
	struct gemm gemm = {.form = GEMM_NN,
	        .m = (int)tensor_n_row(g->x),
	        .n = g->x->C,
	        .k = g->whole->C,
	        .a = g->whole->dx,
	        .lda = g->whole->t_stride,
	        .b = g->w[0]->x,
	        .ldb = g->x->C,
	        .c = g->x->dx,
	        .ldc = g->x->t_stride,
	        .accumulate = op_gradient_take(g->x)};
	backend->gemm(exec, &gemm);
}

// Gradients of maps first..last, whose weights are one block of memory: one product.
static void weight_gradient(const struct backend *backend, const struct exec *exec, const struct linear_group *g,
        int first, int last, int accumulate)
{
	int rows = 0;
	for (int i = first; i <= last; i++)
		rows += g->w[i]->T;
	struct gemm gemm = {.form = GEMM_TN,
	        .m = rows,
	        .n = g->x->C,
	        .k = (int)tensor_n_row(g->x),
	        .a = g->y[first]->dx,
	        .lda = g->whole->t_stride,
	        .b = g->x->x,
	        .ldb = g->x->t_stride,
	        .c = g->w[first]->dx,
	        .ldc = g->x->C,
	        .accumulate = accumulate};
	backend->gemm(exec, &gemm);
}

// Whether b's gradient lies behind a's, so that both are one matrix. Between them may be frozen ones.
static int follows(const struct tensor *a, const struct tensor *b)
{
	return b->dx && a->dx + (ptrdiff_t)a->T * a->C == b->dx;
}

static void linear_backward(struct tape *tape, void *args)
{
	const struct linear_group *g = args;
	const struct exec exec = op_exec(tape);
	int any = 0;
	for (int i = 0; i < g->n_map; i++)
		any |= g->y[i]->is_live;
	if (!any)
		return;
	for (int i = 0; i < g->n_map; i++)
		if (!g->y[i]->is_live)
			tensor_clear_gradient(tape, g->y[i]);
	if (g->x->dx)
		input_gradient(tape->backend, &exec, g);
	for (int first = 0, last; first < g->n_map; first = last + 1) {
		last = first;
		if (!g->w[first]->dx)
			continue;
		int accumulate = op_gradient_take(g->w[first]);
		while (last + 1 < g->n_map && follows(g->w[last], g->w[last + 1]) &&
		        g->w[last + 1]->is_live == accumulate) {
			struct tensor *next = g->w[++last];
			next->is_live = 1;
		}
		weight_gradient(tape->backend, &exec, g, first, last, accumulate);
	}
	for (int i = 0; i < g->n_map; i++)
		if (g->b[i] && g->b[i]->dx)
			tape->backend->column_sum(&exec, g->b[i]->dx, g->y[i]->dx, g->whole->t_stride,
			        (int)tensor_n_row(g->x), g->w[i]->T, op_gradient_take(g->b[i]));
}

// The biases of a group as one vector: the first one's memory when they are neighbours too, else a copy.
static const real *group_bias(struct tape *tape, const struct linear_group *g)
{
	int neighbours = 1, any = 0;
	for (int i = 0, at = 0; i < g->n_map; at += g->w[i++]->T) {
		any |= g->b[i] != NULL;
		neighbours &= g->b[0] && g->b[i] && g->b[i]->x == g->b[0]->x + at;
	}
	if (!any || neighbours)
		return any ? g->b[0]->x : NULL;
	const struct exec exec = op_exec(tape);
	real *bias = arena_alloc(tape_values(tape), (size_t)g->whole->C * sizeof(real));
	for (int i = 0, at = 0; i < g->n_map; at += g->w[i++]->T) {
		const size_t bytes = (size_t)g->w[i]->T * sizeof(real);
		if (g->b[i])
			tape->backend->move(&exec, bias + at, g->b[i]->x, bytes);
		else
			tape->backend->clear(&exec, bias + at, bytes);
	}
	return bias;
}

static void count(struct tape *tape, const struct linear_group *g, int has_bias)
{
	double m = (double)tensor_n_row(g->x), n = g->whole->C, k = g->x->C;
	struct tally forward = {2 * m * n * k + (has_bias ? m * n : 0),
	        op_bytes(m * k + (has_bias ? n : 0)) + op_row_bytes(g->w[0], n), op_bytes(m * n), m * n * k};
	// dw always; dx unless the input is data; db is one addition a row.
	struct tally backward = {4 * m * n * k + (has_bias ? m * n : 0), op_bytes(2 * m * n + m * k + n * k),
	        op_bytes(m * k + n * k + (has_bias ? n : 0)), 2 * m * n * k};
	tape_count(tape, forward, backward);
}

// Few rows: weights are read as they lie.
static void multiply_few(struct tape *tape, const struct linear_group *g, const real *bias)
{
	const struct stored w = op_stored(g->w[0]);
	const struct exec exec = op_exec_wide(tape);
	const struct linear_stored linear = {.n_part = 1,
	        .n_matrix = 1,
	        .m = (int)tensor_n_row(g->x),
	        .n = g->whole->C,
	        .k = g->x->C,
	        .w = &w,
	        .x = g->x->x,
	        .ldx = g->x->t_stride,
	        .bias = bias,
	        .y = g->whole->x,
	        .ldy = g->whole->C};
	tape->backend->linear_stored(&exec, &linear);
}

static void multiply(struct tape *tape, const struct linear_group *g)
{
	const real *bias = group_bias(tape, g);
	if (op_is_few(tape, g->w[0], tensor_n_row(g->x))) {
		multiply_few(tape, g, bias);
		return;
	}
	struct gemm gemm = {.form = GEMM_NT,
	        .m = (int)tensor_n_row(g->x),
	        .n = g->whole->C,
	        .k = g->x->C,
	        .a = g->x->x,
	        .lda = g->x->t_stride,
	        .b = g->w[0]->x,
	        .ldb = g->x->C,
	        .bias = bias,
	        .c = g->whole->x,
	        .ldc = g->whole->C};
	const struct exec exec = op_exec_wide(tape);
	if (!g->w[0]->stored) {
		tape->backend->gemm(&exec, &gemm);
		return;
	}
	// Stored weights: a copy in reals, some rows at a time, each a product of its own.
	const struct arena_mark mark = arena_mark(tape->scratch);
	const int at_once = gemm.n < STORED_ROWS ? gemm.n : STORED_ROWS;
	real *copy = arena_alloc(tape->scratch, (size_t)at_once * (size_t)gemm.k * sizeof(real));
	struct stored rows = *g->w[0]->stored; // of all maps of the group
	const struct tensor whole = {.B = 1, .T = g->whole->C, .C = gemm.k, .stored = &rows};
	for (int from = 0; from < g->whole->C; from += at_once) {
		gemm.n = g->whole->C - from < at_once ? g->whole->C - from : at_once;
		op_read_rows(tape, copy, &whole, from, gemm.n);
		gemm.b = copy;
		gemm.c = g->whole->x + from;
		gemm.bias = bias ? bias + from : NULL;
		tape->backend->gemm(&exec, &gemm);
	}
	arena_rewind(tape->scratch, mark);
}

// Runs maps 0..n-1 as one product. Their weights are neighbours in memory.
static void linear_group(struct tape *tape, int n, const struct linear_map *map, struct tensor **y)
{
	// Sequences that are not evenly spaced (rows of a cache) are copied, so that the whole is one matrix.
	struct tensor *x = op_reals(tape, map[0].x);
	x = tensor_is_matrix(x) ? x : op_packed(tape, x);
	struct linear_group group = {.x = x, .n_map = n}, *g = &group;
	int columns = 0, has_bias = 0, has_gradient = op_has_gradient(x);
	for (int i = 0; i < n; i++)
		has_gradient |= op_has_gradient(map[i].w) || op_has_gradient(map[i].b);
	if (tape->mode == TAPE_RECORD && has_gradient)
		g = tape_record(tape, linear_backward, sizeof(group));
	*g = group;
	for (int i = 0; i < n; i++) {
		if (map[i].w->C != g->x->C || (map[i].b && map[i].b->C != map[i].w->T))
			BUG("linear: weight (%d, %d) on an input of %d columns", map[i].w->T, map[i].w->C, g->x->C);
		g->w[i] = map[i].w, g->b[i] = map[i].b;
		columns += map[i].w->T;
		has_bias |= map[i].b != NULL;
	}
	g->whole = tensor_new_if(tape, g->x->B, g->x->T, columns, has_gradient);
	for (int i = 0, from = 0; i < n; from += map[i++].w->T) {
		g->y[i] = g->whole;
		if (n > 1) {
			// Not tensor_columns: each view's gradient stands alone here, so nothing has to be cleared.
			g->y[i] = arena_alloc(tape->step, sizeof(*g->y[i]));
			*g->y[i] = *g->whole;
			g->y[i]->is_own = 0;
			g->y[i]->C = map[i].w->T;
			g->y[i]->x = g->whole->x ? g->whole->x + from : NULL;
			g->y[i]->dx = g->whole->dx ? g->whole->dx + from : NULL;
		}
		y[i] = g->y[i];
	}
	if (tape->mode == TAPE_COUNT) {
		count(tape, g, has_bias);
		op_count_scratch(tape, (double)tensor_n_row(g->x), g->whole->C, g->x->C, 0);
		return;
	}
	multiply(tape, g);
}

static int are_neighbours(const struct linear_map *a, const struct linear_map *b)
{
	const struct stored *s = a->w->stored, *t = b->w->stored;
	if (s || t)
		return s && t && a->x == b->x && s->dtype == t->dtype && s->at + a->w->T * s->row_bytes == t->at;
	return a->x == b->x && a->w->x + (ptrdiff_t)a->w->T * a->w->C == b->w->x;
}

void op_linear_many(struct tape *tape, int n, const struct linear_map *map, struct tensor **y)
{
	for (int first = 0, last; first < n; first = last + 1) {
		last = first;
		while (tape->mode != TAPE_COUNT && last + 1 < n && last + 1 - first < MAPS &&
		        are_neighbours(&map[last], &map[last + 1]))
			last++;
		linear_group(tape, last - first + 1, map + first, y + first);
	}
}

struct tensor *op_linear(struct tape *tape, struct tensor *x, struct tensor *w, struct tensor *b)
{
	struct tensor *y;
	op_linear_many(tape, 1, &(struct linear_map){x, w, b}, &y);
	return y;
}
