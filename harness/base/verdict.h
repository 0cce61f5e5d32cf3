// SPDX-License-Identifier: MIT
// Two sets of timings (or of anything of which less is better) against each other: ratio of medians with a bootstrap
// interval, Mann-Whitney's test, and a verdict that asks for a least effect. Tested against SciPy.
#ifndef KVLAB_BASE_VERDICT_H
#define KVLAB_BASE_VERDICT_H
#include "harness/base/rng.h"
#ifdef __cplusplus
extern "C" {
#endif

// Sets beyond this are refused by BUG(): what is measured here is hundreds of samples.
enum { VERDICT_MOST = 4096 };

// Median of a over median of b, with the percentile interval (95 %) of a bootstrap. Unpaired: both are resampled apart.
// Paired (n_a = n_b, taken in the same rounds): rounds are resampled, so that a drift of the machine, which hits both,
// does not widen the interval. NAN lo and hi below six values on a side.
struct ratio {
	double ratio, lo, hi;
};
struct ratio ratio_of_medians(const double *a, long n_a, const double *b, long n_b, int is_paired, struct rng *rng);

// Two-sided p of Mann and Whitney's U: exact without ties up to 20 values a side, otherwise the normal approximation
// with corrections for ties and continuity. 1 when all values are the same; NAN when a side is empty.
double mann_whitney_p(const double *a, long n_a, const double *b, long n_b);

// Times a against times b. Faster and slower: the medians differ by least_effect or more, the interval of their ratio
// leaves 1 out, and the test finds p < 0.05. Same: the interval lies within the least effect. Otherwise it cannot be
// told.
enum verdict { VERDICT_FASTER, VERDICT_SLOWER, VERDICT_SAME, VERDICT_UNKNOWN };
// "faster", "slower", "same", "cannot tell"
const char *verdict_name(enum verdict verdict);
enum verdict verdict_of(const struct ratio *ratio, double p, double least_effect);

// Values far from the median: modified z-score |x - median| / (1.4826 MAD) above 3.5 (Iglewicz and Hoaglin). They are
// kept, only counted; flag (n), unless NULL, gets 1 for each. Without spread (MAD 0) nothing is flagged.
long outliers(const double *value, long n, unsigned char *flag);

#ifdef __cplusplus
}
#endif
#endif
