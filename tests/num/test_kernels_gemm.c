// SPDX-License-Identifier: MIT
// The product slot against a plain double-precision loop: all three forms, odd shapes, bias, accumulation, gaps between
// rows; large shapes go to the library and are compared in the same way.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/guard.h"
#include "tests/test.h"

// Rounding of a chain of k multiply-adds is far below epsilon times the sum of its magnitudes.
static const double PRODUCT_ROUNDING = 4;

RIG_FIXTURE;

static void reference(double *c, double *size, const struct gemm *g)
{
	for (int i = 0; i < g->m; i++)
		for (int j = 0; j < g->n; j++) {
			double sum = g->bias ? (double)g->bias[j] : 0, most = fabs(sum);
			for (int p = 0; p < g->k; p++) {
				const double a =
				        (double)(g->form == GEMM_TN ? g->a[p * g->lda + i] : g->a[i * g->lda + p]);
				const double b =
				        (double)(g->form == GEMM_NT ? g->b[j * g->ldb + p] : g->b[p * g->ldb + j]);
				sum += a * b;
				most += fabs(a * b);
			}
			c[(ptrdiff_t)i * g->n + j] = sum;
			size[(ptrdiff_t)i * g->n + j] = most;
		}
}

static void try_gemm(enum gemm_form form, int m, int n, int k, int with_bias, int accumulate, int gap)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	const int a_rows = form == GEMM_TN ? k : m, a_columns = form == GEMM_TN ? m : k;
	const int b_rows = form == GEMM_NT ? n : k, b_columns = form == GEMM_NT ? k : n;
	const struct guarded a = guarded_operand(&rig, a_rows, a_columns, a_columns + gap);
	const struct guarded b = guarded_operand(&rig, b_rows, b_columns, b_columns + 2 * gap);
	const struct guarded bias = guarded_operand(&rig, 1, n, n);
	const struct guarded c = guarded_output(&rig, m, n, n + 3 * gap, accumulate);
	struct gemm g = {.form = form, .m = m, .n = n, .k = k, .accumulate = accumulate};
	g.a = a.x, g.lda = a.stride, g.b = b.x, g.ldb = b.stride, g.c = c.x, g.ldc = c.stride;
	g.bias = with_bias ? bias.x : NULL;
	const size_t bytes = (size_t)m * (size_t)n * sizeof(double);
	double *expected = arena_alloc(&rig.memory, bytes), *size = arena_alloc(&rig.memory, bytes);
	reference(expected, size, &g);
	backend_cpu.gemm(rig_exec(&rig), &g);
	char what[96];
	static const char *const name[] = {"NN", "NT", "TN"};
	snprintf(what, sizeof(what), "gemm %s m %d n %d k %d%s%s gap %d", name[form], m, n, k, with_bias ? " bias" : "",
	        accumulate ? " accumulate" : "", gap);
	assert_near(what, &c, expected, size, PRODUCT_ROUNDING);
	assert_untouched(what, &a);
	assert_untouched(what, &b);
	assert_untouched(what, &bias);
	assert_int_equal(rig.scratch.used_bytes, 0); // given back
	arena_rewind(&rig.memory, mark);
}

static void try_all(int m, int n, int k)
{
	for (int form = GEMM_NN; form <= GEMM_TN; form++) {
		try_gemm(form, m, n, k, 0, 0, 0);
		try_gemm(form, m, n, k, 1, 0, 0);
		try_gemm(form, m, n, k, 0, 1, 3);
		try_gemm(form, m, n, k, 0, 0, 5);
	}
}

static void test_every_small_shape(void **state UNUSED)
{
	// All remainders of the tile (6 rows, 16 columns).
	for (int m = 1; m <= 14; m++)
		for (int n = 1; n <= 34; n += 1 + (m & 1))
			try_all(m, n, 1 + (m * n) % 7);
}

