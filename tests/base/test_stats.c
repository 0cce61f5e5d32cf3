// SPDX-License-Identifier: MIT
// Goldens from SciPy 1.17 (stats.t.ppf, stats.linregress, stats.binom.cdf).
#include "harness/base/stats.h"

#include <math.h>

#include "tests/test.h"

static void close_to(double value, double golden)
{
	if (!(fabs(value - golden) <= 1e-10 * fabs(golden)))
		fail_msg("%.17g is not %.17g", value, golden);
}

static void student_quantiles(void **state UNUSED)
{
	static const double golden[][3] = {{0.975, 1, 12.706204736174694}, {0.975, 2, 4.302652729749462},
	        {0.975, 4, 2.7764451051977934}, {0.975, 30, 2.0422724563012378}, {0.975, 200, 1.9718962236339088},
	        {0.6, 3.5, 0.27326545405577973}, {0.025, 7, -2.3646242515927844}, {0.9995, 1.5, 82.84744670366369},
	        {0.5001, 10, 0.0002569978066048638}, {0.975, 1e6, 1.959966356814107}};
	for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++)
		close_to(student_quantile(golden[i][0], golden[i][1]), golden[i][2]);
	assert_true(student_quantile(0.5, 3) == 0);
	assert_true(isnan(student_quantile(0, 3)) && isnan(student_quantile(1, 3)) && isnan(student_quantile(0.9, 0)));
}

static void moments(void **state UNUSED)
{
	static const double value[] = {0.912, 0.934, 0.871, 0.99, 0.955};
	struct moments m = {0};
	moments_add(&m, value[0]);
	assert_true(isnan(moments_variance(&m)) && isnan(mean_half_width(&m)));
	for (int i = 1; i < 5; i++)
		moments_add(&m, value[i]);
	close_to(m.mean, 0.9324);
	close_to(moments_variance(&m), 0.002004299999999999);
	close_to(mean_half_width(&m), 0.05558856362286927);
	assert_true(m.least == 0.871 && m.most == 0.99 && m.n == 5);
}

// The sum of squares would lose every digit here; Welford's update does not.
static void moments_of_a_large_offset(void **state UNUSED)
{
	struct moments m = {0};
	for (int i = 0; i < 1000; i++)
		moments_add(&m, 1e9 + i % 2);
	assert_true(fabs(moments_variance(&m) - 0.25 * 1000 / 999) < 1e-9);
}

static void line_fits(void **state UNUSED)
{
	static const double x[] = {1, 2, 3, 4, 5, 6, 7}, y[] = {1, 2, 2, 3, 4, 4, 6};
	struct line_fit fit = line_fit(x, y, 7);
	close_to(fit.slope, 0.7500000000000001);
	close_to(fit.intercept, 0.14285714285714235);
	close_to(fit.slope_half_width, 0.22859632687203996);
	close_to(fit.intercept_half_width, 1.0223138525852866);
	close_to(fit.r2, 0.9343220338983055);
	fit = line_fit(x, y, 2);
	assert_true(fit.slope == 1 && isnan(fit.slope_half_width));
	fit = line_fit(x, y, 1);
	assert_true(isnan(fit.slope));
	static const double same[] = {3, 3, 3};
	assert_true(isnan(line_fit(same, y, 3).slope));
}

static void medians(void **state UNUSED)
{
	double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
	assert_true(median_of(odd, 3) == 3 && odd[0] == 1 && odd[2] == 5);
	assert_true(median_of(even, 4) == 2.5);
	assert_true(median_of(one, 1) == 7);
	assert_true(isnan(median_of(one, 0)));
}

static void median_intervals(void **state UNUSED)
{
	// n, rank of the lower end: the largest k with P(Binomial(n, 1/2) < k) <= 0.025.
	static const int golden[][2] = {{6, 1}, {9, 2}, {10, 2}, {25, 8}, {100, 40}};
	double value[100], lo, hi;
	for (int i = 0; i < 100; i++)
		value[i] = i + 1;
	for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
		int n = golden[i][0], k = golden[i][1];
		median_interval(value, n, &lo, &hi);
		assert_true(lo == k && hi == n - k + 1);
	}
	for (int n = 0; n < 6; n++) {
		median_interval(value, n, &lo, &hi);
		assert_true(isnan(lo) && isnan(hi));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(student_quantiles),
	        cmocka_unit_test(moments),
	        cmocka_unit_test(moments_of_a_large_offset),
	        cmocka_unit_test(line_fits),
	        cmocka_unit_test(medians),
	        cmocka_unit_test(median_intervals),
	};
	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
