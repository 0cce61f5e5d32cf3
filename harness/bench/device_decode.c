// SPDX-License-Identifier: MIT
// Decoding on a device against the copy bandwidth that is probed beside every sample. Whole steps of one token must
// read their weights and cached rows once. Attention alone: what a step asks of it in each layer is noted, and asked
// again and again as one graph; a call reads a cache of the size given, and there are as many layers as exceed what the
// device keeps close (its L2).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/bench/decode.h"
#include "harness/bench/device.h"
#include "harness/bench/sample.h"
#include "harness/num/op.h"

enum { LAYERS_MOST = 16, SEED = 1, N_SIZE = 2, TRIAL_SHRINKS = 16384, TRIAL_LAYERS = 2 };
static const double warm_s = 0.1, cap_s = 0.3, step_cap_s = 2, step_target = 0.75, all_layers = 512e6;

static const struct size {
	double bytes, target; // of a call's cache; the part of the bandwidth to be reached
} sizes[N_SIZE] = {{256e6, 0.85}, {32e6, 0.6}};

#define HEADS "d_model=512 n_head=32 d_head=64 d_ff=64 n_vocab=64" // what is not attention is kept small
#define TRIAL "d_model=32 n_head=4 d_ff=16 n_vocab=16"
static const struct attention_row {
	const char *variant, *options, *heads, *trial;
} rows[] = {
        {"mha", "", "n_kv_head=32", NULL},
        {"mha", "rope=at_read", "n_kv_head=32", "n_kv_head=4"},
        {"gqa", "", "n_kv_head=8", NULL},
        {"mqa", "", "n_kv_head=1", NULL},
        {"thin_keys", "d_select_per_head=16", "n_kv_head=8", NULL},
        {"shared_kv", "rope=rotated_value", "n_kv_head=8", "n_kv_head=2"},
        {"shared_kv", "", "n_kv_head=8", NULL},
        {"shared_qk", "", "n_kv_head=8", NULL},
        {"shared_qkv", "", "n_kv_head=8", NULL},
        {"keyless", "rope=rotated_value", "n_kv_head=8", NULL},
        {"mla", "d_latent=512 d_rope=64", "n_kv_head=32", NULL},
        {"key_channels", "d_keep=32", "n_kv_head=8", NULL},
};
enum { N_ROW = sizeof(rows) / sizeof(*rows) };
static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_BF16, DTYPE_Q8, DTYPE_Q4};

// Steps of whole models, weights and cache bf16, batch 1.
static const struct step_row {
	struct decode_shape shape;
	int depth;
} steps[] = {
        {{"llama", "gqa", "", TRIAL " n_layer=1 n_kv_head=2"}, 40},
        {{"qwen2-1.5b", "gqa", "", ""}, 1024},
        {{"qwen2-1.5b", "gqa", "", ""}, 16384},
        {{"llama-3.2-1b", "gqa", "", ""}, 1024},
        {{"llama-3.2-1b", "gqa", "", ""}, 16384},
};
enum { N_STEP = sizeof(steps) / sizeof(*steps) };

static void print_sample(const struct device *d, const struct arm *arm, double bytes, double target)
{
	printf("%9.1f us [%.1f, %.1f] n %ld  %.1f GB/s  %.3f [%.3f, %.3f] of the copy's", arm->median * 1e6,
	        arm->lo * 1e6, arm->hi * 1e6, arm->n, bytes / arm->median / 1e9, bytes / arm->worth_median,
	        bytes / arm->worth_hi, bytes / arm->worth_lo);
	if (d->is_trial)
		printf("\n");
	else
		bench_print_target(bytes / arm->worth_median, target, "");
}

static double bytes_of(const struct size *size, int is_trial)
{
	return size->bytes / (is_trial ? TRIAL_SHRINKS : 1);
}

// --- attention ------------------------------------------------------------------------------------------------------

struct call {
	struct strided_out out;
	struct strided q;
	struct stored k, v;
	struct rope turn;
	struct attention_shape shape;
};

struct subject {
	struct device *d;
	struct engine engine;
	struct call call[LAYERS_MOST];
	int n_call;
	struct graph *graph;
};

static struct subject *noting; // whose step is running

static void note(const struct exec *exec, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *s)
{
	struct call *c = &noting->call[noting->n_call++];
	*c = (struct call){.out = out, .q = q, .k = *k, .v = *v, .shape = *s};
	if (k->turn)
		c->turn = *k->turn, c->k.turn = &c->turn;
	noting->d->backend->attention_stored(exec, out, q, k, v, s);
}

