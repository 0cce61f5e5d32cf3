// SPDX-License-Identifier: MIT
#include "harness/run/engine.h"

#include "harness/num/op.h"

enum { CHUNK = 16 << 20 };

static void open_on(struct engine *e, const struct backend *backend, int n_thread)
{
	*e = (struct engine){0};
	arena_init(&e->arena, CHUNK);
	arena_init_from(&e->memory, CHUNK, backend->memory);
	tape_open(&e->tape, &e->work, backend, n_thread, CHUNK);
}

// Weights are drawn as reals in memory of their own, which goes back when they have been folded, rounded and uploaded.
void engine_init(struct engine *e, const struct engine_config *config)
{
	const struct backend *backend = config->backend ? config->backend : &backend_cpu;
	struct arena drawn;
	struct err err;
	err_clear(&err);
	open_on(e, backend, config->n_thread);
	arena_init(&drawn, CHUNK);
	struct arena *kept = backend->memory ? &drawn : &e->arena;
	struct arena *reals = config->weights == DTYPE_F32 ? kept : &drawn;
	struct model *m = arena_alloc(&e->arena, sizeof(*m)), folded;
	model_init(m, config->model, config->variant, config->variant_config, &e->arena);
	model_allocate(m, 0, reals);
	model_draw_weights_by(m, config->seed, config->n_thread);
	if (!config->variant->fold || model_fold(&folded, m, &e->arena, &err))
		folded = *m; // a setting that does not fold
	if (config->weights != DTYPE_F32)
		model_quantize(&folded, config->weights, config->n_thread, kept);
	if (backend->memory)
		model_upload(&e->model, &folded, backend, 0, &e->arena, &e->memory);
	else
		e->model = folded;
	arena_release(&drawn);
}

void engine_init_around(struct engine *e, const struct model *model, const struct backend *backend, int n_thread)
{
	open_on(e, backend, n_thread);
	if (backend->memory)
		model_upload(&e->model, model, backend, 0, &e->arena, &e->memory);
	else
		e->model = *model;
}

void engine_release(struct engine *e)
{
	player_release(&e->player);
	tape_close(&e->work);
	arena_release(&e->arena);
	arena_release(&e->memory);
}

int engine_cache(
        struct engine *e, struct cache *cache, const struct cache_config *config, int B, int capacity, struct err *err)
{
	const struct model *m = &e->model;
	return cache_init_in(
	        cache, config, m->variant, &m->dims, m->variant_config, B, capacity, &e->arena, &e->memory, err);
}

struct tensor *engine_step(struct engine *e, struct cache *cache, int depth, const int *tokens)
{
	cache->length = depth;
	return player_step(&e->player, &e->tape, &e->model, cache, tokens);
}

struct tensor *engine_prefill(struct engine *e, struct cache *cache, const int *tokens, int n)
{
	cache_clear(cache);
	tape_restart(&e->tape, TAPE_RUN);
	return model_forward(&e->tape, &e->model, tokens, cache->B, n, n - 1, 1, cache);
}

void engine_wait(struct engine *e)
{
	tape_wait(&e->tape);
}

struct engine_cost engine_count(const struct engine *e, struct cache *cache, int depth)
{
	const struct model *m = &e->model;
	const struct cache_bytes bytes = cache_count(&cache->config, m->variant, &m->dims, m->variant_config);
	struct engine_cost cost = {.cache_bytes = cache->B * (depth + 1.0) * bytes.per_token};
	for (int i = 0; i < m->n_param; i++) {
		const struct tensor *t = &m->param[i].tensor;
		const int is_looked_up = t == m->position || (t == m->token && m->token != m->head); // a row a token
		cost.weight_bytes += op_row_bytes(t, is_looked_up ? cache->B : t->T);
	}
	const int length = cache->length;
	cache->length = depth;
	cost.flops = model_count(m, cache->B, 1, 0, 1, cache, 0).forward.flops;
	cache->length = length;
	return cost;
}

double engine_prefill_flops(const struct engine *e, int B, int n)
{
	return model_count(&e->model, B, n, n - 1, 1, NULL, 0).forward.flops;
}
