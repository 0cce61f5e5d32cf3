// SPDX-License-Identifier: MIT
// Products of the CUDA backend: gemm, and weights as they are kept. The exact table against sums in double; the other
// against sums of operands that were rounded to bf16 here, so that the tolerance is that of f32 sums in both.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/num/cuda_rig.h"
#include "tests/test.h"

enum { ROUNDS = 20, FEW = 8 };
static struct cuda_rig rig;
static struct rng rng;

// k roundings of a running sum: as a random walk that is half an epsilon times sqrt(k); three deviations and the ends.
static double sum_rounding(int k)
{
	return 2 + 1.5 * sqrt((double)k);
}

static double rounded(real x, int is_bf16)
{
	unsigned char two[2];
	real back;
	if (!is_bf16)
		return (double)x;
	dtype_write(DTYPE_BF16, two, &x, 1);
	dtype_read(DTYPE_BF16, &back, two, 1);
	return (double)back;
}

static void test_gemm(void **state UNUSED)
{
	for (int round = 0; round < 3 * ROUNDS; round++) {
		const enum gemm_form form = (enum gemm_form)(round % 3);
		const int m = rig_int(&rng, 1, 40), n = rig_int(&rng, 1, 40), k = rig_int(&rng, 1, 70);
		const int is_bf16 = round / 3 % 2, accumulate = round / 6 % 2, has_bias = !accumulate && round % 4 > 1;
		const int a_rows = form == GEMM_TN ? k : m, a_columns = form == GEMM_TN ? m : k;
		const int b_rows = form == GEMM_NT ? n : k, b_columns = form == GEMM_NT ? k : n;
		cuda_begin(&rig);
		const struct guarded a = guarded_operand(&rig.host, a_rows, a_columns, a_columns + round % 5);
		const struct guarded b = guarded_operand(&rig.host, b_rows, b_columns, b_columns + round % 7);
		const struct guarded bias = guarded_operand(&rig.host, 1, n, n),
		                     c = guarded_output(&rig.host, m, n, n + round % 2, accumulate);
		struct expected e = expected_make(&rig.host, m, n);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++) {
				for (int l = 0; l < k; l++)
					expected_add(&e, (long)i * n + j,
					        rounded(form == GEMM_TN ? a.x[l * a.stride + i] : a.x[i * a.stride + l],
					                is_bf16) *
					                rounded(form == GEMM_NT ? b.x[j * b.stride + l]
					                                        : b.x[l * b.stride + j],
					                        is_bf16));
				if (has_bias)
					expected_add(&e, (long)i * n + j, (double)bias.x[j]);
			}
		const struct gemm gemm = {.form = form,
		        .m = m,
		        .n = n,
		        .k = k,
		        .accumulate = accumulate,
		        .a = cuda_mirror(&rig, &a),
		        .lda = a.stride,
		        .b = cuda_mirror(&rig, &b),
		        .ldb = b.stride,
		        .bias = has_bias ? cuda_mirror(&rig, &bias) : NULL,
		        .c = cuda_mirror(&rig, &c),
		        .ldc = c.stride};
		(is_bf16 ? rig.rounded : rig.exact)->gemm(cuda_exec(&rig), &gemm);
		cuda_fetch(&rig);
		assert_near(is_bf16 ? "gemm, rounded" : "gemm, exact", &c, e.x, e.size, sum_rounding(k));
		assert_untouched("gemm", &a);
		assert_untouched("gemm", &b);
	}
}

// Weights of one case, in their type: bytes on the device, and what they read as.
struct weights {
	struct stored stored; // on the device
	real *read;           // (rows, columns)
};

static struct weights some_weights(enum dtype dtype, int rows, int columns, int gap)
{
	const size_t row_bytes = dtype_row_bytes(dtype, columns) + (size_t)gap, n = (size_t)rows * (size_t)columns;
	unsigned char *bytes = arena_zalloc(&rig.host.memory, (size_t)rows * row_bytes);
	real *x = arena_alloc(&rig.host.memory, (size_t)columns * sizeof(*x));
	struct weights w = {.read = arena_alloc(&rig.host.memory, n * sizeof(real))};
	for (int i = 0; i < rows; i++) {
		for (int j = 0; j < columns; j++)
			x[j] = (real)rng_normal(&rng);
		dtype_write(dtype, bytes + (size_t)i * row_bytes, x, columns);
		dtype_read(dtype, w.read + (ptrdiff_t)i * columns, bytes + (size_t)i * row_bytes, columns);
	}
	w.stored = (struct stored){.dtype = dtype,
	        .at = cuda_bytes(&rig, bytes, (size_t)rows * row_bytes),
	        .row_bytes = (ptrdiff_t)row_bytes,
	        .columns = columns};
	return w;
}

struct linear_case {
	int n_part, n_matrix, m, n, k, is_transposed, gap;
};

