// SPDX-License-Identifier: MIT
// Timing of several things against each other: arms are interleaved at random, so a neighbour's load or a change of the
// clock hits all of them alike, and every sample is kept.
#ifndef KVLAB_BENCH_SAMPLE_H
#define KVLAB_BENCH_SAMPLE_H
#include "harness/base/rng.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { SAMPLES_MOST = 2000 };

struct arm {
	void (*run)(void *);
	void *arg;
	int calls; // per sample, so that one lasts about a millisecond; set by sample_arms
	long n;
	double sample[SAMPLES_MOST]; // seconds a call, sorted at the end
	double median, lo, hi;       // distribution-free 95 % interval of the median; NAN below six samples
	int is_reached;              // the interval lies within 2 % of the median
	// Optional: what the machine does just then (bytes a second, say), asked right before and after each sample;
	// worth is a sample's seconds times the mean of both answers: what could have been done in its time.
	double (*yardstick)(void *);
	void *yardstick_arg;
	double worth[SAMPLES_MOST]; // sorted at the end
	double worth_median, worth_lo, worth_hi;
};

// Warms every arm up for warm_s seconds, then takes rounds until each interval is within 2 % or cap_s is over; at least
// six rounds, so that an interval exists.
void sample_arms(struct arm *arm, int n_arm, double warm_s, double cap_s, struct rng *rng);

#ifdef __cplusplus
}
#endif
#endif
