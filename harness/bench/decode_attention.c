// SPDX-License-Identifier: MIT
// The attention of decode steps alone: what a step asks of it in each layer is noted, and asked again and again. A
// variant whose cache is smaller must keep the fraction of the bandwidth that mha reaches, or its saving is eaten.
// Depths are such that all caches are as large, and larger than any cache of the processor. Where many query heads
// share a cached row there may be more arithmetic to a byte than the processor does in the time of reading it: the
// ceiling says which fraction of the bandwidth the FMA peak allows.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/bench/decode.h"
#include "harness/bench/sample.h"
#include "harness/bench/workload.h"
#include "harness/num/cpu/probe.h"

enum { LAYERS = 4, ROWS_MOST = 20, SEED = 1 };
static const double cache_bytes = 128e6, warm_s = 0.05, cap_s = 12, within = 0.05;

#define HEADS "d_model=2048 n_head=32 d_ff=64 n_vocab=64 n_layer=4"
#define GROUPS HEADS " n_kv_head=8"
// Heads of 64 as in Llama 3.2 1B; mha is the first.
static const struct decode_shape rows[] = {
        {"llama", "mha", "", HEADS " n_kv_head=32"},
        {"llama", "mha", "rope=at_read", HEADS " n_kv_head=32"},
        {"llama", "gqa", "", GROUPS},
        {"llama", "mqa", "", HEADS " n_kv_head=1"},
        {"llama", "thin_keys", "d_select_per_head=16", GROUPS},
        {"llama", "shared_kv", "rope=rotated_value", GROUPS},
        {"llama", "shared_kv", "", GROUPS},
        {"llama", "shared_qk", "", GROUPS},
        {"llama", "shared_qkv", "", GROUPS},
        {"llama", "keyless", "rope=rotated_value", GROUPS},
        {"gpt2", "keyless", "m2=2 d_latent=512", GROUPS},
        {"llama", "mla", "d_latent=512 d_rope=64", HEADS " n_kv_head=32"},
        {"llama", "key_channels", "d_keep=32", GROUPS},
};

struct call {
	struct strided_out out;
	struct strided q;
	struct stored k, v;
	struct rope turn; // k's: the step's memory, where it lay, is used again block by block
	struct attention_shape shape;
};

struct row {
	const struct decode_shape *shape;
	struct engine engine;
	struct cache cache;
	struct call call[LAYERS];
	int n_call, depth;
	double bytes, flops;
	struct exec exec;
};

static struct row *noting; // whose step is running
static const struct backend *own;

static void note(const struct exec *exec, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *s)
{
	if (noting->n_call < LAYERS) {
		struct call *c = &noting->call[noting->n_call++];
		*c = (struct call){.out = out, .q = q, .k = *k, .v = *v, .shape = *s};
		if (k->turn)
			c->turn = *k->turn, c->k.turn = &c->turn;
	}
	noting->flops += 2.0 * s->B * s->T * s->n_head * s->S * (s->d_qk + s->d_v);
	own->attention_stored(exec, out, q, k, v, s);
}

static void run_calls(void *arg)
{
	struct row *r = arg;
	for (int i = 0; i < r->n_call; i++) {
		const struct call *c = &r->call[i];
		backend_cpu.attention_stored(&r->exec, c->out, c->q, &c->k, &c->v, &c->shape);
	}
}

static int prepare(struct row *row, const struct decode_shape *shape, struct bench *bench, struct err *err)
{
	static const struct cache_config f16 = {.k_dtype = DTYPE_F16, .v_dtype = DTYPE_F16};
	static int token;
	struct model_config *model;
	void *variant_config;
	// The depth first: a model of one position knows what a token takes.
	const struct variant *variant = decode_shape_resolve(shape, 0, 1, &model, &variant_config, &bench->arena, err);
	if (!variant)
		return -1;
	const struct attn_dims dims = model_attn_dims(model);
	row->shape = shape;
	row->depth = (int)(cache_bytes / cache_count(&f16, variant, &dims, variant_config).per_token);
	decode_shape_resolve(shape, 0, row->depth + 1, &model, &variant_config, &bench->arena, err);
	const struct engine_config config = {.model = model,
	        .variant = variant,
	        .variant_config = variant_config,
	        .weights = DTYPE_F32,
	        .n_thread = bench->n_thread,
	        .seed = SEED};
	engine_init(&row->engine, &config);
	if (engine_cache(&row->engine, &row->cache, &f16, 1, row->depth + 1, err))
		return -1;
	cache_fill(&row->engine.tape, &row->cache, row->depth, SEED);
	row->bytes = engine_count(&row->engine, &row->cache, row->depth).cache_bytes;
	row->exec = (struct exec){bench->n_thread, row->engine.tape.scratch};
	struct backend backend = backend_cpu;
	own = &backend_cpu, noting = row;
	backend.attention_stored = note;
	row->engine.tape.backend = &backend;
	engine_step(&row->engine, &row->cache, row->depth, &token); // its arenas keep what was noted
	row->engine.tape.backend = own;
	return 0;
}

