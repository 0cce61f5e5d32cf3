// SPDX-License-Identifier: MIT
// Products of few vectors with rows as they lie, in every type, by every set of kernels that this processor runs,
// against sums in double of what dtype_read reads.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/num/cpu/rows.h"
#include "tests/num/guard.h"
#include "tests/test.h"

enum { ROUNDS = 400, MOST_M = 34 };
// Each number is a sum in eight lanes of terms that are rounded twice, in q4 thrice.
static const double ROUNDING = 4;

static struct rig rig;
static struct rng rng;

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	rng = rig_rng(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	return 0;
}

// n rows of d random numbers as a type keeps them, and what they read as.
struct matrix {
	struct stored stored;
	unsigned char *bytes;
	size_t n_bytes;
	real *x; // (n, d)
	int d;
};

static struct matrix make_matrix(enum dtype dtype, int n, int d, int gap)
{
	const size_t row_bytes = dtype_row_bytes(dtype, d) + (size_t)gap;
	struct matrix m = {.n_bytes = (size_t)n * row_bytes, .d = d};
	m.bytes = arena_alloc(&rig.memory, m.n_bytes + 64);
	m.x = arena_alloc(&rig.memory, (size_t)n * (size_t)d * sizeof(real));
	memset(m.bytes, 0xff, m.n_bytes + 64); // what lies between rows must not be read: NaN
	for (int j = 0; j < n; j++) {
		real *row = m.x + (ptrdiff_t)j * d;
		for (int c = 0; c < d; c++)
			row[c] = (real)rng_normal(&rng);
		dtype_write(dtype, m.bytes + (size_t)j * row_bytes, row, d);
		dtype_read(dtype, row, m.bytes + (size_t)j * row_bytes, d);
	}
	m.stored = (struct stored){.dtype = dtype, .at = m.bytes, .row_bytes = (ptrdiff_t)row_bytes, .columns = d};
	return m;
}

static double *numbers(long n)
{
	return arena_zalloc(&rig.memory, (size_t)n * sizeof(double));
}

static int random_d(enum dtype dtype)
{
	const int blocks = rig_int(&rng, 0, rig_int(&rng, 0, 9) ? 5 : 50) * DTYPE_BLOCK; // in one piece, and in several
	if (dtype == DTYPE_Q8 || dtype == DTYPE_Q4)
		return blocks ? blocks : DTYPE_BLOCK;
	return blocks + rig_int(&rng, !blocks, DTYPE_BLOCK - 1);
}

static void check_kernels(const struct row_kernels *kernels)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	for (int round = 0; round < ROUNDS; round++, arena_rewind(&rig.memory, mark)) {
		const enum dtype dtype = (enum dtype)(round % N_DTYPE);
		const int m = rig_int(&rng, 1, round % 8 ? 9 : MOST_M), n = rig_int(&rng, 1, 40), d = random_d(dtype);
		const struct matrix w = make_matrix(dtype, n, d, dtype == DTYPE_F32 ? 4 * (round % 3) : round % 3);
		const struct rows rows = {w.bytes, w.stored.row_bytes, n, d, round % 2 ? 8 * w.stored.row_bytes : 0};
		const struct guarded x = guarded_operand(&rig, m, d, d + round % 5),
		                     y = guarded_output(&rig, m, n, n + round % 3, 0),
		                     weight = guarded_operand(&rig, m, n, n + round % 5),
		                     z = guarded_output(&rig, m, d, d + round % 4, 1);
		double *dot = numbers((long)m * n), *dot_size = numbers((long)m * n);
		double *sum = numbers((long)m * d), *sum_size = numbers((long)m * d);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
				for (int c = 0; c < d; c++) {
					const double wjc = (double)w.x[(long)j * d + c];
					const double a = (double)x.x[i * x.stride + c] * wjc;
					const double b = (double)weight.x[i * weight.stride + j] * wjc;
					dot[i * n + j] += a, dot_size[i * n + j] += fabs(a);
					sum[i * d + c] += b, sum_size[i * d + c] += fabs(b);
				}
		kernels->dot[dtype](y.x, y.stride, x.x, x.stride, m, &rows);
		kernels->sum[dtype](z.x, z.stride, (struct weights){weight.x, weight.stride, 1}, m, &rows);
		assert_near(arena_printf(&rig.memory, "%s dot %s", kernels->name, dtype_name[dtype]), &y, dot, dot_size,
		        ROUNDING);
		// One chain over n rows.
		assert_near(arena_printf(&rig.memory, "%s sum %s", kernels->name, dtype_name[dtype]), &z, sum, sum_size,
		        ROUNDING + n / 4.0);
		assert_untouched(kernels->name, &x);
		// A row of results does not depend on the rows beside it.
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++) {
				const struct rows one = {rows.at + j * rows.row_bytes, rows.row_bytes, 1, d, 0};
				real alone;
				kernels->dot[dtype](&alone, 1, x.x + i * x.stride, x.stride, 1, &one);
				assert_memory_equal(&alone, y.x + i * y.stride + j, sizeof(alone));
			}
	}
}

