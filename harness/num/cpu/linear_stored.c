// SPDX-License-Identifier: MIT
// Products of few rows with stored weights: each weight is read once, as it lies, and serves all rows. Threads take
// blocks of weight rows as they come; a number of y is a function of its own weights and x row alone.
#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/rows.h"
#include "harness/num/stored.h"

// Rows that are fetched ahead: what dot takes at once.
enum { AHEAD = 8 };
// Bytes of weights that are multiplied at a time: what stays in L2 for vectors that do not fit into one tile. Threads
// take many pieces in a row, less and less of them: memory is read in long streams, and threads end together.
static const ptrdiff_t piece_bytes = 1 << 17;

static int piece_rows(const struct linear_stored *l)
{
	const int n = (int)(piece_bytes / l->w->row_bytes) / AHEAD * AHEAD;
	return n < AHEAD ? AHEAD : n;
}

// Weight rows of one part, or a copy of them in reals where kernels cannot take them as they lie.
static struct rows rows_at(
        enum dtype *dtype, const struct linear_stored *l, real *copy, int first, int n, int columns, int fetches)
{
	const struct stored *w = l->w;
	if (stored_is_whole(w, 0, columns)) {
		*dtype = w->dtype;
		const ptrdiff_t ahead = fetches ? AHEAD * w->row_bytes : 0;
		return (struct rows){w->at + first * w->row_bytes, w->row_bytes, n, columns, ahead};
	}
	for (int j = 0; j < n; j++)
		dtype_read(w->dtype, copy + (ptrdiff_t)j * columns, w->at + (first + j) * w->row_bytes, columns);
	*dtype = DTYPE_F32;
	return (struct rows){(unsigned char *)copy, columns * (ptrdiff_t)sizeof(real), n, columns, 0};
}

static int first_row(const struct linear_stored *l, int part, int rows_of_part)
{
	return part * l->n_matrix / l->n_part * rows_of_part;
}

static void plain(
        const struct linear_stored *l, const struct row_kernels *kernels, real *copy, int part, int from, int n)
{
	enum dtype dtype;
	const struct rows rows = rows_at(&dtype, l, copy, first_row(l, part, l->n) + from, n, l->k, 1);
	real *y = l->y + part * l->y_part + from;
	kernels->dot[dtype](y, l->ldy, l->x + part * l->x_part, l->ldx, l->m, &rows);
	for (int i = 0; i < l->m && l->bias; i++)
		for (int j = 0; j < n; j++)
			y[i * l->ldy + j] += l->bias[part * l->n + from + j];
}

static void transposed(const struct linear_stored *l, const struct row_kernels *kernels, real *copy, int part)
{
	enum dtype dtype;
	real *y = l->y + part * l->y_part;
	for (int i = 0; i < l->m; i++)
		for (int j = 0; j < l->n; j++)
			y[i * l->ldy + j] = 0;
	for (int from = 0; from < l->k; from += DTYPE_BLOCK) {
		const int n = cpu_min(DTYPE_BLOCK, l->k - from);
		const struct rows rows = rows_at(&dtype, l, copy, first_row(l, part, l->k) + from, n, l->n, 0);
		const struct weights w = {l->x + part * l->x_part + from, l->ldx, 1};
		kernels->sum[dtype](y, l->ldy, w, l->m, &rows);
	}
}

static void linear_stored(const struct exec *exec, const struct linear_stored *l, const struct row_kernels *kernels)
{
	const int columns = l->is_transposed ? l->n : l->k, piece = l->is_transposed ? l->n : piece_rows(l);
	const int n_piece = cpu_blocks(l->n, piece), n_task = l->n_part * n_piece;
	const int copy_rows = stored_is_whole(l->w, 0, columns) ? 0 : l->is_transposed ? DTYPE_BLOCK : piece;
	const size_t copy_size = (size_t)copy_rows * (size_t)columns;
	struct arena_mark mark = arena_mark(exec->scratch);
	real *copies = arena_alloc(exec->scratch, copy_size * (size_t)exec->n_thread * sizeof(real));
#pragma omp parallel num_threads(exec->n_thread) if (exec->n_thread > 1 && n_task > 1)
	{
		real *copy = copies + copy_size * (size_t)cpu_thread();
#pragma omp for schedule(guided)
		for (int task = 0; task < n_task; task++) {
			const int part = task / n_piece, from = task % n_piece * piece;
			if (l->is_transposed)
				transposed(l, kernels, copy, part);
			else
				plain(l, kernels, copy, part, from, cpu_min(piece, l->n - from));
		}
	}
	arena_rewind(exec->scratch, mark);
}

void cpu_linear_stored(const struct exec *exec, const struct linear_stored *l)
{
	linear_stored(exec, l, rows_best());
}

void cpu_linear_stored_portable(const struct exec *exec, const struct linear_stored *l)
{
	linear_stored(exec, l, &rows_portable);
}
