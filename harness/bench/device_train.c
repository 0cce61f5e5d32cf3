// SPDX-License-Identifier: MIT
// Training steps on a device against the product peak that is probed beside every sample. One model is there at a time.
// The FLOPs of a model: 2 for each multiply-add of the products of its forward pass (linear maps, head, scores and
// values of visible positions), three times that for a step; nothing is counted that is computed twice.
#include <stdio.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/bench/device.h"
#include "harness/bench/sample.h"
#include "harness/bench/workload.h"
#include "harness/num/device.h"

static const double warm_s = 0.5, cap_s = 2, share_target = 0.5, within = 0.05, memory_target = 1.1, gib = 1073741824,
                    of_memory = 0.92; // a device keeps some for itself

// The first of a model is what its others are held to.
static const struct row {
	const char *model;
	struct workload_variant variant;
} rows[] = {
        {DEVICE_TRIAL, {"mha", "", ""}},
        {DEVICE_TRIAL, {"thin_keys", "d_select_per_head=2", ""}},
        {DEVICE_TRIAL, {"shared_kv", "plus=true m=4", ""}},
        {"gpt2-124m", {"mha", "", ""}},
        {"gpt2-124m", {"gqa", "", "n_kv_head=4"}},
        {"gpt2-124m", {"mqa", "", "n_kv_head=1"}},
        {"gpt2-124m", {"thin_keys", "d_select_per_head=16", ""}},
        {"gpt2-124m", {"shared_kv", "", ""}},
        {"gpt2-124m", {"shared_kv", "plus=true m=64", ""}},
        {"gpt2-124m", {"shared_qk", "", ""}},
        {"gpt2-124m", {"shared_qkv", "", ""}},
        {"gpt2-124m", {"keyless", "m1=2 routing=full", ""}},
        {"gpt2-124m", {"mla", "d_latent=256", ""}},
        {"gpt2-124m", {"key_channels", "d_keep=32", ""}},
        {"gpt2-557m", {"mha", "", ""}},
        {"gpt2-557m", {"keyless", "m1=2 routing=full", ""}},
        {"llama-3.2-1b", {"gqa", "", ""}},
};
enum { N_ROW = sizeof(rows) / sizeof(*rows), SEED = 1 };

static int is_wanted(const struct row *row, const char *model)
{
	return model ? !strcmp(row->model, model) : strcmp(row->model, DEVICE_TRIAL) != 0;
}

static int has_model(const char *model, struct err *err)
{
	for (int i = 0; i < N_ROW; i++)
		if (is_wanted(&rows[i], model))
			return 1;
	err_set(err,
	        "bench: option '--model': '%s' is not trained on a device (gpt2-124m, gpt2-557m, llama-3.2-1b or tiny)",
	        model);
	return 0;
}

// The workload's batch, halved until its step fits. Bytes of it.
static double fit_batch(struct workload *w, double available)
{
	for (;; w->batch /= 2) {
		const struct step_cost cost = trainer_count(&w->setup, w->batch, 0);
		const double bytes = trainer_bytes(&cost, 1);
		if (bytes <= of_memory * available || w->batch == 1)
			return bytes;
	}
}

static int begin(struct stepper *s, struct workload *w, const struct row *row, int most_batch, struct bench *bench,
        struct device *d, double *planned, struct err *err)
{
	if (workload_init(w, row->model, &row->variant, &bench->arena, err))
		return -1;
	w->optimizer.clip = 1;
	w->batch = most_batch && most_batch < w->batch ? most_batch : w->batch;
	*planned = fit_batch(w, d->backend->memory->available());
	if (device_check_memory(d->backend, *planned, err))
		return -1;
	s->step = 0;
	return trainer_init_on(
	        &s->trainer, d->backend, &w->setup, &w->optimizer, w->batch, SEED, bench->n_thread, NULL, NULL, err);
}

// Of the first row of a model.
struct reference {
	const char *model, *variant;
	double share;
	int batch;
};

