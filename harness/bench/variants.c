// SPDX-License-Identifier: MIT
// A training step of one model with every registered variant, in turns at random. A variant may not cost the
// engine: each has a floor of its own (its products at the best rate of their shapes, its attention at half the FMA
// peak), and must reach the same fraction of it as mha does. Time over FLOPs, both relative to mha, says whether what
// is left out of the arithmetic is left out of the time.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/bench/bench.h"
#include "harness/bench/floor.h"
#include "harness/bench/sample.h"

enum { ROWS_MOST = 48 };
static const double cap_s = 90, warm_s = 0.3, profile_s = 1.5, least_fraction = 0.9, most_time = 1.1;

// Settings worth a row; a registered variant that is not here gets one with its defaults. mha is the first.
static const struct workload_variant rows[] = {
        {"mha", "", ""},
        {"mha", "", "position=rope"},
        {"mha", "m1=2", ""},
        {"gqa", "", "n_kv_head=2"},
        {"mqa", "", "n_kv_head=1"},
        {"thin_keys", "d_select=64", ""},
        {"thin_keys", "d_select=64", "n_kv_head=2"},
        {"shared_kv", "", ""},
        {"shared_kv", "", "n_kv_head=2"},
        {"shared_kv", "", "position=rope"},
        {"shared_kv", "plus=true", ""},
        {"shared_qk", "", ""},
        {"shared_qk", "plus=true", ""},
        {"shared_qkv", "", ""},
        {"shared_qkv", "plus=true", ""},
        {"keyless", "m1=2 routing=full", ""},
        {"keyless", "m1=2 routing=per_head", ""},
        {"keyless", "m1=2 m2=2 relu=both", ""},
        {"keyless", "m1=2 m2=2 d_latent=64", ""},
        {"mla", "d_latent=64", ""},
        {"mla", "d_latent=64 d_rope=16", "position=rope"},
        {"mla", "d_latent=64 rope=up_projected", "position=rope"},
        {"key_channels", "d_keep=16", ""},
        {"null", "", ""},
};

struct row {
	struct workload_variant variant;
	struct workload workload;
	struct step_cost cost;
	struct floor floor;
	struct stepper stepper;
	struct arena *step; // of all rows: none needs what another one left
};

static void run_step(void *row)
{
	struct row *r = row;
	arena_reset(r->step);
	stepper_run(&r->stepper);
}

static int is_listed(const char *name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (!strcmp(rows[i].name, name))
			return 1;
	return 0;
}

// 1 when the row can be run; otherwise says why not.
static int prepare(struct row *row, const char *model, const struct workload_variant *variant, struct bench *bench)
{
	struct err err;
	err_clear(&err);
	row->variant = *variant;
	if (!workload_init(&row->workload, model, variant, &bench->arena, &err))
		return 1;
	printf("  %s %s %s: left out: %s\n", variant->name, variant->options, variant->model_options, err.message);
	return 0;
}

static int list_rows(struct row *row, const char *model, struct bench *bench)
{
	int n = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		n += variant_find(rows[i].name) && prepare(&row[n], model, &rows[i], bench);
	for (int i = 0; variant_list[i]; i++) {
		const struct workload_variant variant = {variant_list[i]->name, "", ""};
		if (n < ROWS_MOST && !is_listed(variant.name))
			n += prepare(&row[n], model, &variant, bench);
	}
	return n;
}

static double flops(const struct row *r)
{
	return r->cost.forward.flops + r->cost.backward.flops;
}

// A ratio, known to lie between two values, against a target: beside a neighbour it may be neither met nor missed.
static const char *verdict(double lo, double hi, double least)
{
	return lo >= least ? "met" : hi < least ? "missed" : "open";
}

