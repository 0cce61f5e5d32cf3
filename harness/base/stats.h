// SPDX-License-Identifier: MIT
// Small statistics: one pass moments (Welford), intervals, least squares. Tested against SciPy goldens.
#ifndef KVLAB_BASE_STATS_H
#define KVLAB_BASE_STATS_H
#ifdef __cplusplus
extern "C" {
#endif

struct moments {
	long n;
	double mean, m2; // m2: sum of squared deviations from the running mean
	double least, most;
};

void moments_add(struct moments *m, double value);
double moments_variance(const struct moments *m); // unbiased; NAN below two values

// Quantile p of Student's t with df degrees of freedom (df > 0, not necessarily whole).
double student_quantile(double p, double df);
// Half width of the 95 % interval of a mean over n values; NAN below two.
double mean_half_width(const struct moments *m);

// y = intercept + slope * x by least squares, with 95 % half widths. NAN widths below three points.
struct line_fit {
	long n;
	double slope, intercept, slope_half_width, intercept_half_width, r2;
};
struct line_fit line_fit(const double *x, const double *y, long n);

// Sorts values in place and returns their median; NAN when n is 0.
double median_of(double *values, long n);
// Distribution-free 95 % interval of the median from order statistics (binomial); sorted input. Below six values
// no such interval exists: lo and hi become NAN.
void median_interval(const double *sorted, long n, double *lo, double *hi);

#ifdef __cplusplus
}
#endif
#endif
