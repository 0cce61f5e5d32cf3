// SPDX-License-Identifier: MIT
#include "harness/num/cpu/turn.h"

#include <math.h>

#include "harness/num/cpu/vec.h"
#include "harness/num/dtype.h"

enum { TILE = DTYPE_BLOCK };

static struct rotor rotor_of(double angle)
{
	return (struct rotor){cos(angle), sin(angle)};
}

static struct rotor after(struct rotor a, struct rotor b)
{
	return (struct rotor){a.c * b.c - a.s * b.s, a.s * b.c + a.c * b.s};
}

// Each turn is the one before and a step: in double, so a million positions on it is off by 1e-12.
void turn_prepare(struct turn_table *t, const struct rope *rope, int n_tile, struct arena *arena)
{
	const int pairs = rope->n_rotary / 2;
	t->rope = rope;
	t->rest = arena_alloc(arena, (size_t)TILE * 2 * (size_t)pairs * sizeof(real));
	t->tile = arena_alloc(arena, (size_t)n_tile * (size_t)pairs * sizeof(*t->tile));
	struct rotor *stride = arena_alloc(arena, (size_t)pairs * sizeof(*stride));
	for (int i = 0; i < pairs; i++) {
		const double angle = (rope->backwards ? -1 : 1) * rope_frequency(rope, i);
		const struct rotor step = rotor_of(angle);
		struct rotor rest = {1, 0};
		for (int p = 0; p < TILE; p++, rest = after(rest, step)) {
			t->rest[p * 2 * pairs + i] = (real)rest.c;
			t->rest[(p * 2 + 1) * pairs + i] = (real)rest.s;
		}
		stride[i] = rotor_of(TILE * angle);
		t->tile[i] = rotor_of(rope->first * angle);
	}
	for (long i = 0; i < (n_tile - 1L) * pairs; i++)
		t->tile[i + pairs] = after(t->tile[i], stride[i % pairs]);
}

void turn_rows(real *x, ptrdiff_t ld, int n, const struct turn_table *t)
{
	const int pairs = t->rope->n_rotary / 2;
	for (int p = 0; p < n; p++) {
		real *a = x + p * ld + t->rope->from;
		const real *c = t->rest + (ptrdiff_t)p * 2 * pairs, *s = c + pairs;
		int i = 0;
		for (; t->rope->halves && i + VEC <= pairs; i += VEC) {
			const vec u = vec_load(a + i), v = vec_load(a + pairs + i), ci = vec_load(c + i),
			          si = vec_load(s + i);
			vec_store(a + i, u * ci - v * si);
			vec_store(a + pairs + i, u * si + v * ci);
		}
		for (; i < pairs; i++) {
			real *first = t->rope->halves ? a + i : a + 2 * i,
			     *second = first + (t->rope->halves ? pairs : 1);
			const real u = *first, v = *second;
			*first = u * c[i] - v * s[i];
			*second = u * s[i] + v * c[i];
		}
	}
}

void turn_back(real *x, ptrdiff_t ld, int m, const struct turn_table *t, int tile)
{
	const int pairs = t->rope->n_rotary / 2;
	const struct rotor *rotor = t->tile + (ptrdiff_t)tile * pairs;
	for (int i = 0; i < pairs; i++) {
		const real c = (real)rotor[i].c, s = (real)rotor[i].s;
		for (int j = 0; j < m; j++) {
			real *a = x + j * ld + t->rope->from;
			real *first = t->rope->halves ? a + i : a + 2 * i,
			     *second = first + (t->rope->halves ? pairs : 1);
			const real u = *first, v = *second;
			*first = u * c + v * s;
			*second = v * c - u * s;
		}
	}
}