static void test_random_shapes(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	for (int i = 0; i < 40; i++) {
		const int m = rig_int(&rng, 1, 300), n = rig_int(&rng, 1, 300), k = rig_int(&rng, 1, 300);
		try_gemm((enum gemm_form)(i % 3), m, n, k, i % 4 == 0, i % 4 == 1, i % 5);
	}
	// Edges of the row blocks (48), of packed depth (256), and long sums.
	try_all(49, 17, 257);
	try_all(48, 16, 256);
	try_all(1, 128, 1000);
	try_all(97, 96, 513);
	try_all(2, 1025, 65);
	try_all(65, 33, 1025);
}

// Operands that are packed in blocks of 264 rows, 256 columns and 1,024 numbers of the sum: around each edge.
static void test_blocked_shapes(void **state UNUSED)
{
	static const int shape[][3] = {{3, 1100, 530}, {13, 530, 1025}, {265, 257, 2049}, {6, 513, 1024}};
	for (size_t i = 0; i < sizeof(shape) / sizeof(*shape); i++)
		for (int form = GEMM_NN; form <= GEMM_NT; form++) {
			try_gemm((enum gemm_form)form, shape[i][0], shape[i][1], shape[i][2], i % 2, 0, (int)i);
			try_gemm((enum gemm_form)form, shape[i][0], shape[i][1], shape[i][2], 0, 1, 0);
		}
	try_gemm(GEMM_TN, 2113, 35, 260, 0, 0, 3);
	try_gemm(GEMM_TN, 2049, 17, 1030, 0, 1, 0);
	try_gemm(GEMM_TN, 2200, 300, 9, 0, 1, 0);
}

static void test_library_shapes(void **state UNUSED)
{
	try_gemm(GEMM_NN, 1030, 1024, 1025, 0, 1, 3);
	try_gemm(GEMM_NT, 1025, 1031, 1024, 1, 0, 0);
	try_gemm(GEMM_TN, 1024, 1025, 1027, 0, 1, 0);
	// Just below: wide, but too few rows to be cut for threads.
	try_gemm(GEMM_TN, 256, 1024, 1030, 0, 0, 0);
}

// A row of C has the same bits however many rows are computed with it: decode equals prefill because of this.
static void test_rows_do_not_depend_on_their_number(void **state UNUSED)
{
	static const int shape[][3] = {{131, 67, 300}, {65, 16, 64}, {50, 130, 7}, {60, 530, 1030}};
	for (int form = GEMM_NN; form <= GEMM_NT; form++)
		for (size_t s = 0; s < sizeof(shape) / sizeof(*shape); s++) {
			const int M = shape[s][0], n = shape[s][1], k = shape[s][2];
			const int b_rows = form == GEMM_NT ? n : k, b_columns = form == GEMM_NT ? k : n;
			const struct guarded a = guarded_operand(&rig, M, k, k),
			                     b = guarded_operand(&rig, b_rows, b_columns, b_columns);
			const struct guarded all = guarded_output(&rig, M, n, n, 0);
			struct gemm g = {
			        .form = (enum gemm_form)form, .m = M, .n = n, .k = k, .a = a.x, .b = b.x, .c = all.x};
			g.lda = k, g.ldb = b_columns, g.ldc = n;
			backend_cpu.gemm(rig_exec(&rig), &g);
			for (int m = 1; m < M; m += 1 + m / 4)
				for (int from = 0; from + m <= M; from += 1 + M / 7) {
					const struct guarded some = guarded_output(&rig, m, n, n, 0);
					g.m = m, g.a = a.x + from * k, g.c = some.x;
					backend_cpu.gemm(rig_exec(&rig), &g);
					assert_memory_equal(
					        some.x, all.x + from * n, (size_t)m * (size_t)n * sizeof(real));
				}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_every_small_shape),
	        cmocka_unit_test(test_random_shapes),
	        cmocka_unit_test(test_blocked_shapes),
	        cmocka_unit_test(test_library_shapes),
	        cmocka_unit_test(test_rows_do_not_depend_on_their_number),
	};
	return cmocka_run_group_tests_name("products", tests, setup, teardown);
}
