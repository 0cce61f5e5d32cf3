// SPDX-License-Identifier: MIT
#include "tests/num/guard.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/test.h"

enum { GUARD = 64 }; // numbers before and after

static struct guarded make(struct rig *rig, int rows, int columns, ptrdiff_t stride, int with_numbers)
{
	struct guarded g = {.rows = rows, .columns = columns, .stride = stride};
	struct rng rng = rig_rng(rig);
	g.n_memory = 2 * GUARD + (size_t)rows * (size_t)stride;
	g.memory = arena_alloc(&rig->memory, g.n_memory * sizeof(real));
	g.before = arena_alloc(&rig->memory, g.n_memory * sizeof(real));
	memset(g.memory, 0xff, g.n_memory * sizeof(real));
	g.x = g.memory + GUARD;
	for (int i = 0; with_numbers && i < rows; i++)
		for (int j = 0; j < columns; j++)
			g.x[i * stride + j] = (real)rng_normal(&rng);
	memcpy(g.before, g.memory, g.n_memory * sizeof(real));
	return g;
}

struct guarded guarded_operand(struct rig *rig, int rows, int columns, ptrdiff_t stride)
{
	return make(rig, rows, columns, stride, 1);
}

struct guarded guarded_output(struct rig *rig, int rows, int columns, ptrdiff_t stride, int accumulate)
{
	return make(rig, rows, columns, stride, accumulate);
}

double guarded_before(const struct guarded *g, int i, int j)
{
	const double x = (double)g->before[GUARD + i * g->stride + j];
	return isnan(x) ? 0 : x;
}

void assert_guards(const char *what, const struct guarded *g)
{
	for (size_t at = 0; at < g->n_memory; at++) {
		const ptrdiff_t inside = (ptrdiff_t)at - GUARD;
		if (inside >= 0 && inside < g->rows * g->stride && inside % g->stride < g->columns)
			continue;
		if (memcmp(g->memory + at, g->before + at, sizeof(real)))
			fail_msg("%s wrote outside of (%d, %d): at row %td, column %td", what, g->rows, g->columns,
			        inside / g->stride, inside % g->stride);
	}
}

void assert_untouched(const char *what, const struct guarded *g)
{
	if (memcmp(g->memory, g->before, g->n_memory * sizeof(real)))
		fail_msg("%s changed one of its operands", what);
}

void assert_near(const char *what, const struct guarded *g, const double *expected, const double *size, double constant)
{
	const double epsilon = sizeof(real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON;
	assert_guards(what, g);
	for (int i = 0; i < g->rows; i++)
		for (int j = 0; j < g->columns; j++) {
			const double before = guarded_before(g, i, j), got = (double)g->x[i * g->stride + j];
			const double right = before + expected[(ptrdiff_t)i * g->columns + j];
			const double allowed =
			        constant * epsilon * (size[(ptrdiff_t)i * g->columns + j] + fabs(before));
			if (!(fabs(got - right) <= allowed))
				fail_msg("%s (%d, %d): element (%d, %d) is %.9g, not %.9g; allowed %.2g, off by %.2g",
				        what, g->rows, g->columns, i, j, got, right, allowed, fabs(got - right));
		}
}

struct expected expected_make(struct rig *rig, int rows, int columns)
{
	const size_t bytes = (size_t)rows * (size_t)columns * sizeof(double);
	return (struct expected){arena_zalloc(&rig->memory, bytes), arena_zalloc(&rig->memory, bytes)};
}

void expected_add(struct expected *e, long at, double term)
{
	e->x[at] += term;
	e->size[at] += fabs(term);
}
