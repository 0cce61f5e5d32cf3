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
// What is left to turn of the position `at` behind the first of its tile: for row kernels, which take whole vectors.
int turn_is_whole(const struct turn_table *table, int d);
struct turned turn_of(const struct turn_table *table, int at);
// The same of n heads x (n, ld), whatever their shape.
void turn_rows(real *x, ptrdiff_t ld, int n, const struct turn_table *table, int at);
// m vectors turned back by the tile's first position: number c of vector i is x[i * to_vector + c * to_number], and one
// of the two steps is 1.
void turn_back(real *x, ptrdiff_t to_vector, ptrdiff_t to_number, int m, const struct turn_table *table, int tile);

#endif
