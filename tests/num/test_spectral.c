// SPDX-License-Identifier: MIT
// Products and spectra in double: against plain loops, and by what defines eigenvectors.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/num/spectral.h"
#include "tests/num/rig.h"
#include "tests/test.h"

#define ROUNDING 1e-12 // of numbers of size 1 to 100
static struct rig rig;
static struct rng rng;

static double *random_numbers(int n)
{
	double *x = arena_alloc(&rig.memory, (size_t)n * sizeof(*x));
	for (int i = 0; i < n; i++)
		x[i] = rng_normal(&rng);
	return x;
}

static void products_are_those_of_loops(void **state UNUSED)
{
	for (int round = 0; round < 30; round++) {
		const enum product_form form = (enum product_form)(round % 3);
		const int m = rig_int(&rng, 1, 20), n = rig_int(&rng, 1, 20), k = rig_int(&rng, 1, 20);
		const double *a = random_numbers(m * k), *b = random_numbers(k * n);
		double *c = random_numbers(m * n);
		product(c, form, m, n, k, a, b);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++) {
				double sum = 0;
				for (int p = 0; p < k; p++)
					sum += (form == PRODUCT_TN ? a[p * m + i] : a[i * k + p]) *
					       (form == PRODUCT_NT ? b[j * k + p] : b[p * n + j]);
				assert_true(fabs(sum - c[i * n + j]) < ROUNDING);
			}
	}
}

// Numbers are pairs: real and imaginary part.
static void multiply(double out[2], const double *a, const double *b, double sign)
{
	out[0] += a[0] * b[0] - sign * a[1] * b[1];
	out[1] += a[0] * b[1] * sign + a[1] * b[0];
}

// vector (n, n), complex, of a: A v = value v, orthonormal, sorted, the largest entry of each real and positive.
static void assert_eigen(const double *value, const double *vector, const double *a, int n)
{
	for (int i = 0; i < n; i++) {
		const double *v = vector + 2 * i * n;
		double most = 0, first[2] = {0};
		assert_true(i == 0 || value[i] <= value[i - 1]);
		for (int r = 0; r < n; r++) {
			double sum[2] = {0};
			for (int c = 0; c < n; c++)
				multiply(sum, a + 2 * (r * n + c), v + 2 * c, 1);
			assert_true(
			        hypot(sum[0] - value[i] * v[2 * r], sum[1] - value[i] * v[2 * r + 1]) < ROUNDING * n);
			if (hypot(v[2 * r], v[2 * r + 1]) > most * (1 + 1e-6)) {
				most = hypot(v[2 * r], v[2 * r + 1]);
				memcpy(first, v + 2 * r, sizeof(first));
			}
		}
		assert_true(first[0] > 0 && fabs(first[1]) < ROUNDING);
		for (int j = 0; j < n; j++) {
			double dot[2] = {0};
			for (int c = 0; c < n; c++)
				multiply(dot, vector + 2 * (j * n + c), v + 2 * c, -1);
			assert_true(hypot(dot[0] - (i == j), dot[1]) < ROUNDING * n);
		}
	}
}

static void eigenvectors_are_what_they_say(void **state UNUSED)
{
	for (int round = 0; round < 24; round++) {
		const int n = round < 3 ? round + 1 : rig_int(&rng, 2, 40), is_real = round % 2;
		double *b = random_numbers(2 * n * n), *a = arena_zalloc(&rig.memory, (size_t)(2 * n * n) * sizeof(*a));
		double *whole = arena_zalloc(&rig.memory, (size_t)(2 * n * n) * sizeof(*whole));
		double *value = random_numbers(n), *vector = random_numbers(2 * n * n);
		for (int i = 0; i < n * n && is_real; i++)
			b[2 * i + 1] = 0;
		for (int i = 0; i < n; i++) // B B^H, of half the rank in some rounds
			for (int j = 0; j < n; j++)
				for (int k = 0; k < (round % 3 ? n : (n + 1) / 2); k++)
					multiply(a + 2 * (i * n + j), b + 2 * (i * n + k), b + 2 * (j * n + k), -1);
		const size_t used = rig.scratch.used_bytes;
		if (is_real) {
			double *plain = random_numbers(n * n), *own = random_numbers(n * n);
			for (int i = 0; i < n * n; i++)
				plain[i] = a[2 * i];
			eigen_symmetric(value, own, plain, n, &rig.scratch);
			for (int i = 0; i < n * n; i++)
				whole[2 * i] = own[i];
		} else {
			eigen_hermitian(value, vector, a, n, &rig.scratch);
			memcpy(whole, vector, (size_t)(2 * n * n) * sizeof(*whole));
		}
		assert_int_equal(rig.scratch.used_bytes, used);
		assert_eigen(value, whole, a, n);
	}
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(products_are_those_of_loops),
	        cmocka_unit_test(eigenvectors_are_what_they_say),
	};
	return cmocka_run_group_tests_name("spectra", tests, setup, teardown);
}
