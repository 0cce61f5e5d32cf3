// SPDX-License-Identifier: MIT
// Matrix products. Small and middle shapes (all of the synthetic tasks) run on the tile kernel: at widths of 64 to 256
// it is as fast as OpenBLAS and its bits do not depend on the number of rows (`make bench` times both). Large ones
// go to OpenBLAS, one thread a call, in blocks that are fixed by shape, so that threads never change a result either.
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/tile.h"

enum {
	DEPTH = 256,          // of a packed panel of B: DEPTH * TILE_COLUMNS numbers stay in L1
	BLAS_WIDTH = 1024,    // m, n and k all from here on: OpenBLAS
	BLAS_ROWS = 256,      // rows of C per OpenBLAS call
	PACK_FROM = 96,       // columns a thread must have for packing a transposed A to pay
	ROWS = 8 * TILE_ROWS, // rows of C that a thread takes at a time
	// Where what those ways pack would leave the cache (more than WHOLE numbers), both operands are packed in parts
	// that stay: BLOCK_ROWS x DEPTH of A in L2, a panel of B in L1, BLOCK_COLUMNS of C between its parts of the
	// sum.
	WHOLE = 1 << 19,
	BLOCK_ROWS = 44 * TILE_ROWS,
	BLOCK_DEPTH = 4 * DEPTH,
	BLOCK_COLUMNS = 16 * TILE_COLUMNS
};

// B(p, j) of the operand, whatever the form.
static inline const real *b_at(const struct gemm *g, int p, int j)
{
	return g->form == GEMM_NT ? g->b + (ptrdiff_t)j * g->ldb + p : g->b + (ptrdiff_t)p * g->ldb + j;
}

// Packs B rows p0..p0+k-1, columns j0..j0+columns-1 as panels (k, TILE_COLUMNS), zeros past the last column.
static void pack_panel(real *panel, const struct gemm *g, int p0, int k, int j0)
{
	int columns = cpu_min(TILE_COLUMNS, g->n - j0);
	if (columns < TILE_COLUMNS)
		memset(panel, 0, (size_t)k * TILE_COLUMNS * sizeof(real));
	const real *from = b_at(g, p0, j0);
	if (g->form != GEMM_NT) {
		for (int p = 0; p < k; p++, from += g->ldb, panel += TILE_COLUMNS)
			if (columns == TILE_COLUMNS) {
				vec_store(panel, vec_load(from));
				vec_store(panel + VEC, vec_load(from + VEC));
			} else {
				memcpy(panel, from, (size_t)columns * sizeof(real));
			}
		return;
	}
	int p = 0;
	for (; p + VEC <= k; p += VEC)
		for (int half = 0; half < TILE_COLUMNS; half += VEC) {
			vec block[VEC];
			for (int l = 0; l < VEC; l++)
				block[l] = half + l < columns ? vec_load(from + (half + l) * g->ldb + p) : (vec){0};
			vec_transpose(block);
			for (int l = 0; l < VEC; l++)
				vec_store(panel + (ptrdiff_t)(p + l) * TILE_COLUMNS + half, block[l]);
		}
	for (; p < k; p++)
		for (int j = 0; j < columns; j++)
			panel[(ptrdiff_t)p * TILE_COLUMNS + j] = from[(ptrdiff_t)j * g->ldb + p];
}

// Asks for what pack_panel will read, while the panel before it is multiplied: of a large B it comes from memory, and
// in steps too long for the processor to foresee.
static void fetch_panel(const struct gemm *g, int p0, int k, int j0)
{
	const int columns = cpu_min(TILE_COLUMNS, g->n - j0), line = 64 / (int)sizeof(real);
	if (g->form == GEMM_NT)
		for (int j = 0; j < columns; j++)
			for (int p = 0; p < k; p += line)
				__builtin_prefetch(b_at(g, p0 + p, j0 + j), 0, 2);
	else
		for (int p = 0; p < k; p++)
			__builtin_prefetch(b_at(g, p0 + p, j0), 0, 2);
}

