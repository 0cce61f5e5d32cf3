// SPDX-License-Identifier: MIT
// Decoding against the read bandwidth of the same second: a step must read its weights and the cached rows once, and
// what else it does should cost nothing. Shapes are published ones with random weights. The ceiling is the fraction of
// the bandwidth that the FMA peak allows where a batch shares the weights. Prefill against the FMA peak.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/bench/bench.h"
#include "harness/bench/decode.h"
#include "harness/bench/sample.h"

enum { DEPTHS = 3, BATCHES = 2, ARMS = DEPTHS * BATCHES, PREFILL = 512, SEED = 1 };
static const int depths[DEPTHS] = {0, 1024, 4096}, batches[BATCHES] = {1, 8};
static const double warm_s = 0.2, cap_s = 20, prefill_target = 0.7;

// Weights, and the part of the bandwidth that steps must reach with them.
static const struct {
	enum dtype dtype;
	double target;
} types[] = {{DTYPE_F32, 0.95}, {DTYPE_BF16, 0.85}, {DTYPE_Q8, 0.70}};

static const struct decode_shape shapes[] = {{"gpt2-124m", "mha", "", ""}, {"llama-3.2-1b", "gqa", "", ""}};

struct step_arm {
	struct engine *engine;
	struct cache *cache;
	int depth;
	int *tokens;
};

static void run_step(void *arg)
{
	struct step_arm *a = arg;
	engine_step(a->engine, a->cache, a->depth, a->tokens);
}

static void run_prefill(void *arg)
{
	struct step_arm *a = arg;
	engine_prefill(a->engine, a->cache, a->tokens, PREFILL);
}

static void print_step(const struct arm *arm, const struct step_arm *a, double target, double fma_rate)
{
	const struct stored *weights = a->engine->model.head->stored;
	const struct engine_cost cost = engine_count(a->engine, a->cache, a->depth);
	const double bytes = cost.weight_bytes + cost.cache_bytes;
	const double ceiling = fmin(1, bytes * arm->median / arm->worth_median / (cost.flops / fma_rate));
	printf("  %-5s depth %4d  batch %d   %8.2f ms [%.2f, %.2f] n %ld%s  %7.2f tok/s  %7.1f MB weights %7.1f MB "
	       "cache "
	       " %5.1f GB/s   %.2f [%.2f, %.2f] of the bandwidth, ceiling %.2f",
	        dtype_name[weights ? weights->dtype : DTYPE_F32], a->depth, a->cache->B, arm->median * 1e3,
	        arm->lo * 1e3, arm->hi * 1e3, arm->n, arm->is_reached ? "" : " (2 % not reached)",
	        a->cache->B / arm->median, cost.weight_bytes / 1e6, cost.cache_bytes / 1e6, bytes / arm->median / 1e9,
	        bytes / arm->worth_median, bytes / arm->worth_hi, bytes / arm->worth_lo, ceiling);
	bench_print_target(bytes / arm->worth_median, target, "");
}

static int measure_type(struct bench *bench, const struct model_config *model, const struct variant *variant,
        const void *variant_config, int type, struct decode_yardstick *yardstick, struct err *err)
{
	static const struct cache_config f16 = {.k_dtype = DTYPE_F16, .v_dtype = DTYPE_F16};
	const struct engine_config config = {.model = model,
	        .variant = variant,
	        .variant_config = variant_config,
	        .weights = types[type].dtype,
	        .n_thread = bench->n_thread,
	        .seed = SEED};
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct engine engine;
	struct cache cache[BATCHES];
	struct step_arm step[ARMS + 1];
	struct arm *arm = arena_zalloc(&bench->arena, (ARMS + 2) * sizeof(*arm));
	int *tokens = arena_zalloc(&bench->arena, PREFILL * sizeof(*tokens)), n_thread = bench->n_thread;
	engine_init(&engine, &config);
	for (int i = 0; i < BATCHES; i++) {
		if (engine_cache(&engine, &cache[i], &f16, batches[i], depths[DEPTHS - 1] + 1, err))
			return -1;
		cache_fill(&engine.tape, &cache[i], depths[DEPTHS - 1], SEED);
		for (int d = 0; d < DEPTHS; d++) {
			step[i * DEPTHS + d] = (struct step_arm){&engine, &cache[i], depths[d], tokens};
			arm[i * DEPTHS + d] = (struct arm){.run = run_step,
			        .arg = &step[i * DEPTHS + d],
			        .yardstick = decode_bandwidth,
			        .yardstick_arg = yardstick};
		}
	}
	bench_fma_arm(&arm[ARMS], &n_thread);
	sample_arms(arm, ARMS + 1, warm_s, cap_s, &bench->rng);
	const double fma_rate = bench_fma_rate(&arm[ARMS]);
	for (int i = 0; i < ARMS; i++)
		print_step(&arm[i], &step[i], types[type].target, fma_rate);
	step[0].depth = 0;
	arm[0] = (struct arm){.run = run_prefill, .arg = &step[0]};
	bench_fma_arm(&arm[1], &n_thread);
	sample_arms(arm, 2, 0, cap_s, &bench->rng);
	const double rate = engine_prefill_flops(&engine, 1, PREFILL) / arm[0].median;
	printf("  %-5s prefill of %d tokens   %8.1f ms [%.1f, %.1f] n %ld  %7.1f tok/s  %6.1f GFLOP/s  %.2f of FMA "
	       "peak",
	        dtype_name[types[type].dtype], PREFILL, arm[0].median * 1e3, arm[0].lo * 1e3, arm[0].hi * 1e3, arm[0].n,
	        PREFILL / arm[0].median, rate / 1e9, rate / bench_fma_rate(&arm[1]));
	bench_print_target(rate / bench_fma_rate(&arm[1]), prefill_target, "");
	engine_release(&engine);
	arena_rewind(&bench->arena, mark);
	return 0;
}

