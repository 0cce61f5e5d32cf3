// SPDX-License-Identifier: MIT
#include "harness/base/verdict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/err.h"
#include "harness/base/stats.h"

enum { RESAMPLES = 2000, EXACT_MOST = 20, INTERVAL_LEAST = 6 };

static void check_size(long n)
{
	if (n > VERDICT_MOST)
		BUG("%ld values, more than %d", n, VERDICT_MOST);
}

// --- bootstrap --------------------------------------------------------------------------------------------------

// The rank-th smallest; x is reordered (Hoare's selection, O(n)).
static double selected(double *x, long n, long rank)
{
	long lo = 0, hi = n - 1;
	while (lo < hi) {
		const double pivot = x[lo + (hi - lo) / 2];
		long i = lo, j = hi;
		while (i <= j) {
			while (x[i] < pivot)
				i++;
			while (x[j] > pivot)
				j--;
			if (i <= j) {
				const double t = x[i];
				x[i++] = x[j];
				x[j--] = t;
			}
		}
		if (rank <= j)
			hi = j;
		else if (rank >= i)
			lo = i;
		else
			break;
	}
	return x[rank];
}

static double median_in(double *x, long n)
{
	const double upper = selected(x, n, n / 2);
	if (n % 2)
		return upper;
	double lower = x[0]; // what lies before the upper one is not above it
	for (long i = 1; i < n / 2; i++)
		lower = x[i] > lower ? x[i] : lower;
	return 0.5 * (lower + upper);
}

static double median_copy(const double *x, long n)
{
	double copy[VERDICT_MOST];
	memcpy(copy, x, (size_t)n * sizeof(*x));
	return median_in(copy, n);
}

// Linear interpolation between order statistics, as numpy.percentile has it.
static double quantile_of_sorted(const double *x, long n, double p)
{
	const double at = p * (double)(n - 1);
	const long i = (long)at;
	return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[n - 1];
}

struct ratio ratio_of_medians(const double *a, long n_a, const double *b, long n_b, int is_paired, struct rng *rng)
{
	double x[VERDICT_MOST], y[VERDICT_MOST], ratio[RESAMPLES];
	check_size(n_a);
	check_size(n_b);
	if (is_paired && n_a != n_b)
		BUG("%ld and %ld values are no pairs", n_a, n_b);
	if (n_a < 1 || n_b < 1)
		return (struct ratio){NAN, NAN, NAN};
	struct ratio r = {median_copy(a, n_a) / median_copy(b, n_b), NAN, NAN};
	if (n_a < INTERVAL_LEAST || n_b < INTERVAL_LEAST)
		return r;
	for (int k = 0; k < RESAMPLES; k++) {
		for (long i = 0; i < n_a; i++) {
			const uint32_t at = rng_below(rng, (uint32_t)n_a);
			x[i] = a[at];
			if (is_paired)
				y[i] = b[at];
		}
		for (long i = 0; i < n_b && !is_paired; i++)
			y[i] = b[rng_below(rng, (uint32_t)n_b)];
		ratio[k] = median_in(x, n_a) / median_in(y, n_b);
	}
	median_of(ratio, RESAMPLES); // sorts
	r.lo = quantile_of_sorted(ratio, RESAMPLES, 0.025);
	r.hi = quantile_of_sorted(ratio, RESAMPLES, 0.975);
	return r;
}

// --- Mann-Whitney ------------------------------------------------------------------------------------------------

struct ranked {
	double value;
	int is_a;
};

static int by_value(const void *x, const void *y)
{
	const double a = ((const struct ranked *)x)->value, b = ((const struct ranked *)y)->value;
	return (a > b) - (a < b);
}

// P(U >= u) for n and m values without ties: the number of ways to choose n of n + m ranks, by their sum.
static double exact_tail(long n, long m, double u)
{
	static double ways[EXACT_MOST + 1][EXACT_MOST * EXACT_MOST + 1]; // [values chosen][U]
	memset(ways, 0, sizeof(ways));
	ways[0][0] = 1;
	double total = 1;
	// Each of the n + m places in order goes to a or to b; a's value number k stands after i - k of b.
	for (long i = 0; i < n + m; i++)
		for (long k = i < n - 1 ? i : n - 1; k >= 0; k--) {
			const long before = i - k;
			if (before > m)
				continue;
			for (long s = n * m - before; s >= 0; s--)
				ways[k + 1][s + before] += ways[k][s];
		}
	double tail = 0;
	total = 0;
	for (long s = 0; s <= n * m; s++) {
		total += ways[n][s];
		tail += (double)s >= u ? ways[n][s] : 0;
	}
	return tail / total;
}

double mann_whitney_p(const double *a, long n_a, const double *b, long n_b)
{
	struct ranked all[2 * VERDICT_MOST];
	check_size(n_a);
	check_size(n_b);
	const long n = n_a + n_b;
	if (n_a < 1 || n_b < 1)
		return NAN;
	for (long i = 0; i < n; i++)
		all[i] = (struct ranked){i < n_a ? a[i] : b[i - n_a], i < n_a};
	qsort(all, (size_t)n, sizeof(*all), by_value);
	double rank_sum = 0, ties = 0; // of a; sum of t^3 - t
	for (long from = 0, to; from < n; from = to) {
		for (to = from; to < n && all[to].value == all[from].value; to++)
			;
		const double t = (double)(to - from), rank = 0.5 * (double)(from + 1 + to);
		ties += t * t * t - t;
		for (long i = from; i < to; i++)
			rank_sum += all[i].is_a ? rank : 0;
	}
	const double u_a = rank_sum - 0.5 * (double)n_a * (double)(n_a + 1), pairs = (double)n_a * (double)n_b,
	             u = u_a > pairs - u_a ? u_a : pairs - u_a;
	if (ties == 0 && n_a <= EXACT_MOST && n_b <= EXACT_MOST)
		return fmin(1, 2 * exact_tail(n_a, n_b, u));
	const double variance = pairs / 12 * ((double)(n + 1) - ties / ((double)n * (double)(n - 1)));
	if (variance <= 0)
		return 1;
	return fmin(1, erfc((u - 0.5 * pairs - 0.5) / sqrt(2 * variance)));
}

// --- verdict -----------------------------------------------------------------------------------------------------

const char *verdict_name(enum verdict verdict)
{
	static const char *const name[] = {"faster", "slower", "same", "cannot tell"};
	return name[verdict];
}

enum verdict verdict_of(const struct ratio *r, double p, double least_effect)
{
	const double most = 1 + least_effect, least = 1 / most;
	if (r->lo >= least && r->hi <= most)
		return VERDICT_SAME;
	if (p < 0.05 && r->ratio <= least && r->hi < 1)
		return VERDICT_FASTER;
	if (p < 0.05 && r->ratio >= most && r->lo > 1)
		return VERDICT_SLOWER;
	return VERDICT_UNKNOWN;
}

// --- outliers ----------------------------------------------------------------------------------------------------

long outliers(const double *value, long n, unsigned char *flag)
{
	double distance[VERDICT_MOST];
	check_size(n);
	if (n < 1)
		return 0;
	const double median = median_copy(value, n);
	for (long i = 0; i < n; i++)
		distance[i] = fabs(value[i] - median);
	const double deviation = 1.482602218505602 * median_in(distance, n); // of a normal distribution
	long found = 0;
	for (long i = 0; i < n; i++) {
		const int is_far = deviation > 0 && fabs(value[i] - median) > 3.5 * deviation;
		found += is_far;
		if (flag)
			flag[i] = (unsigned char)is_far;
	}
	return found;
}