// One panel's worth of columns for rows i0..i0+m-1 of C. A is read in place, or from pack_a's panels unless
// NULL; bias (padded to whole panels, or NULL) is what the first block of depth starts from.
static void multiply_panel(const struct gemm *g, const real *packed_a, const real *panel, int p0, int k, int j0, int i0,
        int m, const real *bias, int accumulate)
{
	const ptrdiff_t ai = packed_a || g->form == GEMM_TN ? 1 : g->lda;
	const ptrdiff_t ap = packed_a ? TILE_ROWS : g->form == GEMM_TN ? g->lda : 1;
	const int columns = cpu_min(TILE_COLUMNS, g->n - j0);
	real spill[TILE_ROWS * TILE_COLUMNS];
	for (int i = i0; i < i0 + m; i += TILE_ROWS) {
		int rows = cpu_min(TILE_ROWS, i0 + m - i);
		const real *a = packed_a ? packed_a + (ptrdiff_t)(i - i0) * k : g->a + i * ai + p0 * ap;
		real *c = g->c + i * g->ldc + j0;
		const real *init = accumulate ? c : bias ? bias + j0 : NULL;
		ptrdiff_t ldi = accumulate ? g->ldc : 0;
		if (columns % VEC == 0) {
			tile_small(c, g->ldc, init, ldi, a, ai, ap, panel, TILE_COLUMNS, rows, columns, k);
			continue;
		}
		for (int r = 0; accumulate && r < rows; r++)
			memcpy(spill + r * TILE_COLUMNS, c + r * g->ldc, (size_t)columns * sizeof(real));
		if (accumulate)
			init = spill, ldi = TILE_COLUMNS;
		tile_small(spill, TILE_COLUMNS, init, ldi, a, ai, ap, panel, TILE_COLUMNS, rows, columns, k);
		for (int r = 0; r < rows; r++)
			memcpy(c + r * g->ldc, spill + r * TILE_COLUMNS, (size_t)columns * sizeof(real));
	}
}

// Packs numbers p0..p0+k-1 of the sum, rows i0..i0+m-1 of C, as panels (k, TILE_ROWS).
static void pack_a(real *packed, const struct gemm *g, int p0, int k, int i0, int m)
{
	for (int i = 0; i < m; i += TILE_ROWS, packed += (ptrdiff_t)k * TILE_ROWS) {
		const int rows = cpu_min(TILE_ROWS, m - i);
		if (g->form == GEMM_TN) {
			const real *from = g->a + (ptrdiff_t)p0 * g->lda + i0 + i;
			for (int p = 0; p < k; p++, from += g->lda)
				if (rows == TILE_ROWS)
					memcpy(packed + p * TILE_ROWS, from, TILE_ROWS * sizeof(real));
				else
					memcpy(packed + p * TILE_ROWS, from, (size_t)rows * sizeof(real));
			continue;
		}
		const real *row = g->a + (i0 + i) * g->lda + p0;
		if (rows == TILE_ROWS)
			for (int p = 0; p < k; p++)
				for (int r = 0; r < TILE_ROWS; r++)
					packed[p * TILE_ROWS + r] = row[r * g->lda + p];
		else
			for (int p = 0; p < k; p++)
				for (int r = 0; r < rows; r++)
					packed[p * TILE_ROWS + r] = row[r * g->lda + p];
	}
}

