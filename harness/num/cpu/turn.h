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
// rows->n rows to x (rows->n, ld), turned by what is left to them: row j stands `at` + j * step positions behind the
// first of its tile (step 0: heads of one position).
void turn_rows(real *x, ptrdiff_t ld, const struct rows *rows, enum dtype dtype, const struct turn_table *table, int at,
        int step, const struct row_kernels *kernels);
// m vectors turned back by the tile's first position: number c of vector i is x[i * to_vector + c * to_number], and one
// of the two steps is 1.
void turn_back(real *x, ptrdiff_t to_vector, ptrdiff_t to_number, int m, const struct turn_table *table, int tile);

#endif
