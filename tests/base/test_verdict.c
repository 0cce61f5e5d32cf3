// SPDX-License-Identifier: MIT
// Goldens from SciPy (tests/fixtures/make_verdict.py), and what intervals and verdicts promise, by simulation.
#include "harness/base/verdict.h"

#include <math.h>
#include <string.h>

#include "tests/test.h"

enum { MOST = 40 };
static const struct golden {
	int n_a, n_b;
	double p, ratio, lo, hi, paired_lo, paired_hi;
	int n_outlier;
	double a[MOST], b[MOST];
} goldens[] = {
#include "tests/fixtures/verdict.inc"
};
enum { N_GOLDEN = sizeof(goldens) / sizeof(*goldens) };

static void near(const char *what, int i, double value, double golden, double tolerance)
{
	if (isnan(golden) ? !isnan(value) : !(fabs(value - golden) <= tolerance))
		fail_msg("%s of case %d: %.17g is not %.17g", what, i, value, golden);
}

static void mann_whitney_is_scipys(void **state UNUSED)
{
	for (int i = 0; i < N_GOLDEN; i++) {
		const struct golden *g = &goldens[i];
		near("p", i, mann_whitney_p(g->a, g->n_a, g->b, g->n_b), g->p, 1e-10 * g->p);
		near("p, turned round", i, mann_whitney_p(g->b, g->n_b, g->a, g->n_a), g->p, 1e-10 * g->p);
	}
	static const double same[] = {2, 2, 2, 2, 2, 2, 2};
	assert_true(mann_whitney_p(same, 7, same, 7) == 1);
	assert_true(isnan(mann_whitney_p(same, 0, same, 7)));
}

// A bootstrap's ends are themselves drawn: ours of 2,000 samples against SciPy's of 100,000, to a share of the width.
static void intervals_are_scipys(void **state UNUSED)
{
	for (int i = 0; i < N_GOLDEN; i++) {
		const struct golden *g = &goldens[i];
		struct rng rng = rng_make(1, RNG_CHECK, (uint64_t)i);
		struct ratio r = ratio_of_medians(g->a, g->n_a, g->b, g->n_b, 0, &rng);
		near("ratio", i, r.ratio, g->ratio, 1e-14 * g->ratio);
		near("lo", i, r.lo, g->lo, 0.08 * (g->hi - g->lo));
		near("hi", i, r.hi, g->hi, 0.08 * (g->hi - g->lo));
		if (g->n_a != g->n_b)
			continue;
		r = ratio_of_medians(g->a, g->n_a, g->b, g->n_b, 1, &rng);
		near("paired ratio", i, r.ratio, g->ratio, 1e-14 * g->ratio);
		near("paired lo", i, r.lo, g->paired_lo, 0.08 * (g->paired_hi - g->paired_lo));
		near("paired hi", i, r.hi, g->paired_hi, 0.08 * (g->paired_hi - g->paired_lo));
	}
}

static void outliers_are_flagged_by_their_distance(void **state UNUSED)
{
	for (int i = 0; i < N_GOLDEN; i++) {
		unsigned char flag[MOST];
		const struct golden *g = &goldens[i];
		long n = 0;
		assert_int_equal(outliers(g->a, g->n_a, flag), g->n_outlier);
		for (int k = 0; k < g->n_a; k++)
			n += flag[k];
		assert_int_equal(n, g->n_outlier);
	}
	static const double same[] = {2, 2, 2, 2, 9};
	assert_int_equal(outliers(same, 5, NULL), 0);
	assert_int_equal(outliers(same, 0, NULL), 0);
}

// Timings with a drift that both arms share and noise of their own; b takes `effect` times as long as a.
static void draw(double *a, double *b, int n, double effect, struct rng *rng)
{
	double drift = 0;
	for (int i = 0; i < n; i++) {
		drift += 0.02 * rng_normal(rng);
		a[i] = exp(drift + 0.02 * rng_normal(rng));
		b[i] = effect * exp(drift + 0.02 * rng_normal(rng));
	}
}

static void intervals_hold_what_they_promise(void **state UNUSED)
{
	enum { SETS = 150, N = 25 };
	struct rng rng = rng_make(1, RNG_CHECK, 99);
	double a[N], b[N], paired_width = 0, width = 0;
	int n_held = 0;
	for (int i = 0; i < SETS; i++) {
		draw(a, b, N, 1 / 1.1, &rng);
		const struct ratio paired = ratio_of_medians(a, N, b, N, 1, &rng),
		                   apart = ratio_of_medians(a, N, b, N, 0, &rng);
		n_held += paired.lo <= 1.1 && 1.1 <= paired.hi;
		paired_width += paired.hi - paired.lo;
		width += apart.hi - apart.lo;
	}
	// 95 %, give or take what 150 trials can tell; percentile bootstraps of medians are a little wide.
	if (n_held < 0.9 * SETS)
		fail_msg("%d of %d intervals held the ratio", n_held, SETS);
	assert_true(paired_width < 0.8 * width);
}

enum { TRIALS = 100 };
// How often each verdict is given where the truth is `effect`.
static void judge(int count[4], double effect, int n, double least_effect)
{
	enum { MOST_N = 60 };
	struct rng rng = rng_make(2, RNG_CHECK, (uint64_t)(1000 * effect));
	double a[MOST_N], b[MOST_N];
	memset(count, 0, 4 * sizeof(*count));
	for (int i = 0; i < TRIALS; i++) {
		draw(a, b, n, effect, &rng);
		const struct ratio r = ratio_of_medians(b, n, a, n, 1, &rng);
		count[verdict_of(&r, mann_whitney_p(b, n, a, n), least_effect)]++;
	}
}

static void verdicts_are_rarely_wrong(void **state UNUSED)
{
	int count[4];
	judge(count, 1.0, 40, 0.05);
	assert_true(count[VERDICT_FASTER] + count[VERDICT_SLOWER] <= 2 && count[VERDICT_SAME] >= 80);
	judge(count, 1.25, 40, 0.05);
	assert_true(count[VERDICT_SLOWER] >= 90 && count[VERDICT_FASTER] + count[VERDICT_SAME] == 0);
	judge(count, 0.8, 40, 0.05);
	assert_true(count[VERDICT_FASTER] >= 90 && count[VERDICT_SLOWER] + count[VERDICT_SAME] == 0);
	judge(count, 1.25, 5, 0.05); // too few values for an interval
	assert_true(count[VERDICT_UNKNOWN] == TRIALS);
	// A real but small difference is not told to be more than it is.
	judge(count, 1.02, 60, 0.05);
	assert_true(count[VERDICT_FASTER] + count[VERDICT_SLOWER] == 0);
	assert_string_equal(verdict_name(VERDICT_UNKNOWN), "cannot tell");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(mann_whitney_is_scipys),
	        cmocka_unit_test(intervals_are_scipys),
	        cmocka_unit_test(outliers_are_flagged_by_their_distance),
	        cmocka_unit_test(intervals_hold_what_they_promise),
	        cmocka_unit_test(verdicts_are_rarely_wrong),
	};
	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