static int measure_shape(struct bench *bench, const struct decode_shape *shape, int n_layer,
        struct decode_yardstick *yardstick, struct err *err)
{
	struct model_config *model;
	void *variant_config;
	const struct variant *variant = decode_shape_resolve(
	        shape, n_layer, depths[DEPTHS - 1] + 1, &model, &variant_config, &bench->arena, err);
	if (!variant)
		return -1;
	printf("\ndecoding, %s with %s, %d layers, random weights, cache f16, %d thread%s\n", shape->family,
	        variant->name, model->n_layer, bench->n_thread, bench->n_thread > 1 ? "s" : "");
	for (size_t type = 0; type < sizeof(types) / sizeof(*types); type++)
		if (measure_type(bench, model, variant, variant_config, (int)type, yardstick, err))
			return -1;
	return 0;
}

int bench_decode(struct bench *bench, const char *model, int n_layer, struct err *err)
{
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct decode_yardstick yardstick;
	decode_yardstick_init(&yardstick, bench->n_thread, &bench->arena);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		if ((!model || !strcmp(model, shapes[i].family)) &&
		        measure_shape(bench, &shapes[i], n_layer, &yardstick, err))
			return -1;
	const int failed = bench_decode_attention(bench, &yardstick, err);
	arena_rewind(&bench->arena, mark);
	return failed;
}

// --- for the peers' bench -----------------------------------------------------------------------------------------

static int find_shape(const char *model, struct err *err)
{
	for (int i = 0; i < (int)(sizeof(shapes) / sizeof(*shapes)); i++)
		if (!strcmp(model, shapes[i].family))
			return i;
	return err_set(err, "bench: option '--model': '%s' does not decode (gpt2-124m or llama-3.2-1b)", model);
}

int bench_decode_steps_only(struct bench *bench, const struct decode_steps *d, double seconds, struct err *err)
{
	static const struct cache_config f16 = {.k_dtype = DTYPE_F16, .v_dtype = DTYPE_F16};
	const int shape = find_shape(d->model, err), n_position = (d->is_prefill ? PREFILL : d->depth) + 1;
	struct model_config *model;
	void *variant_config;
	struct engine engine;
	struct cache cache;
	static int tokens[PREFILL];
	if (shape < 0)
		return -1;
	const struct variant *variant = decode_shape_resolve(
	        &shapes[shape], d->n_layer, n_position, &model, &variant_config, &bench->arena, err);
	if (!variant)
		return -1;
	const struct engine_config config = {.model = model,
	        .variant = variant,
	        .variant_config = variant_config,
	        .weights = d->weights,
	        .n_thread = bench->n_thread,
	        .seed = SEED};
	engine_init(&engine, &config);
	if (engine_cache(&engine, &cache, &f16, 1, n_position, err))
		return -1;
	cache_fill(&engine.tape, &cache, d->depth, SEED);
	struct step_arm step = {&engine, &cache, d->depth, tokens};
	void (*const once)(void *) = d->is_prefill ? run_prefill : run_step;
	once(&step);
	const double start = clock_s();
	do {
		const double from = clock_s();
		once(&step);
		printf("%.9f\n", clock_s() - from);
	} while (clock_s() - start < seconds);
	engine_release(&engine);
	return 0;
}