static void print_row(
        const struct row *r, const struct arm *arm, const struct row *mha, const struct arm *mha_arm, double fma_rate)
{
	char name[80];
	const double fraction = r->bytes / arm->worth_median, of_mha = mha->bytes / mha_arm->worth_median;
	const double of_peak = r->flops / arm->median / fma_rate;
	// The least time is that of the bytes or that of the multiply-adds, whichever is more.
	const double bandwidth = arm->worth_median / arm->median, bytes_s = r->bytes / bandwidth;
	const double ceiling = fmin(1, bytes_s / (r->flops / fma_rate));
	snprintf(name, sizeof(name), "%s%s%s", r->shape->variant, *r->shape->options ? " " : "", r->shape->options);
	printf("  %-34s depth %6d  %6.1f MB  %7.2f ms [%.2f, %.2f] n %-3ld  %5.1f GB/s   %.2f [%.2f, %.2f] of the "
	       "bandwidth  %+.2f of mha's  ceiling %.2f  %.2f of FMA peak   within %.2f: %s\n",
	        name, r->depth, r->bytes / 1e6, arm->median * 1e3, arm->lo * 1e3, arm->hi * 1e3, arm->n,
	        r->bytes / arm->median / 1e9, fraction, r->bytes / arm->worth_hi, r->bytes / arm->worth_lo,
	        fraction - of_mha, ceiling, of_peak, within, fraction >= of_mha - within ? "met" : "missed");
}

int bench_decode_attention(struct bench *bench, struct decode_yardstick *yardstick, struct err *err)
{
	const int n = sizeof(rows) / sizeof(*rows);
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct row *row = arena_zalloc(&bench->arena, ROWS_MOST * sizeof(*row));
	struct arm *arm = arena_zalloc(&bench->arena, (ROWS_MOST + 1) * sizeof(*arm));
	int n_thread = bench->n_thread;
	printf("\nattention of decode steps alone, %d layers, heads of 64, batch 1, cache f16 of %.0f MB, %d "
	       "thread%s\n",
	        LAYERS, cache_bytes / 1e6, bench->n_thread, bench->n_thread > 1 ? "s" : "");
	for (int i = 0; i < n; i++) {
		if (prepare(&row[i], &rows[i], bench, err))
			return -1;
		arm[i] = (struct arm){
		        .run = run_calls, .arg = &row[i], .yardstick = decode_bandwidth, .yardstick_arg = yardstick};
	}
	bench_fma_arm(&arm[n], &n_thread);
	sample_arms(arm, n + 1, warm_s, cap_s, &bench->rng);
	for (int i = 0; i < n; i++)
		print_row(&row[i], &arm[i], &row[0], &arm[0], bench_fma_rate(&arm[n]));
	for (int i = 0; i < n; i++)
		engine_release(&row[i].engine);
	arena_rewind(&bench->arena, mark);
	return 0;
}

// --- what the decode benches share ------------------------------------------------------------------------------

const struct variant *decode_shape_resolve(const struct decode_shape *shape, int n_layer, int n_ctx,
        struct model_config **model, void **variant_config, struct arena *arena, struct err *err)
{
	const struct family *family = family_find(shape->family), *of[] = {family->of, family};
	const struct variant *variant = variant_find(shape->variant);
	struct model_config *m = *model = arena_zalloc(arena, model_config_bytes);
	if (!variant)
		return err_set(err, "bench: there is no variant '%s'", shape->variant), NULL;
	*variant_config = arena_zalloc(arena, variant->config_bytes + 1);
	options_init(model_options, m);
	options_init(variant->options, *variant_config);
	for (int i = 0; i < 2; i++)
		for (const struct family_default *d = of[i] ? of[i]->defaults : NULL; d && d->key; d++)
			if (option_set(model_options, m, d->key, d->value, err))
				return NULL;
	if (workload_set_text(model_options, m, shape->model_options, arena, err) ||
	        workload_set_text(variant->options, *variant_config, shape->options, arena, err))
		return NULL;
	m->n_layer = n_layer ? n_layer : m->n_layer;
	m->n_ctx = m->n_ctx < n_ctx ? n_ctx : m->n_ctx;
	if (model_config_resolve(m, m->n_vocab, n_ctx, err))
		return NULL;
	const struct attn_dims dims = model_attn_dims(m);
	return variant->check && variant->check(&dims, *variant_config, err) ? NULL : variant;
}

void decode_yardstick_init(struct decode_yardstick *y, int n_thread, struct arena *arena)
{
	const size_t bytes = 256 << 20;
	*y = (struct decode_yardstick){arena_zalloc(arena, bytes), (long)(bytes / sizeof(real)), n_thread};
}

double decode_bandwidth(void *yardstick)
{
	const struct decode_yardstick *y = yardstick;
	static volatile double sink;
	const double start = clock_s();
	sink = probe_read(y->x, y->n, y->n_thread);
	(void)sink;
	return (double)y->n * sizeof(real) / (clock_s() - start);
}