// Weight gradients: few columns, and many rows to sum over. Threads share the columns; each packs its own.
static void gemm_by_columns(const struct exec *exec, const struct gemm *g)
{
	const int n_panel = cpu_blocks(g->n, TILE_COLUMNS);
	// With few panels the rows of C are shared out as well. A is packed when enough columns pay for it: rows of A
	// that are a power of two apart fall into few cache sets (62 against 95 GFLOP/s at m 256, n 256).
	const int n_thread = exec->n_thread, n_row_part = n_panel < 2 * n_thread ? n_thread : 1;
	const int n_column_part = n_row_part > 1 ? 1 : n_thread;
	const int part = cpu_blocks(cpu_blocks(g->m, n_row_part), TILE_ROWS) * TILE_ROWS;
	const int is_packed = g->n / n_column_part >= PACK_FROM;
	struct arena_mark mark = arena_mark(exec->scratch);
	const size_t packed_a = is_packed ? (size_t)part * DEPTH : 0, packed_b = DEPTH * TILE_COLUMNS;
	real *scratch = arena_alloc(exec->scratch, (packed_a + packed_b) * (size_t)n_thread * sizeof(real));
#pragma omp parallel for num_threads(n_thread) if (n_thread > 1) schedule(static)
	for (int task = 0; task < n_row_part * n_column_part; task++) {
		real *panel = scratch + (packed_a + packed_b) * (size_t)task, *a = panel + packed_b;
		const int i0 = task % n_row_part * part, m = cpu_min(part, g->m - i0), column_part = task / n_row_part;
		for (int p0 = 0; m > 0 && p0 < g->k; p0 += DEPTH) {
			const int depth = cpu_min(DEPTH, g->k - p0);
			if (is_packed)
				pack_a(a, g, p0, depth, i0, m);
			for (int j = n_panel * column_part / n_column_part;
			        j < n_panel * (column_part + 1) / n_column_part; j++) {
				pack_panel(panel, g, p0, depth, j * TILE_COLUMNS);
				multiply_panel(g, is_packed ? a : NULL, panel, p0, depth, j * TILE_COLUMNS, i0, m, NULL,
				        g->accumulate || p0 > 0);
			}
		}
	}
	arena_rewind(exec->scratch, mark);
}

// Many rows of C: B is packed once, threads share the rows.
static void gemm_by_rows(const struct exec *exec, const struct gemm *g)
{
	const int n_panel = cpu_blocks(g->n, TILE_COLUMNS), n_block = cpu_blocks(g->m, ROWS);
	struct arena_mark mark = arena_mark(exec->scratch);
	const size_t width = (size_t)n_panel * TILE_COLUMNS;
	real *packed = arena_alloc(exec->scratch, width * (size_t)g->k * sizeof(real));
	real *bias = g->bias ? cpu_zeros(exec->scratch, width) : NULL; // padded to whole panels
	if (bias)
		memcpy(bias, g->bias, (size_t)g->n * sizeof(real));
#pragma omp parallel num_threads(exec->n_thread) if (exec->n_thread > 1)
	{
#pragma omp for schedule(static)
		for (int panel = 0; panel < n_panel; panel++)
			pack_panel(packed + (ptrdiff_t)panel * TILE_COLUMNS * g->k, g, 0, g->k, panel * TILE_COLUMNS);
#pragma omp for schedule(static)
		for (int block = 0; block < n_block; block++) {
			int i0 = block * ROWS, m = cpu_min(ROWS, g->m - i0);
			for (int p0 = 0; p0 < g->k; p0 += DEPTH)
				for (int panel = 0; panel < n_panel; panel++)
					multiply_panel(g, NULL, packed + (ptrdiff_t)(panel * g->k + p0) * TILE_COLUMNS,
					        p0, cpu_min(DEPTH, g->k - p0), panel * TILE_COLUMNS, i0, m, bias,
					        g->accumulate || p0 > 0);
		}
	}
	arena_rewind(exec->scratch, mark);
}

// Rows i0..i0+m-1 of C, panels of columns first..last-1. a and panel are this thread's to pack into.
static void multiply_block(
        const struct gemm *g, real *a, real *panel, int i0, int m, int first, int last, const real *bias)
{
	const int step = BLOCK_COLUMNS / TILE_COLUMNS;
	for (int q0 = 0; q0 < g->k; q0 += BLOCK_DEPTH) {
		const int q1 = cpu_min(g->k, q0 + BLOCK_DEPTH);
		for (int p0 = q0; p0 < q1; p0 += DEPTH)
			pack_a(a + (ptrdiff_t)(p0 - q0) * BLOCK_ROWS, g, p0, cpu_min(DEPTH, q1 - p0), i0, m);
		for (int from = first; from < last; from += step)
			for (int p0 = q0; p0 < q1; p0 += DEPTH)
				for (int j = from; j < cpu_min(from + step, last); j++) {
					const int depth = cpu_min(DEPTH, q1 - p0);
					pack_panel(panel, g, p0, depth, j * TILE_COLUMNS);
					if (j + 1 < last)
						fetch_panel(g, p0, depth, (j + 1) * TILE_COLUMNS);
					multiply_panel(g, a + (ptrdiff_t)(p0 - q0) * BLOCK_ROWS, panel, p0, depth,
					        j * TILE_COLUMNS, i0, m, bias, g->accumulate || p0 > 0);
				}
	}
}