static int measure(struct bench *bench, struct device *d, const struct row *row, struct reference *of, struct err *err)
{
	const struct arena_mark mark = arena_mark(&bench->arena);
	const int is_first = !of->model || strcmp(of->model, row->model) != 0;
	struct workload w;
	struct stepper s;
	double planned;
	struct arm *arm = arena_zalloc(&bench->arena, sizeof(*arm));
	const double before = d->backend->memory->available();
	if (begin(&s, &w, row, is_first ? 0 : of->batch, bench, d, &planned, err))
		return -1;
	const double flops = 6 * trainer_count(&w.setup, w.batch, 0).forward.macs;
	const int T = w.setup.task->shape(w.setup.task_config).T;
	*arm = (struct arm){.run = stepper_run, .arg = &s, .yardstick = device_product_rate, .yardstick_arg = d};
	sample_arms(arm, 1, warm_s, d->is_trial ? 0 : cap_s, &bench->rng);
	const double taken = before - d->backend->memory->available(), share = flops / arm->worth_median;
	if (is_first) {
		*of = (struct reference){row->model, row->variant.name, share, w.batch};
		printf("\ntraining step, bf16, %s: %s; AdamW, clipped\n", w.name, w.text);
		printf("  peak probed beside the samples: %.1f TFLOP/s (a product of %d)\n",
		        arm->worth_median / arm->median / 1e12, d->n);
	}
	printf("  %s%s%s %s  batch %d x %d, %.4g GFLOP  %.3f ms [%.3f, %.3f] n %ld  %.0f tokens/s  %.2f TFLOP/s  %.3f "
	       "[%.3f, %.3f] "
	       "of the "
	       "peak",
	        row->variant.name, *row->variant.options ? " " : "", row->variant.options, row->variant.model_options,
	        w.batch, T, flops / 1e9, arm->median * 1e3, arm->lo * 1e3, arm->hi * 1e3, arm->n,
	        w.batch * T / arm->median, flops / arm->median / 1e12, share, flops / arm->worth_hi,
	        flops / arm->worth_lo);
	if (d->is_trial)
		printf("\n");
	else if (is_first)
		bench_print_target(share, share_target, "");
	else
		printf("   %+.3f of %s's, within %.2f: %s\n", share - of->share, of->variant, within,
		        share >= of->share - within ? "met" : "missed");
	printf("    memory: %.3f GiB taken, %.3f planned (%.2fx; at most %.1fx%s); %s\n", taken / gib, planned / gib,
	        taken / planned, memory_target,
	        d->is_trial                        ? ""
	        : taken <= memory_target * planned ? ": met"
	                                           : ": missed",
	        s.trainer.played.graph ? "captured" : "slot by slot");
	trainer_release(&s.trainer);
	arena_rewind(&bench->arena, mark);
	return 0;
}

// Whether all rows can be: they say so here, not after minutes on a device.
static int check_rows(struct bench *bench, struct err *err)
{
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct workload w;
	int failed = 0;
	for (int i = 0; i < N_ROW && !failed; i++)
		failed = workload_init(&w, rows[i].model, &rows[i].variant, &bench->arena, err);
	arena_rewind(&bench->arena, mark);
	return failed;
}

int bench_device_train(struct bench *bench, struct device *d, const char *model, struct err *err)
{
	struct reference of = {0};
	if (!has_model(model, err) || check_rows(bench, err) || device_take_probes(d, err))
		return -1;
	printf("\nFLOPs of a step: 6 for each multiply-add of the forward pass's products, visible positions alone\n");
	for (int i = 0; i < N_ROW; i++) {
		struct err why = {0};
		if (is_wanted(&rows[i], model) && measure(bench, d, &rows[i], &of, &why))
			printf("  %s %s %s: left out: %s\n", rows[i].model, rows[i].variant.name,
			        rows[i].variant.options, why.message);
	}
	return 0;
}

int bench_device_train_steps(struct bench *bench, struct device *d, const char *model, double seconds, struct err *err)
{
	const struct row *row = NULL;
	struct workload w;
	struct stepper s;
	double planned;
	if (!has_model(model, err))
		return -1;
	for (int i = N_ROW - 1; i >= 0; i--)
		row = is_wanted(&rows[i], model) ? &rows[i] : row;
	if (begin(&s, &w, row, 0, bench, d, &planned, err))
		return -1;
	fprintf(stderr, "batch %d\n", w.batch); // for the peers' bench
	for (const double start = clock_s(); s.step < 3 || clock_s() - start < 0.1 * seconds;)
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