static void play_calls(void *subject)
{
	struct subject *s = subject;
	const struct exec exec = op_exec(&s->engine.tape);
	s->d->backend->graph->play(&exec, s->graph, NULL, 0, 0);
	engine_wait(&s->engine);
}

// A step of the engine at that depth, whose attention is noted and becomes a graph.
static int take_calls(struct subject *s, struct cache *cache, int depth, struct err *err)
{
	static const int token;
	struct backend backend = *s->d->backend;
	const struct exec exec = op_exec(&s->engine.tape);
	s->n_call = 0;
	noting = s;
	backend.attention_stored = note;
	backend.graph = NULL;
	s->engine.tape.backend = &backend;
	engine_step(&s->engine, cache, depth, &token);
	s->engine.tape.backend = s->d->backend;
	s->d->backend->graph->begin(&exec);
	for (int i = 0; i < s->n_call; i++) {
		const struct call *c = &s->call[i];
		s->d->backend->attention_stored(&exec, c->out, c->q, &c->k, &c->v, &c->shape);
	}
	s->graph = s->d->backend->graph->end(&exec, err);
	return s->graph ? 0 : -1;
}

// The model of a row whose cache has so many bytes a layer, and its depth; NULL, with the sentence, when something
// refuses.
static const struct variant *resolve(const struct attention_row *row, enum dtype dtype, const struct size *size,
        int is_trial, int *depth, struct model_config **model, void **variant_config, struct arena *arena,
        struct err *err)
{
	const struct cache_config types = {.k_dtype = dtype, .v_dtype = dtype};
	const char *text =
	        is_trial ? arena_printf(arena, TRIAL " %s", row->trial) : arena_printf(arena, HEADS " %s", row->heads);
	const struct decode_shape shape = {"llama", row->variant, row->options, text};
	// The depth first: a model of one layer knows what a token takes.
	const struct variant *variant = decode_shape_resolve(&shape, 1, 1, model, variant_config, arena, err);
	if (!variant)
		return NULL;
	const struct attn_dims dims = model_attn_dims(*model);
	*depth = (int)(bytes_of(size, is_trial) / cache_count(&types, variant, &dims, *variant_config).per_token);
	const int n_layer = is_trial ? TRIAL_LAYERS : (int)ceil(all_layers / size->bytes);
	return decode_shape_resolve(&shape, n_layer, *depth + 1, model, variant_config, arena, err);
}

static int measure_attention(struct bench *bench, struct device *d, const struct attention_row *row, enum dtype dtype,
        const struct size *size, struct err *err)
{
	const struct cache_config types = {.k_dtype = dtype, .v_dtype = dtype};
	struct model_config *model;
	void *variant_config;
	int depth;
	const struct variant *variant =
	        resolve(row, dtype, size, d->is_trial, &depth, &model, &variant_config, &bench->arena, err);
	if (!variant)
		return -1;
	const struct engine_config config = {.model = model,
	        .variant = variant,
	        .variant_config = variant_config,
	        .weights = DTYPE_BF16,
	        .n_thread = bench->n_thread,
	        .seed = SEED,
	        .backend = d->backend};
	struct subject s = {.d = d};
	struct cache cache;
	struct arm *arm = arena_zalloc(&bench->arena, sizeof(*arm));
	engine_init(&s.engine, &config);
	int failed = engine_cache(&s.engine, &cache, &types, 1, depth + 1, err);
	if (!failed)
		cache_fill(&s.engine.tape, &cache, depth, SEED);
	failed = failed || take_calls(&s, &cache, depth, err);
	if (!failed) {
		const double bytes = engine_count(&s.engine, &cache, depth).cache_bytes;
		*arm = (struct arm){.run = play_calls, .arg = &s, .yardstick = device_copy_rate, .yardstick_arg = d};
		sample_arms(arm, 1, d->is_trial ? 0 : warm_s, d->is_trial ? 0 : cap_s, &bench->rng);
		printf("  %s%s%s, %s, %.4g MB a call, depth %d, %d calls:", row->variant, *row->options ? " " : "",
		        row->options, dtype_name[dtype], bytes_of(size, d->is_trial) / 1e6, depth, s.n_call);
		print_sample(d, arm, bytes, size->target);
		d->backend->graph->release(s.graph);
	}
	engine_release(&s.engine);
	return failed;
}

static void measure_row(struct bench *bench, struct device *d, const struct attention_row *row)
{
	for (size_t t = 0; t < sizeof(dtypes) / sizeof(*dtypes); t += d->is_trial ? 3 : 1)
		for (int i = 0; i < N_SIZE; i++) {
			const struct arena_mark mark = arena_mark(&bench->arena);
			struct err why = {0};
			if (measure_attention(bench, d, row, dtypes[t], &sizes[i], &why))
				printf("  %s %s, %s: left out: %s\n", row->variant, row->options, dtype_name[dtypes[t]],
				        why.message);
			arena_rewind(&bench->arena, mark);
		}
}