// Large operands: threads share the blocks of rows where there are enough of them, else the columns of each.
static void gemm_by_blocks(const struct exec *exec, const struct gemm *g)
{
	const int n_panel = cpu_blocks(g->n, TILE_COLUMNS), n_block = cpu_blocks(g->m, BLOCK_ROWS);
	const int n_thread = exec->n_thread, n_part = n_block < 4 * n_thread ? n_thread : 1;
	struct arena_mark mark = arena_mark(exec->scratch);
	const size_t packed_a = (size_t)BLOCK_ROWS * (size_t)cpu_min(BLOCK_DEPTH, cpu_blocks(g->k, DEPTH) * DEPTH),
	             packed_b = DEPTH * TILE_COLUMNS;
	real *scratch = arena_alloc(exec->scratch, (packed_a + packed_b) * (size_t)n_thread * sizeof(real));
	real *bias = g->bias ? cpu_zeros(exec->scratch, (size_t)n_panel * TILE_COLUMNS) : NULL;
	if (bias)
		memcpy(bias, g->bias, (size_t)g->n * sizeof(real));
#pragma omp parallel for num_threads(n_thread) if (n_thread > 1) schedule(dynamic)
	for (int task = 0; task < n_block * n_part; task++) {
		real *panel = scratch + (packed_a + packed_b) * (size_t)omp_get_thread_num(), *a = panel + packed_b;
		const int i0 = task / n_part * BLOCK_ROWS, part = task % n_part;
		multiply_block(g, a, panel, i0, cpu_min(BLOCK_ROWS, g->m - i0), n_panel * part / n_part,
		        n_panel * (part + 1) / n_part, bias);
	}
	arena_rewind(exec->scratch, mark);
}

static void set_rows(const struct gemm *g, int i0, int m)
{
	for (int i = i0; i < i0 + m; i++)
		memcpy(g->c + i * g->ldc, g->bias, (size_t)g->n * sizeof(real));
}

static void blas(const struct gemm *g, int i0, int m)
{
	const CBLAS_TRANSPOSE ta = g->form == GEMM_TN ? CblasTrans : CblasNoTrans;
	const CBLAS_TRANSPOSE tb = g->form == GEMM_NT ? CblasTrans : CblasNoTrans;
	const real *a = g->a + (g->form == GEMM_TN ? i0 : i0 * g->lda);
	const real beta = g->accumulate || g->bias ? 1 : 0;
#ifdef KVLAB_DOUBLE
	cblas_dgemm
#else
	cblas_sgemm
#endif
	        (CblasRowMajor, ta, tb, m, g->n, g->k, 1, a, (int)g->lda, g->b, (int)g->ldb, beta, g->c + i0 * g->ldc,
	                (int)g->ldc);
}

static void gemm_blas(const struct exec *exec, const struct gemm *g)
{
	openblas_set_num_threads(1);
	const int n_block = cpu_blocks(g->m, BLAS_ROWS);
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int block = 0; block < n_block; block++) {
		int i0 = block * BLAS_ROWS, m = cpu_min(BLAS_ROWS, g->m - i0);
		if (g->bias)
			set_rows(g, i0, m);
		blas(g, i0, m);
	}
}

void cpu_gemm(const struct exec *exec, const struct gemm *g)
{
	const int is_weight_gradient = g->form == GEMM_TN && !g->bias; // these have none
	if (g->m >= BLAS_WIDTH && g->n >= BLAS_WIDTH && g->k >= BLAS_WIDTH)
		gemm_blas(exec, g);
	else if ((is_weight_gradient ? (long)g->m * DEPTH : (long)g->n * g->k) > WHOLE)
		gemm_by_blocks(exec, g);
	else if (is_weight_gradient)
		gemm_by_columns(exec, g);
	else
		gemm_by_rows(exec, g);
}

const char *cpu_library(void)
{
	static char text[160];
	snprintf(text, sizeof(text), "%s (%s)", openblas_get_config(), openblas_get_corename());
	return text;
}
