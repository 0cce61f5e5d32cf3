// SPDX-License-Identifier: MIT
// Matrices between guard bands, for kernels on raw pointers: whatever lies outside the rows and columns that a kernel
// was given (before, after, and in the gaps between rows) must keep its bits, and operands must not change at all.
#ifndef KVLAB_TESTS_NUM_GUARD_H
#define KVLAB_TESTS_NUM_GUARD_H
#include "tests/num/rig.h"
#ifdef __cplusplus
extern "C" {
#endif

struct guarded {
	real *x; // (rows, columns), `stride` apart
	int rows, columns;
	ptrdiff_t stride;
	real *memory, *before; // with the guards; a copy of it as it was
	size_t n_memory;
};

// Standard normal numbers, NaN around them.
struct guarded guarded_operand(struct rig *rig, int rows, int columns, ptrdiff_t stride);
// An output: random numbers to be added to, or NaN that must not be read.
struct guarded guarded_output(struct rig *rig, int rows, int columns, ptrdiff_t stride, int accumulate);
// Element (i, j) before the kernel ran; 0 for an output that held NaN.
double guarded_before(const struct guarded *g, int i, int j);

// Nothing outside rows and columns has changed. `what` names the kernel in the message.
void assert_guards(const char *what, const struct guarded *g);
void assert_untouched(const char *what, const struct guarded *g);

// What is right: sums of terms, with the sums of their magnitudes. (rows, columns) without gaps, zeros at first.
struct expected {
	double *x, *size;
};
struct expected expected_make(struct rig *rig, int rows, int columns);
void expected_add(struct expected *e, long at, double term);

// As the slots take them, T rows to a sequence.
static inline struct strided guarded_in(const struct guarded *g, int T)
{
	return (struct strided){g->x, T * g->stride, g->stride};
}

static inline struct strided_out guarded_to(const struct guarded *g, int T, int accumulate)
{
	return (struct strided_out){g->x, T * g->stride, g->stride, accumulate};
}

// Every element of g equals (before + expected(i, j)) within constant * epsilon * size: expected and size are
// (rows, columns) without gaps; size is the sum of the magnitudes that went into the element.
void assert_near(
        const char *what, const struct guarded *g, const double *expected, const double *size, double constant);

#ifdef __cplusplus
}
#endif
#endif
