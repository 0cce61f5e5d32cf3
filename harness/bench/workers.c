// SPDX-License-Identifier: MIT
// One worker against as many as there are processors: each trains the small model on one thread, as `--jobs` does.
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/base/stats.h"
#include "harness/bench/bench.h"
#include "harness/bench/workload.h"

enum { ROUNDS = 7, STEPS = 60, WARM_STEPS = 5 };

// A worker tells when it is warm, waits until everybody is, and trains.
static void work(const struct workload *w, int ready, int start)
{
	struct stepper s;
	char byte = 0;
	stepper_init(&s, w, 1);
	for (int i = 0; i < WARM_STEPS; i++)
		stepper_run(&s);
	if (write(ready, &byte, 1) != 1 || read(start, &byte, 1) < 0)
		_exit(1);
	for (int i = 0; i < STEPS; i++)
		stepper_run(&s);
	_exit(0);
}

// Seconds from the common start to the end of the last worker.
static int time_workers(double *seconds, const struct workload *w, int n, struct err *err)
{
	int ready[2], start[2], n_forked = 0, n_ready = 0, n_good = 0, status;
	char byte;
	if (pipe(ready) || pipe(start))
		return err_fault(err, "bench: workers: no pipe (too many open files?)");
	fflush(stdout);
	for (; n_forked < n; n_forked++) {
		pid_t child = fork();
		if (child < 0)
			break;
		if (child == 0) {
			close(start[1]);
			work(w, ready[1], start[0]);
		}
	}
	close(ready[1]);
	close(start[0]);
	while (n_ready < n_forked && read(ready[0], &byte, 1) == 1)
		n_ready++;
	const double from = clock_s();
	close(start[1]); // what all of them wait for
	for (int i = 0; i < n_forked; i++)
		n_good += wait(&status) > 0 && status == 0;
	*seconds = clock_s() - from;
	close(ready[0]);
	return n_good == n ? 0 : err_fault(err, "bench: workers: %d of %d finished", n_good, n);
}

int bench_workers(struct bench *bench, struct err *err)
{
	struct workload w;
	double one[ROUNDS], many[ROUNDS], ratio[ROUNDS];
	if (workload_init(&w, "small", NULL, &bench->arena, err))
		return -1;
	for (int round = 0; round < ROUNDS; round++) {
		const int swap = (int)rng_below(&bench->rng, 2);
		for (int i = 0; i < 2; i++) {
			const int is_one = i == swap;
			if (time_workers(is_one ? &one[round] : &many[round], &w, is_one ? 1 : bench->n_thread, err))
				return -1;
		}
		ratio[round] = bench->n_thread * one[round] / many[round];
	}
	double lo, hi;
	const double median = median_of(ratio, ROUNDS);
	median_interval(ratio, ROUNDS, &lo, &hi);
	printf("%d single-threaded workers against one, small model, %d steps each: %.2fx [%.2f, %.2f] the runs a "
	       "second, "
	       "n %d",
	        bench->n_thread, STEPS, median, lo, hi, ROUNDS);
	bench_print_target(median, 0.95 * bench->n_thread, "x");
	return 0;
}
