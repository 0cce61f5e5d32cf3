// SPDX-License-Identifier: MIT
#include "harness/num/cpu/turn.h"

#include <math.h>

#include "harness/num/cpu/vec.h"
#include "harness/num/dtype.h"

enum { TILE = DTYPE_BLOCK };

struct rotor {
	double c, s; // cosine and sine
};

static struct rotor rotor_of(double angle)
{
	return (struct rotor){cos(angle), sin(angle)};
}

static struct rotor after(struct rotor a, struct rotor b)
{
	return (struct rotor){a.c * b.c - a.s * b.s, a.s * b.c + a.c * b.s};
}

// n rotors of one pair, each the one before and a step: in double, so a million positions on it is off by 1e-12.
static void take_steps(real *to, int n, int pairs, struct rotor at, struct rotor step)
{
	for (int i = 0; i < n; i++, at = after(at, step)) {
		to[(ptrdiff_t)i * 2 * pairs] = (real)at.c;
		to[((ptrdiff_t)i * 2 + 1) * pairs] = (real)at.s;
	}
}

void turn_prepare(struct turn_table *t, const struct rope *rope, int n_tile, struct arena *arena)
{
	const int pairs = rope->n_rotary / 2;
	t->rope = rope;
	t->rest = arena_alloc(arena, (size_t)TILE * 2 * (size_t)pairs * sizeof(real));
	t->tile = arena_alloc(arena, (size_t)n_tile * 2 * (size_t)pairs * sizeof(real));
	for (int i = 0; i < pairs; i++) {
		const double angle = (rope->backwards ? -1 : 1) * rope_frequency(rope, i);
		take_steps(t->rest + i, TILE, pairs, (struct rotor){1, 0}, rotor_of(angle));
		take_steps(t->tile + i, n_tile, pairs, rotor_of(rope->first * angle), rotor_of(TILE * angle));
	}
}

int turn_is_whole(const struct turn_table *t, int d)
{
	return t->rope->halves && (t->rope->from | t->rope->n_rotary / 2 | d) % VEC == 0;
}

struct turned turn_of(const struct turn_table *t, int at)
{
	const int pairs = t->rope->n_rotary / 2;
	return (struct turned){t->rope->from, pairs, t->rest + (ptrdiff_t)at * 2 * pairs};
}

void turn_rows(real *x, ptrdiff_t ld, int n, const struct turn_table *t, int at)
{
	const int pairs = t->rope->n_rotary / 2, halves = t->rope->halves;
	const real *c = t->rest + (ptrdiff_t)at * 2 * pairs, *s = c + pairs;
	for (int j = 0; j < n; j++) {
		real *a = x + j * ld + t->rope->from;
		for (int i = 0; i < pairs; i++) {
			real *first = halves ? a + i : a + 2 * i, *second = first + (halves ? pairs : 1);
			const real u = *first, v = *second;
			*first = u * c[i] - v * s[i];
			*second = u * s[i] + v * c[i];
		}
	}
}

void turn_back(real *x, ptrdiff_t to_vector, ptrdiff_t to_number, int m, const struct turn_table *t, int tile)
{
	const int pairs = t->rope->n_rotary / 2, halves = t->rope->halves;
	const ptrdiff_t second = (halves ? pairs : 1) * to_number, step = (halves ? 1 : 2) * to_number;
	const real *c = t->tile + (ptrdiff_t)tile * 2 * pairs, *s = c + pairs;
	real *a = x + t->rope->from * to_number;
	if (to_vector == 1) { // vectors side by side
		for (int i = 0; i < pairs; i++, a += step)
			for (int j = 0; j < m; j++) {
				const real u = a[j], v = a[j + second];
				a[j] = u * c[i] + v * s[i];
				a[j + second] = v * c[i] - u * s[i];
			}
		return;
	}
	for (int j = 0; j < m; j++, a += to_vector) {
		int i = 0;
		for (; halves && i + VEC <= pairs; i += VEC) {
			const vec u = vec_load(a + i), v = vec_load(a + pairs + i), ci = vec_load(c + i),
			          si = vec_load(s + i);
			vec_store(a + i, u * ci + v * si);
			vec_store(a + pairs + i, v * ci - u * si);
		}
		for (; i < pairs; i++) {
			real *first = a + i * step;
			const real u = *first, v = first[second];
			*first = u * c[i] + v * s[i];
			first[second] = v * c[i] - u * s[i];
		}
	}
}