static void print_row(
        const struct row *r, const struct arm *arm, const struct row *mha, const struct arm *mha_arm, double peak)
{
	char name[120];
	snprintf(name, sizeof(name), "%s%s%s%s%s", r->variant.name, *r->variant.options ? " " : "", r->variant.options,
	        *r->variant.model_options ? " " : "", r->variant.model_options);
	const double floor_s = floor_step_s(&r->floor, peak), work = flops(r) / flops(mha);
	const double floors = floor_s / floor_step_s(&mha->floor, peak);
	// Time over mha's: by medians, and by both ends of both intervals.
	const double time = arm->median / mha_arm->median;
	const double time_lo = r == mha ? 1 : arm->lo / mha_arm->hi, time_hi = r == mha ? 1 : arm->hi / mha_arm->lo;
	printf("  %-40s %8.1f %8.1f [%.1f, %.1f] %8.2f   %.2f  %5.2f %-6s  %5.2f %5.2f  %5.2f %s\n", name,
	        arm->sample[0] * 1e3, arm->median * 1e3, arm->lo * 1e3, arm->hi * 1e3, flops(r) / 1e9,
	        floor_s / arm->median, floors / time, verdict(floors / time_hi, floors / time_lo, least_fraction), time,
	        work, time / work, verdict(work / time_hi, work / time_lo, 1 / most_time));
}

static void print_outside(struct row *r)
{
	struct shares shares;
	r->stepper.trainer.tape.step = &r->stepper.trainer.work.step; // which it resets itself
	stepper_profile(&shares, &r->stepper, profile_s);
	printf("  outside of kernels, %s: %.3f ms of %.1f a step (%.2f %%)\n", r->variant.name, shares.rest_s * 1e3,
	        shares.total_s * 1e3, 100 * shares.rest_s / shares.total_s);
}

int bench_variants(struct bench *bench, const char *model, struct err *err)
{
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct row *row = arena_zalloc(&bench->arena, ROWS_MOST * sizeof(*row));
	struct arm *arm = arena_zalloc(&bench->arena, (ROWS_MOST + 1) * sizeof(*arm));
	struct floor_memory *memory = arena_zalloc(&bench->arena, sizeof(*memory));
	struct arena step;
	printf("\ntraining step of the %s model with each variant, %d thread%s\n", model, bench->n_thread,
	        bench->n_thread > 1 ? "s" : "");
	const int n = list_rows(row, model, bench);
	if (!n || strcmp(row[0].variant.name, "mha") != 0)
		return err_set(err, "bench: variants are measured against mha, which does not run here");
	arena_init(&step, 64 << 20);
	for (int i = 0; i < n; i++) {
		struct row *r = &row[i];
		r->step = &step;
		r->cost = trainer_count(&r->workload.setup, r->workload.batch, 0);
		floor_measure(&r->floor, memory, &r->workload, bench->n_thread, &bench->rng);
		stepper_init(&r->stepper, &r->workload, bench->n_thread);
		r->stepper.trainer.tape.step = &step;
		arm[i].run = run_step;
		arm[i].arg = r;
	}
	bench_fma_arm(&arm[n], &bench->n_thread);
	sample_arms(arm, n + 1, warm_s, cap_s, &bench->rng);
	printf("  floor: fraction of the rate of the row's own floor, and that over mha's (target %.1f); time and "
	       "FLOPs "
	       "over mha's;\n  time/FLOP: one over the other (target %.1f); open: the intervals do not tell. n %ld a "
	       "row.\n",
	        least_fraction, most_time, arm[0].n);
	printf("  %-40s %8s %8s %16s %8s  %s  %s %11s %5s  %s\n", "variant", "least ms", "median", "", "GFLOP", "floor",
	        "of mha's", "time", "FLOPs", "time/FLOP");
	for (int i = 0; i < n; i++)
		print_row(&row[i], &arm[i], &row[0], &arm[0], bench_fma_rate(&arm[n]));
	for (int i = 0; i < n; i++) {
		if (i == 0 || !strcmp(row[i].variant.name, "null"))
			print_outside(&row[i]);
		trainer_release(&row[i].stepper.trainer);
	}
	arena_release(&step);
	arena_rewind(&bench->arena, mark);
	return 0;
}