// --- whole steps ----------------------------------------------------------------------------------------------------

struct step_arm {
	struct engine *engine;
	struct cache *cache;
	int depth, token;
};

static void run_step(void *arg)
{
	struct step_arm *a = arg;
	engine_step(a->engine, a->cache, a->depth, &a->token);
	engine_wait(a->engine);
}

static int measure_step(struct bench *bench, struct device *d, const struct step_row *row, struct err *err)
{
	static const struct cache_config bf16 = {.k_dtype = DTYPE_BF16, .v_dtype = DTYPE_BF16};
	struct model_config *model;
	void *variant_config;
	struct engine engine;
	struct cache cache;
	const struct variant *variant =
	        decode_shape_resolve(&row->shape, 0, row->depth + 1, &model, &variant_config, &bench->arena, err);
	if (!variant)
		return -1;
	const struct engine_config config = {.model = model,
	        .variant = variant,
	        .variant_config = variant_config,
	        .weights = DTYPE_BF16,
	        .n_thread = bench->n_thread,
	        .seed = SEED,
	        .backend = d->backend};
	engine_init(&engine, &config);
	if (engine_cache(&engine, &cache, &bf16, 1, row->depth + 1, err)) {
		engine_release(&engine);
		return -1;
	}
	cache_fill(&engine.tape, &cache, row->depth, SEED);
	struct step_arm step = {&engine, &cache, row->depth, 1};
	struct arm *arm = arena_zalloc(&bench->arena, sizeof(*arm));
	*arm = (struct arm){.run = run_step, .arg = &step, .yardstick = device_copy_rate, .yardstick_arg = d};
	sample_arms(arm, 1, d->is_trial ? 0 : warm_s, d->is_trial ? 0 : step_cap_s, &bench->rng);
	const struct engine_cost cost = engine_count(&engine, &cache, row->depth);
	printf("  %s, depth %d, %.1f MB of weights and %.1f of cache, %s: %.1f tokens/s,", row->shape.family,
	        row->depth, cost.weight_bytes / 1e6, cost.cache_bytes / 1e6,
	        engine.player.n_played ? "captured" : "slot by slot", 1 / arm->median);
	print_sample(d, arm, cost.weight_bytes + cost.cache_bytes, step_target);
	engine_release(&engine);
	return 0;
}

// Whether all rows can be: they say so here, not after minutes on a device.
static int check_rows(struct bench *bench, struct err *err)
{
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct model_config *model;
	void *variant_config;
	int depth, is_sound = 1;
	for (int i = 0; i < N_ROW && is_sound; i++)
		is_sound = resolve(&rows[i], DTYPE_F16, &sizes[0], 0, &depth, &model, &variant_config, &bench->arena,
		                   err) != NULL;
	for (int i = 0; i < N_STEP && is_sound; i++)
		is_sound = decode_shape_resolve(&steps[i].shape, 0, steps[i].depth + 1, &model, &variant_config,
		                   &bench->arena, err) != NULL;
	arena_rewind(&bench->arena, mark);
	return is_sound ? 0 : -1;
}

// The first is the trial's.
static int is_wanted(const struct device *d, int i, const char *model)
{
	return d->is_trial ? i == 0 : i && (!model || !strcmp(model, steps[i].shape.family));
}

int bench_device_decode(struct bench *bench, struct device *d, const char *model, struct err *err)
{
	int n = 0;
	if (check_rows(bench, err))
		return -1;
	for (int i = 0; i < N_STEP; i++)
		n += is_wanted(d, i, model);
	if (!n)
		return err_set(err,
		        "bench: option '--model': '%s' does not decode on a device (qwen2-1.5b, llama-3.2-1b or tiny)",
		        model);
	if (device_take_probes(d, err))
		return -1;
	printf("\nsteps of one token, batch 1, weights and cache bf16\n");
	for (int i = 0; i < N_STEP; i++) {
		const struct arena_mark mark = arena_mark(&bench->arena);
		struct err why = {0};
		if (!is_wanted(d, i, model))
			continue;
		if (measure_step(bench, d, &steps[i], &why))
			printf("  %s: left out: %s\n", steps[i].shape.family, why.message);
		arena_rewind(&bench->arena, mark);
	}
	printf("\nattention of a step alone, heads of 64, batch 1; bytes of cached rows over time, against the copy\n");
	for (int i = 0; i < N_ROW; i++)
		if (!d->is_trial || rows[i].trial)
			measure_row(bench, d, &rows[i]);
	return 0;
}
