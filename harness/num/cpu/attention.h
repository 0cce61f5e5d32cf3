// SPDX-License-Identifier: MIT
// What attention forward and backward share: operands packed into panels for the tile kernel.
//
// A panel is TILE_COLUMNS columns of a matrix (rows, TILE_COLUMNS), rows contiguous: however far apart the rows of the
// operand are in memory (a fused qkv row, a cache), the inner loop reads one stream. Packing costs one pass over k and
// v a head and is repaid by every query row.
#ifndef KVLAB_NUM_CPU_ATTENTION_H
#define KVLAB_NUM_CPU_ATTENTION_H
#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/tile.h"

// Numbers in the panels of a (rows, columns) operand.
static inline size_t panel_size(int rows, int columns)
{
	return (size_t)cpu_blocks(columns, TILE_COLUMNS) * TILE_COLUMNS * (size_t)rows;
}

// x (rows, columns), rows `stride` apart, to panels over its columns.
static inline void pack_columns(real *panels, const real *x, ptrdiff_t stride, int rows, int columns)
{
	for (int j = 0; j < columns; j += TILE_COLUMNS) {
		int n = cpu_min(TILE_COLUMNS, columns - j);
		for (int i = 0; i < rows; i++, panels += TILE_COLUMNS) {
			const real *from = x + i * stride + j;
			if (n == TILE_COLUMNS) {
				vec_store(panels, vec_load(from));
				vec_store(panels + VEC, vec_load(from + VEC));
				continue;
			}
			for (int l = 0; l < TILE_COLUMNS; l++)
				panels[l] = l < n ? from[l] : 0;
		}
	}
}

// The transpose of x (rows, columns), times factor, to panels over x's rows.
static inline void pack_rows(real *panels, const real *x, ptrdiff_t stride, int rows, int columns, real factor)
{
	for (int i = 0; i < rows; i += TILE_COLUMNS, panels += (ptrdiff_t)columns * TILE_COLUMNS) {
		int n = cpu_min(TILE_COLUMNS, rows - i);
		for (int l = 0; l < n; l++) {
			const real *from = x + (i + l) * stride;
			for (int c = 0; c < columns; c++)
				panels[c * TILE_COLUMNS + l] = from[c] * factor;
		}
		for (int c = 0; n < TILE_COLUMNS && c < columns; c++)
			for (int l = n; l < TILE_COLUMNS; l++)
				panels[c * TILE_COLUMNS + l] = 0;
	}
}

// C (m, n) = [C +] A panels, panels of k rows that start `first` rows in, `depth` of them summed over.
static inline void multiply_panels(real *c, ptrdiff_t ldc, const real *a, ptrdiff_t ai, ptrdiff_t ap, const real *panels,
        int panel_rows, int first, int m, int n, int depth, int accumulate)
{
	for (int j = 0; j < n; j += TILE_COLUMNS, panels += (ptrdiff_t)panel_rows * TILE_COLUMNS)
		for (int i = 0; i < m; i += TILE_ROWS)
			tile_small(c + i * ldc + j, ldc, a + i * ai, ai, ap, panels + (ptrdiff_t)first * TILE_COLUMNS,
			        TILE_COLUMNS, cpu_min(TILE_ROWS, m - i), cpu_min(TILE_COLUMNS, n - j), depth, accumulate);
}

static inline int round_to_tile(int n)
{
	return cpu_blocks(n, TILE_COLUMNS) * TILE_COLUMNS;
}

// Positions that query row i sees.
static inline int visible(const struct attention_shape *s, int i)
{
	return s->causal ? cpu_min(s->S, s->q_position + i + 1) : s->S;
}

#endif
