// SPDX-License-Identifier: MIT
#include "harness/run/engine.h"

#include <string.h>

#include "harness/num/op.h"

enum { CHUNK = 16 << 20 };

// Weights are drawn as reals in memory of their own, which goes back when they have been folded and rounded.
void engine_init(struct engine *e, const struct engine_config *config)
{
	struct arena drawn;
	struct err err;
	err_clear(&err);
	*e = (struct engine){.config = *config};
	arena_init(&e->memory, CHUNK);
	arena_init(&e->step, CHUNK);
	arena_init(&e->scratch, CHUNK);
	arena_init(&drawn, CHUNK);
	e->tape = (struct tape){
	        .backend = &backend_cpu, .n_thread = config->n_thread, .step = &e->step, .scratch = &e->scratch};
	struct arena *reals = config->weights == DTYPE_F32 ? &e->memory : &drawn;
	struct model *m = arena_alloc(&e->memory, sizeof(*m));
	model_init(m, config->model, config->variant, config->variant_config, &e->memory);
	model_allocate(m, 0, reals);
	model_draw_weights_by(m, config->seed, config->n_thread);
	e->model = *m;
	if (config->variant->fold && model_fold(&e->model, m, &e->memory, &err))
		e->model = *m; // a setting that does not fold
	if (config->weights != DTYPE_F32)
		model_quantize(&e->model, config->weights, config->n_thread, &e->memory);
	arena_release(&drawn);
}

void engine_init_around(struct engine *e, const struct model *model, int n_thread)
{
	*e = (struct engine){.config = {.n_thread = n_thread}, .model = *model};
	arena_init(&e->memory, CHUNK);
	arena_init(&e->step, CHUNK);
	arena_init(&e->scratch, CHUNK);
	e->tape =
	        (struct tape){.backend = &backend_cpu, .n_thread = n_thread, .step = &e->step, .scratch = &e->scratch};
}

void engine_release(struct engine *e)
{
	arena_release(&e->memory);
	arena_release(&e->step);
	arena_release(&e->scratch);
}

int engine_cache(const struct engine *e, struct cache *cache, const struct cache_config *config, int B, int capacity,
        struct arena *arena, struct err *err)
{
	const struct model *m = &e->model;
	return cache_init(cache, config, m->variant, &m->dims, m->variant_config, B, capacity, arena, err);
}

struct tensor *engine_step(struct engine *e, struct cache *cache, int depth, const int *tokens)
{
	cache->length = depth;
	arena_reset(&e->step);
	tape_begin(&e->tape, TAPE_RUN);
	return model_forward(&e->tape, &e->model, tokens, cache->B, 1, 0, 1, cache);
}

struct tensor *engine_prefill(struct engine *e, struct cache *cache, const int *tokens, int n)
{
	cache_clear(cache);
	arena_reset(&e->step);
	tape_begin(&e->tape, TAPE_RUN);
	return model_forward(&e->tape, &e->model, tokens, cache->B, n, n - 1, 1, cache);
}

// Runs a forward pass in TAPE_COUNT.
static double flops_of(const struct engine *e, struct cache *cache, int B, int T)
{
	struct arena memory;
	arena_init(&memory, 1 << 20);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &memory, .scratch = &memory};
	struct model m = e->model; // follows shapes alone
	tape_begin(&tape, TAPE_COUNT);
	model_forward(&tape, &m, NULL, B, T, T - 1, 1, cache);
	arena_release(&memory);
	return tape.forward.flops;
}

struct engine_cost engine_count(const struct engine *e, struct cache *cache, int depth)
{
	const struct model *m = &e->model;
	const struct cache_bytes bytes = cache_count(&cache->config, m->variant, &m->dims, m->variant_config);
	const int length = cache->length;
	struct engine_cost cost = {.cache_bytes = cache->B * (depth + 1.0) * bytes.per_token};
	for (int i = 0; i < m->n_param; i++) {
		const struct tensor *t = &m->param[i].tensor;
		const int is_looked_up = t == m->position || (t == m->token && m->token != m->head); // a row a token
		cost.weight_bytes += op_row_bytes(t, is_looked_up ? cache->B : t->T);
	}
	cache->length = depth;
	cost.flops = flops_of(e, cache, cache->B, 1);
	cache->length = length;
	return cost;
}

double engine_prefill_flops(const struct engine *e, int B, int n)
{
	return flops_of(e, NULL, B, n);
}
