// SPDX-License-Identifier: MIT
// Rotary positions of cached rows while they are scored. The turn of position p is that of its tile's first position
// and of the rest: rows are turned by the rest (a table of DTYPE_BLOCK turns that stays in L1), queries back by the
// tile's position, since (turn q) . k = q . (turn back k).
#ifndef KVLAB_NUM_CPU_TURN_H
#define KVLAB_NUM_CPU_TURN_H
#include "harness/num/backend.h"
#include "harness/num/cpu/rows.h"

struct turn_table {
	const struct rope *rope;
	// Rotors of n_rotary / 2 pairs: cosines, then sines.
	real *rest; // (DTYPE_BLOCK, 2, n_rotary / 2)
	real *tile; // (n_tile, 2, n_rotary / 2): of each tile's first position
};

// Tables for n_tile tiles, memory from arena.
void turn_prepare(struct turn_table *table, const struct rope *rope, int n_tile, struct arena *arena);
// One head of rows, the first at the start of a tile, to x (rows->n, ld).
void turn_rows(real *x, ptrdiff_t ld, const struct rows *rows, enum dtype dtype, const struct turn_table *table,
        const struct row_kernels *kernels);
// Vectors (m, ld) turned back by the tile's first position.
void turn_back(real *x, ptrdiff_t ld, int m, const struct turn_table *table, int tile);

#endif
