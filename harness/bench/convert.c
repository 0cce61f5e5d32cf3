// SPDX-License-Identifier: MIT
// Compressing a model of 135M parameters: how long the factoring of all its layers takes, and whether its perplexity is
// measured through the smaller cache as fast as through the whole one.
#include <stdio.h>

#include "harness/base/progress.h"
#include "harness/bench/bench.h"
#include "harness/bench/sample.h"
#include "harness/bench/workload.h"
#include "harness/model/convert.h"
#include "harness/run/perplexity.h"

enum { TOKENS = 257 };
static const double most_s = 20, most_time = 1, cap_s = 10;

struct side {
	struct model *model;
	struct perplexity_config how;
	int ids[TOKENS];
};

static void measure(void *context)
{
	struct side *side = context;
	struct perplexity result;
	struct err err = {0};
	if (perplexity_measure(&result, side->model, side->ids, TOKENS, &side->how, &err))
		BUG("%s", err.message);
}

static void compare(struct bench *bench, struct model *const model[2])
{
	static const struct cache_config f16 = {.k_dtype = DTYPE_F16, .v_dtype = DTYPE_F16};
	struct arm *arm = arena_zalloc(&bench->arena, 2 * sizeof(*arm));
	struct side side[2];
	for (int i = 0; i < 2; i++) {
		side[i] = (struct side){model[i],
		        {.context = TOKENS, .stride = TOKENS, .n_thread = bench->n_thread, .cache = &f16}, {0}};
		for (int t = 0; t < TOKENS; t++)
			side[i].ids[t] = t * 7 % model[i]->config.n_vocab;
		arm[i].run = measure;
		arm[i].arg = &side[i];
	}
	sample_arms(arm, 2, 0.3, cap_s, &bench->rng);
	const double ratio = arm[1].median / arm[0].median;
	printf("  perplexity through the cache, %d tokens  %.0f ms [%.0f, %.0f] n %ld, whole keys %.0f ms [%.0f, %.0f] "
	       "  %.2f "
	       "of their time   target at most %.2f: %s\n",
	        TOKENS - 1, arm[1].median * 1e3, arm[1].lo * 1e3, arm[1].hi * 1e3, arm[1].n, arm[0].median * 1e3,
	        arm[0].lo * 1e3, arm[0].hi * 1e3, ratio, most_time, ratio <= most_time ? "met" : "missed");
}

int bench_convert(struct bench *bench, struct err *err)
{
	struct workload from, to;
	struct arena arena;
	struct model whole, thin;
	const struct arena_mark mark = arena_mark(&bench->arena);
	if (workload_init(&from, "smollm2", &(struct workload_variant){"gqa", "", ""}, &bench->arena, err) ||
	        workload_init(&to, "smollm2", &(struct workload_variant){"factored_keys", "d_select=96", ""},
	                &bench->arena, err))
		return -1;
	arena_init(&arena, 16 << 20);
	model_init(&whole, from.setup.model, from.setup.variant, from.setup.variant_config, &arena);
	model_allocate(&whole, 0, &arena);
	model_draw_weights(&whole, 1);
	const struct model_conversion conversion = {
	        .variant = to.setup.variant, .config = to.setup.variant_config, .n_thread = bench->n_thread};
	const double start = clock_s();
	const int rc = model_convert(&thin, &whole, &conversion, &arena, err);
	const double took_s = clock_s() - start;
	if (!rc) {
		printf("\nkeys of half their rank, %s: %ld parameters, %d threads\n", from.name, whole.n_number,
		        bench->n_thread);
		printf("  SVD of all %d layers  %.2f s   target at most %g s: %s\n", whole.config.n_layer, took_s,
		        most_s, took_s <= most_s ? "met" : "missed");
		fflush(stdout);
		compare(bench, (struct model *const[]){&whole, &thin});
	}
	arena_release(&arena);
	arena_rewind(&bench->arena, mark);
	return rc;
}
