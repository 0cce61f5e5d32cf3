// SPDX-License-Identifier: MIT
#include <math.h>
#include <stdio.h>

#include "harness/base/progress.h"
#include "harness/bench/bench.h"
#include "harness/bench/floor.h"
#include "harness/bench/sample.h"

static const double step_cap_s = 14, profile_s = 1.5;

static void print_cell(double seconds, double total)
{
	printf("  %10.3f ms %5.1f %%", seconds * 1e3, 100 * seconds / total);
}

static void print_profile(const struct shares *shares, const int *threads)
{
	printf("  where a step's time goes:");
	for (int i = 0; i < 2; i++)
		printf("%s%d thread%s", i ? "          " : "   ", threads[i], threads[i] > 1 ? "s" : "");
	for (int kind = 0; kind <= PROFILE_KINDS; kind++) {
		const int is_rest = kind == PROFILE_KINDS;
		if (!is_rest && shares[0].spent_s[kind] == 0)
			continue;
		printf("\n    %-19s", is_rest ? "rest" : profile_name[kind]);
		for (int i = 0; i < 2; i++)
			print_cell(is_rest ? shares[i].rest_s : shares[i].spent_s[kind], shares[i].total_s);
	}
	printf("\n");
}

static void print_floor(const struct floor *floor, int n_thread, double fma_rate)
{
	printf("  floor, %d thread%s: %.3f ms = %d product shapes %.3f ms (%.1f GFLOP/s;", n_thread,
	        n_thread > 1 ? "s" : "", floor_step_s(floor, fma_rate) * 1e3, floor->n_product,
	        floor->gemm_best_s * 1e3, floor->gemm_flops / floor->gemm_best_s / 1e9);
	for (int way = 0; way < FLOOR_WAYS; way++)
		printf(" %s %.1f%s", floor_way_name[way], floor->gemm_flops / floor->gemm_s[way] / 1e9,
		        way + 1 < FLOOR_WAYS ? "," : ")");
	printf(" + attention %.3f ms\n", (floor_step_s(floor, fma_rate) - floor->gemm_best_s) * 1e3);
}

int bench_step(struct bench *bench, const char *model, struct err *err)
{
	int threads[2] = {1, bench->n_thread};
	struct workload w;
	struct stepper stepper[2];
	struct shares shares[2];
	struct floor floor[2];
	const struct arena_mark mark = arena_mark(&bench->arena);
	if (workload_init(&w, model, NULL, &bench->arena, err))
		return -1;
	struct arm *arm = arena_zalloc(&bench->arena, 4 * sizeof(*arm)), *step = arm, *fma = arm + 2;
	for (int i = 0; i < 2; i++) {
		floor_measure(&floor[i], NULL, &w, threads[i], &bench->rng);
		stepper_init(&stepper[i], &w, threads[i]);
		step[i].run = stepper_run;
		step[i].arg = &stepper[i];
		bench_fma_arm(&fma[i], &threads[i]);
	}
	sample_arms(arm, 4, 0.5, step_cap_s, &bench->rng);
	const struct step_cost cost = trainer_count(&w.setup, w.batch, 0);
	const double flops = cost.forward.flops + cost.backward.flops;
	printf("\ntraining step, %s: %s\n", w.name, w.text);
	printf("  %ld parameters, %.4g GFLOP needed a step; floor = each product at the best rate measured for its "
	       "shape\n"
	       "  + attention's FLOPs at 0.5 of the FMA peak\n",
	        cost.n_param, flops / 1e9);
	for (int i = 0; i < 2; i++) {
		const double peak = bench_fma_rate(&fma[i]), share = floor_step_s(&floor[i], peak) / step[i].median;
		const double of_sgemm = floor_sgemm_step_s(&floor[i], peak) / step[i].median;
		const double tokens = w.batch * (double)w.setup.task->shape(w.setup.task_config).T;
		printf("  %d thread%s  %8.3f ms [%.3f, %.3f] least %.3f n %ld%s   %6.1f steps/s   %.4g tokens/s   "
		       "%6.1f GFLOP/s   %.2f of FMA peak   %.2f of the floor's rate, %.2f of sgemm's floor",
		        threads[i], threads[i] > 1 ? "s" : " ", step[i].median * 1e3, step[i].lo * 1e3,
		        step[i].hi * 1e3, step[i].sample[0] * 1e3, step[i].n,
		        step[i].is_reached ? "" : " (2 % interval not reached)", 1 / step[i].median,
		        tokens / step[i].median, flops / step[i].median / 1e9, flops / step[i].median / peak, share,
		        of_sgemm);
		bench_print_target(w.is_of_sgemm ? of_sgemm : share, w.target, "");
		print_floor(&floor[i], threads[i], peak);
	}
	const double speedup = step[0].median / step[1].median;
	printf("  %d threads over one: %.2fx", bench->n_thread, speedup);
	bench_print_target(speedup, 0.9 * bench->n_thread, "x");
	for (int i = 0; i < 2; i++) {
		stepper_profile(&shares[i], &stepper[i], profile_s);
		trainer_release(&stepper[i].trainer);
	}
	print_profile(shares, threads);
	arena_rewind(&bench->arena, mark);
	return 0;
}

int bench_steps_only(struct bench *bench, const char *model, double seconds, struct err *err)
{
	struct workload w;
	struct stepper s;
	if (workload_init(&w, model, NULL, &bench->arena, err))
		return -1;
	stepper_init(&s, &w, bench->n_thread);
	// A tenth of the time warms up.
	for (const double start = clock_s(); clock_s() - start < 0.1 * seconds;)
		stepper_run(&s);
	const double start = clock_s();
	do {
		const double from = clock_s();
		stepper_run(&s);
		printf("%.9f\n", clock_s() - from);
	} while (clock_s() - start < 0.9 * seconds);
	trainer_release(&s.trainer);
	return 0;
}
