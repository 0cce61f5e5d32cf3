// SPDX-License-Identifier: MIT
// The slots that look into the heads of a row, against plain loops: runs of columns, factors and dot products per head.
#include <string.h>

#include "tests/num/guard.h"
#include "tests/test.h"

enum { ROUNDS = 40 };
static const double SUM_ROUNDING = 8; // additions and one multiplication a term, of a few hundred rows

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

static double *numbers(long n)
{
	return arena_zalloc(&rig.memory, (size_t)n * sizeof(double));
}

static void test_copy_columns(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 50), from = rig_int(&rng, 1, 60),
		          accumulate = round % 2;
		struct column_run run[12];
		int n_run = 0, columns = 0;
		for (; n_run < 12 && (n_run == 0 || rig_int(&rng, 0, 3)); n_run++) {
			const int n = rig_int(&rng, 1, from);
			run[n_run] = (struct column_run){columns, rig_int(&rng, 0, from - n), n};
			columns += n;
		}
		if (accumulate && n_run > 1) // two runs meet
			run[1].to = run[0].to;
		const int rows = B * T;
		const struct guarded x = guarded_operand(&rig, rows, from, from + round % 5),
		                     out = guarded_output(&rig, rows, columns, columns + round % 3, accumulate);
		double *right = numbers((long)rows * columns), *size = numbers((long)rows * columns);
		for (int i = 0; i < rows; i++)
			for (int r = 0; r < n_run; r++)
				for (int j = 0; j < run[r].n; j++) {
					const double v = (double)x.x[i * x.stride + run[r].from + j];
					right[(long)i * columns + run[r].to + j] += v;
					size[(long)i * columns + run[r].to + j] += v < 0 ? -v : v;
				}
		backend_cpu.copy_columns(
		        rig_exec(&rig), guarded_to(&out, T, accumulate), guarded_in(&x, T), B, T, run, n_run);
		assert_near("copy_columns", &out, right, size, accumulate ? 2 : 0);
		assert_untouched("copy_columns", &x);
	}
}

static void test_scale_heads(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 200), H = rig_int(&rng, 1, 5),
		          C = H * rig_int(&rng, 1, 20), accumulate = round % 2, shared = round % 3 == 0;
		const struct guarded x = guarded_operand(&rig, B * T, C, C + round % 5),
		                     gain = guarded_operand(&rig, shared ? 1 : H, 1, 2),
		                     out = guarded_output(&rig, B * T, C, C + round % 3, accumulate);
		double *right = numbers((long)B * T * C), *size = numbers((long)B * T * C);
		for (int i = 0; i < B * T; i++)
			for (int j = 0; j < C; j++) {
				const double v = (double)x.x[i * x.stride + j] *
				                 (double)gain.x[shared ? 0 : j / (C / H) * gain.stride];
				right[(long)i * C + j] = v;
				size[(long)i * C + j] = v < 0 ? -v : v;
			}
		backend_cpu.scale_heads(rig_exec(&rig), guarded_to(&out, T, accumulate), guarded_in(&x, T), B, T, C, H,
		        gain.x, shared ? 0 : gain.stride);
		assert_near("scale_heads", &out, right, size, 2);
		assert_untouched("scale_heads", &x);
	}
}

static void test_dot_heads(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 200), H = rig_int(&rng, 1, 5),
		          C = H * rig_int(&rng, 1, 20);
		const struct guarded a = guarded_operand(&rig, B * T, C, C + round % 5),
		                     b = guarded_operand(&rig, B * T, C, C + round % 3),
		                     out = guarded_output(&rig, 1, H, H, 0);
		double *right = numbers(H), *size = numbers(H);
		for (int i = 0; i < B * T; i++)
			for (int j = 0; j < C; j++) {
				const double v = (double)a.x[i * a.stride + j] * (double)b.x[i * b.stride + j];
				right[j / (C / H)] += v;
				size[j / (C / H)] += v < 0 ? -v : v;
			}
		backend_cpu.dot_heads(rig_exec(&rig), out.x, guarded_in(&a, T), guarded_in(&b, T), B, T, C, H);
		assert_near("dot_heads", &out, right, size, SUM_ROUNDING);
		assert_untouched("dot_heads", &a);
		assert_untouched("dot_heads", &b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_copy_columns),
	        cmocka_unit_test(test_scale_heads),
	        cmocka_unit_test(test_dot_heads),
	};
	return cmocka_run_group_tests_name("kernels per head", tests, setup, teardown);
}