static void kernels_equal_sums_in_double(void **state UNUSED)
{
	for (int i = 0; rows_set(i); i++) {
		printf("# this processor runs the %s kernels\n", rows_set(i)->name);
		check_kernels(rows_set(i));
	}
}

struct case_ {
	int n_part, n_matrix, m, n, k, is_transposed;
};

static struct case_ random_case(int round)
{
	struct case_ c = {.n_part = round % 3 ? 1 : rig_int(&rng, 1, 6), .n_matrix = 1, .m = rig_int(&rng, 1, MOST_M)};
	do
		c.n_matrix = rig_int(&rng, 1, c.n_part);
	while (c.n_part % c.n_matrix);
	c.n = rig_int(&rng, 1, round % 7 ? 90 : 2000);
	c.k = rig_int(&rng, 1, round % 9 ? 150 : 1500);
	c.is_transposed = c.n_part > 1 && round % 2;
	if (round % 4 == 0) // whole blocks
		*(c.is_transposed ? &c.n : &c.k) = rig_int(&rng, 1, 5) * DTYPE_BLOCK;
	return c;
}

static void check_linear(const struct backend *backend, int round, int n_thread)
{
	const enum dtype dtype = (enum dtype)(round % N_DTYPE);
	const struct case_ c = random_case(round);
	const int t = c.is_transposed, w_rows = t ? c.k : c.n, has_bias = !t && round % 2;
	const struct matrix w = make_matrix(dtype, c.n_matrix * w_rows, t ? c.n : c.k, 0);
	const struct guarded x = guarded_operand(&rig, c.m, c.n_part * c.k, c.n_part * c.k + round % 5),
	                     bias = guarded_operand(&rig, 1, c.n_part * c.n, c.n_part * c.n),
	                     y = guarded_output(&rig, c.m, c.n_part * c.n, c.n_part * c.n + round % 3, 0);
	double *right = numbers((long)c.m * c.n_part * c.n), *size = numbers((long)c.m * c.n_part * c.n);
	for (int i = 0; i < c.m; i++)
		for (int h = 0; h < c.n_part; h++)
			for (int j = 0; j < c.n; j++) {
				const long at = (long)i * c.n_part * c.n + h * c.n + j;
				const real *matrix = w.x + (long)(h * c.n_matrix / c.n_part) * w_rows * w.d;
				if (has_bias)
					right[at] = (double)bias.x[h * c.n + j], size[at] = fabs(right[at]);
				for (int p = 0; p < c.k; p++) {
					const double a = (double)x.x[i * x.stride + h * c.k + p] *
					                 (double)matrix[t ? p * c.n + j : j * c.k + p];
					right[at] += a, size[at] += fabs(a);
				}
			}
	struct linear_stored l = {.n_part = c.n_part,
	        .n_matrix = c.n_matrix,
	        .m = c.m,
	        .n = c.n,
	        .k = c.k,
	        .is_transposed = t,
	        .w = &w.stored,
	        .x = x.x,
	        .ldx = x.stride,
	        .x_part = c.k,
	        .bias = has_bias ? bias.x : NULL,
	        .y = y.x,
	        .ldy = y.stride,
	        .y_part = c.n};
	struct exec exec = *rig_exec(&rig);
	backend->linear_stored(&exec, &l);
	assert_near(arena_printf(&rig.memory, "linear_stored %s%s, %d parts", dtype_name[dtype], t ? " transposed" : "",
	                    c.n_part),
	        &y, right, size, ROUNDING + c.k / 4.0);
	// The same bits with more threads, and for the last row alone.
	const struct guarded again = guarded_output(&rig, c.m, c.n_part * c.n, y.stride, 0);
	exec.n_thread = n_thread;
	l.y = again.x;
	backend->linear_stored(&exec, &l);
	l.m = 1, l.x += (c.m - 1) * x.stride, l.y = again.x;
	assert_memory_equal(again.memory, y.memory, y.n_memory * sizeof(real));
	backend->linear_stored(&exec, &l);
	assert_memory_equal(again.x, y.x + (c.m - 1) * y.stride, (size_t)(c.n_part * c.n) * sizeof(real));
}

static void stored_products_equal_sums_in_double(void **state UNUSED)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	for (int round = 0; round < ROUNDS; round++, arena_rewind(&rig.memory, mark))
		check_linear(round % 3 ? &backend_cpu : &backend_cpu_portable, round, 2 + round % 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(kernels_equal_sums_in_double),
	        cmocka_unit_test(stored_products_equal_sums_in_double),
	};
	return cmocka_run_group_tests_name("rows as they lie", tests, setup, teardown);
}