// Rows of y by the plugin, bits of every row for m rows at once the same as alone.
static void check_linear(enum dtype dtype, int is_bf16, const struct linear_case *c, int has_bias)
{
	const int rows = c->n_matrix * (c->is_transposed ? c->k : c->n), columns = c->is_transposed ? c->n : c->k;
	const int is_packed = dtype == DTYPE_Q8 || dtype == DTYPE_Q4;
	const int by_product = c->m > (is_packed ? 32 : FEW), rounds = is_bf16 && by_product;
	char what[160];
	snprintf(what, sizeof(what), "linear_stored %s%s of %s, %d of %d parts, k %d%s%s", dtype_name[dtype],
	        c->is_transposed ? " transposed" : "", is_bf16 ? "rounded" : "exact", c->n_matrix, c->n_part, c->k,
	        c->gap ? ", gaps" : "", has_bias ? ", bias" : "");
	cuda_begin(&rig);
	const struct weights w = some_weights(dtype, rows, columns, c->gap);
	const struct guarded x = guarded_operand(&rig.host, c->m, c->n_part * c->k, (c->n_part * c->k + 3) / 4 * 4);
	const struct guarded bias = guarded_operand(&rig.host, 1, c->n_part * c->n, c->n_part * c->n),
	                     y = guarded_output(&rig.host, c->m, c->n_part * c->n, c->n_part * c->n + 1, 0),
	                     alone = guarded_output(&rig.host, 1, c->n_part * c->n, c->n_part * c->n + 1, 0);
	struct expected e = expected_make(&rig.host, c->m, c->n_part * c->n);
	for (int i = 0; i < c->m; i++)
		for (int part = 0; part < c->n_part; part++)
			for (int j = 0; j < c->n; j++) {
				const long at = (long)i * c->n_part * c->n + part * c->n + j;
				const real *matrix = w.read + (ptrdiff_t)(part * c->n_matrix / c->n_part) * c->n * c->k;
				for (int l = 0; l < c->k; l++)
					expected_add(&e, at,
					        rounded(x.x[i * x.stride + part * c->k + l], rounds) *
					                rounded(c->is_transposed ? matrix[(ptrdiff_t)l * c->n + j]
					                                         : matrix[(ptrdiff_t)j * c->k + l],
					                        rounds));
				if (has_bias)
					expected_add(&e, at, (double)bias.x[part * c->n + j]);
			}
	struct linear_stored linear = {.n_part = c->n_part,
	        .n_matrix = c->n_matrix,
	        .m = c->m,
	        .n = c->n,
	        .k = c->k,
	        .is_transposed = c->is_transposed,
	        .w = &w.stored,
	        .x = cuda_mirror(&rig, &x),
	        .ldx = x.stride,
	        .x_part = c->k,
	        .bias = has_bias ? cuda_mirror(&rig, &bias) : NULL,
	        .y = cuda_mirror(&rig, &y),
	        .ldy = y.stride,
	        .y_part = c->n};
	const struct backend *backend = is_bf16 ? rig.rounded : rig.exact;
	backend->linear_stored(cuda_exec(&rig), &linear);
	linear.x += (c->m - 1) * x.stride; // the last row once more, alone
	linear.y = cuda_mirror(&rig, &alone);
	linear.m = 1;
	backend->linear_stored(cuda_exec(&rig), &linear);
	cuda_fetch(&rig);
	assert_near(what, &y, e.x, e.size, sum_rounding(c->k));
	assert_untouched(what, &x);
	if (!by_product &&
	        memcmp(alone.x, y.x + (c->m - 1) * y.stride, (size_t)c->n_part * (size_t)c->n * sizeof(real)))
		fail_msg("%s: a row of %d has other bits than alone", what, c->m);
}

static void test_linear_stored(void **state UNUSED)
{
	// Widths that the fast kernels take, with and without splits of k, and odd ones; few rows and many.
	const struct linear_case cases[] = {
	        {1, 1, 1, 37, 64, 0, 0},
	        {1, 1, 3, 70, 1088, 0, 0},
	        {1, 1, 8, 9, 2080, 0, 0},
	        {1, 1, 2, 4100, 32, 0, 0},
	        {1, 1, 5, 21, 45, 0, 0},
	        {1, 1, 1, 33, 64, 0, 4},
	        {4, 2, 2, 24, 96, 0, 0},
	        {1, 1, 11, 40, 96, 0, 0},
	        {1, 1, 35, 40, 64, 0, 0},
	        {1, 1, 34, 19, 43, 0, 0},
	        {1, 1, 1, 288, 40, 1, 0},
	        {6, 3, 7, 64, 33, 1, 0},
	        {4, 1, 4, 39, 21, 1, 0},
	        {3, 3, 36, 32, 24, 1, 0},
	};
	for (int dtype = 0; dtype < N_DTYPE; dtype++)
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
			for (int is_bf16 = 0; is_bf16 < 2; is_bf16++)
				check_linear((enum dtype)dtype, is_bf16, &cases[i],
				        !cases[i].is_transposed && cases[i].n_part == 1 && i % 2);
}

static void test_linear_random(void **state UNUSED)
{
	for (int round = 0; round < 5 * ROUNDS; round++) {
		const int n_matrix = rig_int(&rng, 1, 3);
		const struct linear_case c = {n_matrix * rig_int(&rng, 1, 3), n_matrix, rig_int(&rng, 1, 12),
		        rig_int(&rng, 1, 50), rig_int(&rng, 1, 150), rig_int(&rng, 0, 1), 0};
		check_linear(
		        (enum dtype)(round % N_DTYPE), round / N_DTYPE % 2, &c, !c.is_transposed && round % 3 == 0);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_gemm),
	        cmocka_unit_test(test_linear_stored),
	        cmocka_unit_test(test_linear_random),
	};
	rng = rig_rng(&rig.host);
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
