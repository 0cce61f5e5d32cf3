// SPDX-License-Identifier: MIT
#include "harness/bench/sample.h"

#include <string.h>

#include "harness/base/progress.h"
#include "harness/base/stats.h"

enum { ARMS_MOST = 64, ROUNDS_LEAST = 6, CHECK_EVERY = 4 };
static const double shortest_s = 1e-3, width = 0.02;

static double run_calls(const struct arm *arm)
{
	const double start = clock_s();
	for (int i = 0; i < arm->calls; i++)
		arm->run(arm->arg);
	return (clock_s() - start) / arm->calls;
}

static void take_sample(struct arm *arm)
{
	double rate = arm->yardstick ? arm->yardstick(arm->yardstick_arg) : 0;
	arm->sample[arm->n] = run_calls(arm);
	rate += arm->yardstick ? arm->yardstick(arm->yardstick_arg) : 0;
	arm->worth[arm->n] = arm->sample[arm->n] * rate / 2;
	arm->n++;
}

static void warm(struct arm *arm, double warm_s)
{
	const double start = clock_s();
	double least = run_calls(arm);
	while (clock_s() - start < warm_s) {
		const double s = run_calls(arm);
		least = s < least ? s : least;
	}
	arm->calls = least < shortest_s ? (int)(shortest_s / least) + 1 : 1;
}

static void summarise(struct arm *arm)
{
	double sorted[SAMPLES_MOST];
	memcpy(sorted, arm->sample, (size_t)arm->n * sizeof(double));
	arm->median = median_of(sorted, arm->n);
	median_interval(sorted, arm->n, &arm->lo, &arm->hi);
	arm->is_reached = arm->hi - arm->median <= width * arm->median && arm->median - arm->lo <= width * arm->median;
}

void sample_arms(struct arm *arm, int n_arm, double warm_s, double cap_s, struct rng *rng)
{
	int order[ARMS_MOST], scratch[ARMS_MOST];
	for (int a = 0; a < n_arm; a++) {
		arm[a].calls = 1;
		arm[a].n = 0;
		warm(&arm[a], warm_s);
	}
	const double start = clock_s();
	for (long round = 0; round < SAMPLES_MOST; round++) {
		if (round >= ROUNDS_LEAST && round % CHECK_EVERY == 0) {
			int n_reached = 0;
			for (int a = 0; a < n_arm; a++) {
				summarise(&arm[a]);
				n_reached += arm[a].is_reached;
			}
			if (n_reached == n_arm)
				break;
		}
		if (round >= ROUNDS_LEAST && clock_s() - start > cap_s)
			break;
		rng_sample(rng, order, n_arm, n_arm, scratch);
		for (int i = 0; i < n_arm; i++)
			take_sample(&arm[order[i]]);
	}
	for (int a = 0; a < n_arm; a++) {
		summarise(&arm[a]);
		median_of(arm[a].sample, arm[a].n);
		arm[a].worth_median = median_of(arm[a].worth, arm[a].n);
		median_interval(arm[a].worth, arm[a].n, &arm[a].worth_lo, &arm[a].worth_hi);
	}
}
