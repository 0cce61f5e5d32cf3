// SPDX-License-Identifier: MIT
#include "harness/base/stats.h"

#include <math.h>
#include <stdlib.h>

void moments_add(struct moments *m, double value)
{
	if (m->n == 0 || value < m->least)
		m->least = value;
	if (m->n == 0 || value > m->most)
		m->most = value;
	m->n++;
	double delta = value - m->mean;
	m->mean += delta / (double)m->n;
	m->m2 += delta * (value - m->mean);
}

double moments_variance(const struct moments *m)
{
	return m->n < 2 ? NAN : m->m2 / (double)(m->n - 1);
}

// Continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8) by Lentz's method.
static double beta_fraction(double a, double b, double x)
{
	const double tiny = 1e-300;
	double c = 1, d = 1 - (a + b) * x / (a + 1);
	d = 1 / (fabs(d) < tiny ? tiny : d);
	double h = d;
	for (int m = 1; m <= 10000; m++) {
		double step = 1;
		for (int odd = 0; odd < 2; odd++) {
			double term = odd ? -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
			                  : m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
			d = 1 + term * d;
			d = 1 / (fabs(d) < tiny ? tiny : d);
			c = 1 + term / c;
			c = fabs(c) < tiny ? tiny : c;
			step = c * d;
			h *= step;
		}
		if (fabs(step - 1) < 1e-16)
			break;
	}
	return h;
}

static double beta_regularised(double a, double b, double x)
{
	if (x <= 0)
		return 0;
	if (x >= 1)
		return 1;
	double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
	// The fraction converges fast on one side of the mean; the other side is its mirror image.
	if (x < (a + 1) / (a + b + 2))
		return front * beta_fraction(a, b, x) / a;
	return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

// P(T > t) for t >= 0. Taken from whichever form of the beta keeps its digits: small t cancels in df / (df + t^2).
static double student_tail(double t, double df)
{
	double t2 = t * t;
	if (t2 < df)
		return 0.5 - 0.5 * beta_regularised(0.5, df / 2, t2 / (df + t2));
	return 0.5 * beta_regularised(df / 2, 0.5, df / (df + t2));
}

double student_quantile(double p, double df)
{
	if (!(p > 0 && p < 1 && df > 0))
		return NAN;
	if (p == 0.5)
		return 0;
	double tail = p < 0.5 ? p : 1 - p;
	double lo = 0, hi = 1;
	while (student_tail(hi, df) > tail && hi < 1e300)
		hi *= 2;
	for (int i = 0; i < 200 && lo < hi; i++) {
		double middle = lo + (hi - lo) / 2;
		if (middle == lo || middle == hi)
			break;
		if (student_tail(middle, df) > tail)
			lo = middle;
		else
			hi = middle;
	}
	return p < 0.5 ? -hi : hi;
}

double mean_half_width(const struct moments *m)
{
	if (m->n < 2)
		return NAN;
	return student_quantile(0.975, (double)(m->n - 1)) * sqrt(moments_variance(m) / (double)m->n);
}

struct line_fit line_fit(const double *x, const double *y, long n)
{
	struct line_fit fit = {n, NAN, NAN, NAN, NAN, NAN};
	double x_mean = 0, y_mean = 0, sxx = 0, sxy = 0, syy = 0;
	for (long i = 0; i < n; i++) {
		x_mean += x[i] / (double)n;
		y_mean += y[i] / (double)n;
	}
	for (long i = 0; i < n; i++) {
		sxx += (x[i] - x_mean) * (x[i] - x_mean);
		sxy += (x[i] - x_mean) * (y[i] - y_mean);
		syy += (y[i] - y_mean) * (y[i] - y_mean);
	}
	if (n < 2 || sxx == 0)
		return fit;
	fit.slope = sxy / sxx;
	fit.intercept = y_mean - fit.slope * x_mean;
	double residual = 0;
	for (long i = 0; i < n; i++) {
		double e = y[i] - fit.intercept - fit.slope * x[i];
		residual += e * e;
	}
	fit.r2 = syy > 0 ? 1 - residual / syy : NAN;
	if (n < 3)
		return fit;
	double df = (double)(n - 2), t = student_quantile(0.975, df), variance = residual / df;
	fit.slope_half_width = t * sqrt(variance / sxx);
	fit.intercept_half_width = t * sqrt(variance * (1 / (double)n + x_mean * x_mean / sxx));
	return fit;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double median_of(double *values, long n)
{
	if (n < 1)
		return NAN;
	qsort(values, (size_t)n, sizeof(*values), compare);
	return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

void median_interval(const double *sorted, long n, double *lo, double *hi)
{
	*lo = *hi = NAN;
	// The k-th smallest and k-th largest enclose the median with probability 1 - 2 P(Binomial(n, 1/2) < k).
	double log_term = -(double)n * log(2.0), below = 0;
	long k = 0;
	for (long i = 0; i < n; i++) { // below = P(Binomial < i + 1), log_term = log P(Binomial = i)
		below += exp(log_term);
		if (below > 0.025)
			break;
		k = i + 1;
		log_term += log((double)(n - i)) - log((double)(i + 1));
	}
	if (k < 1)
		return;
	*lo = sorted[k - 1];
	*hi = sorted[n - k];
}
