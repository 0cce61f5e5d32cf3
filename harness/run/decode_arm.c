// SPDX-License-Identifier: MIT
#include "harness/run/decode_arm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/base/rng.h"

// Of the gate: a prefix in whole blocks of a cache, then steps.
enum { GATE_PREFIX = 2 * DTYPE_BLOCK, GATE_STEPS = 8, GATE_TOKENS = GATE_PREFIX + GATE_STEPS };

void decode_arm_of(
        struct decode_arm *arm, const struct setup *setup, const struct decode_point *shape, struct arena *arena)
{
	memset(arm, 0, sizeof(*arm));
	arm->setup = *setup;
	arm->config = *(const struct model_config *)setup->model;
	arm->setup.model = &arm->config;
	// A folded random matrix is a random matrix: the folded form is drawn as such.
	const struct attn_dims dims = model_attn_dims(&arm->config);
	struct err err = {0};
	void *folded = arena_zalloc(arena, setup->variant->config_bytes + 1);
	if (setup->variant->fold_config && !setup->variant->fold_config(&dims, setup->variant_config, folded, &err)) {
		arm->setup.variant_config = folded;
		arm->is_folded = 1;
	}
	arm->footprint = footprint_count(&arm->setup, shape->weight_dtype, shape->context + 1);
}

// The family's own number of key and value heads; 0: as many as queries have.
static int own_kv_heads(const struct family *family)
{
	const struct family *const level[] = {family, family->of};
	for (int i = 0; i < 2 && level[i]; i++)
		for (const struct family_default *d = level[i]->defaults; d && d->key; d++)
			if (!strcmp(d->key, "n_kv_head"))
				return atoi(d->value);
	return 0;
}

int decode_arm_reference(
        struct decode_arm *arm, const struct setup *setup, const struct decode_point *shape, struct arena *arena)
{
	const struct model_config *config = setup->model;
	struct model_config own = *config;
	struct setup reference = *setup;
	own.n_kv_head = own_kv_heads(setup->family);
	if (!own.n_kv_head)
		own.n_kv_head = own.n_head;
	reference.model = &own;
	reference.variant = variant_find(own.n_kv_head == own.n_head ? "mha" : "gqa");
	if (!reference.variant)
		BUG("there is no variant to refer to");
	reference.variant_config = arena_zalloc(arena, reference.variant->config_bytes + 1);
	options_init(reference.variant->options, reference.variant_config);
	decode_arm_of(arm, &reference, shape, arena);
	return setup->variant != reference.variant || config->n_kv_head != own.n_kv_head;
}

double decode_arm_cache_read_bytes(const struct decode_arm *arm, const struct decode_point *shape)
{
	return shape->batch * arm->footprint.cache_bytes;
}

double decode_arm_step_bytes(const struct decode_arm *arm, const struct decode_point *shape)
{
	return arm->footprint.weight_read_bytes + shape->batch * arm->footprint.lookup_bytes +
	       decode_arm_cache_read_bytes(arm, shape);
}

// What a forward pass holds: its tensors, and one matrix in reals at a time where weights are kept otherwise.
static double forward_bytes(const struct decode_arm *arm, int B, int T)
{
	struct arena memory;
	struct model model;
	double widest = 0;
	arena_init(&memory, 1 << 20);
	model_init(&model, &arm->config, arm->setup.variant, arm->setup.variant_config, &memory);
	const double tensor_bytes = model_count(&model, B, T, T - 1, 1, NULL, 0).tensor_bytes;
	for (int i = 0; i < model.n_param; i++)
		if (model.param[i].tensor.T > 1)
			widest = fmax(widest, (double)model.param[i].tensor.T * model.param[i].tensor.C);
	arena_release(&memory);
	return tensor_bytes + widest * sizeof(real);
}

double decode_arm_memory(const struct decode_arm *arm, const struct decode_point *shape, int is_sharing)
{
	const struct footprint *f = &arm->footprint;
	double weights = f->weight_bytes;
	if (is_sharing) {
		struct attn_dims dims = model_attn_dims(&arm->config);
		weights = 0;
		for (dims.layer = 0; dims.layer < dims.n_layer; dims.layer++) {
			struct param_shape table[VARIANT_PARAMS];
			const int n = arm->setup.variant->params(&dims, arm->setup.variant_config, table);
			for (int i = 0; i < n; i++)
				weights += table[i].rows * (double)dtype_row_bytes(shape->weight_dtype, table[i].cols);
		}
	}
	const double steps =
	        is_sharing ? 0
	                   : fmax(forward_bytes(arm, 1, shape->prompt > GATE_TOKENS ? shape->prompt : GATE_TOKENS),
	                             forward_bytes(arm, shape->batch, 1));
	return weights + decode_arm_cache_read_bytes(arm, shape) + f->cache.per_token * (shape->prompt + GATE_TOKENS) +
	       steps;
}

static int make_cache(struct cache *cache, const struct decode_arm *arm, int B, int capacity,
        const struct decode_place *place, struct err *err)
{
	return cache_init_in(cache, arm->setup.cache, arm->setup.variant, &arm->model.dims, arm->setup.variant_config,
	        B, capacity, place->arena, place->memory, err);
}

int decode_arm_build(struct decode_arm *arm, const struct decode_arm *like, const struct decode_point *shape,
        uint64_t seed, const struct decode_place *place, struct err *err)
{
	model_init(&arm->model, &arm->config, arm->setup.variant, arm->setup.variant_config, place->arena);
	arm->model.home = place->backend;
	model_draw_for_inference(&arm->model, like ? &like->model : NULL, seed, shape->weight_dtype, place->n_thread,
	        place->arena, place->memory);
	return make_cache(&arm->cache, arm, shape->batch, shape->context + 1, place, err) ||
	                       make_cache(&arm->prompt, arm, 1, shape->prompt, place, err)
	               ? -1
	               : 0;
}

void decode_arm_release(struct decode_arm *arm)
{
	player_release(&arm->player);
}

static struct tensor *forward(
        struct decode_arm *arm, struct tape *tape, const int *tokens, int B, int T, int from, struct cache *cache)
{
	tape_restart(tape, TAPE_RUN);
	return model_forward(tape, &arm->model, tokens, B, T, from, T - from, cache);
}

static double gate_error(struct decode_arm *arm, struct tape *tape, const int *tokens, struct cache *cache, real *whole)
{
	const int n_vocab = arm->config.n_vocab;
	struct player player = {0};
	double worst = 0, largest = 1;
	cache_clear(cache);
	const struct tensor *y = forward(arm, tape, tokens, 1, GATE_TOKENS, GATE_PREFIX, cache);
	memcpy(whole, tensor_on_host(tape, y), (size_t)GATE_STEPS * (size_t)n_vocab * sizeof(real));
	cache_clear(cache);
	forward(arm, tape, tokens, 1, GATE_PREFIX, GATE_PREFIX - 1, cache);
	for (int i = 0; i < GATE_STEPS; i++) {
		y = player_step(&player, tape, &arm->model, cache, tokens + GATE_PREFIX + i);
		const real *step = tensor_on_host(tape, y);
		for (int j = 0; j < n_vocab; j++) {
			const double theirs = (double)whole[(ptrdiff_t)i * n_vocab + j], ours = (double)step[j];
			if (!isfinite(theirs) || !isfinite(ours))
				worst = INFINITY;
			largest = fmax(largest, fabs(theirs));
			worst = fmax(worst, fabs(ours - theirs));
		}
	}
	player_release(&player);
	return isfinite(worst) ? worst / largest : INFINITY;
}

double decode_arm_gate(struct decode_arm *arm, struct tape *tape, uint64_t seed, const struct decode_place *place)
{
	const struct arena_mark mark = arena_mark(place->arena), memory = arena_mark(place->memory);
	struct cache cache;
	struct err err = {0};
	int tokens[GATE_TOKENS];
	struct rng rng = rng_make(seed, RNG_CHECK, 1);
	for (int i = 0; i < GATE_TOKENS; i++)
		tokens[i] = (int)rng_below(&rng, (uint32_t)arm->config.n_vocab);
	if (make_cache(&cache, arm, 1, GATE_TOKENS, place, &err))
		BUG("%s", err.message); // it was made before, at another size
	real *whole = arena_alloc(place->arena, (size_t)GATE_STEPS * (size_t)arm->config.n_vocab * sizeof(real));
	const double error = gate_error(arm, tape, tokens, &cache, whole);
	arena_rewind(place->memory, memory);
	arena_rewind(place->arena, mark);
	return error;
}

double decode_arm_tolerance(const struct decode_arm *arm, int is_rounded)
{
	// Two sums in another order differ by rounding, and what is cached of them may then round the other way, to its
	// type's next number: half a unit of f16 and bf16, 2^-12 and 2^-9, and as much as was seen of q8 and q4 ten
	// times over (219 models of 2 and 12 layers, three families and variants). A wrong position or head is far
	// above.
	static const double of_type[N_DTYPE] = {[DTYPE_F32] = 2e-5,
	        [DTYPE_F16] = 1.0 / 4096,
	        [DTYPE_BF16] = 1.0 / 512,
	        [DTYPE_Q8] = 1e-3,
	        [DTYPE_Q4] = 1e-2};
	// Ten times the largest of 6 models of 2 layers on the emulated device.
	static const double of_rounding = 2e-2;
	const struct cache_config *cache = arm->setup.cache;
	return fmax(is_rounded ? of_rounding : 0, fmax(of_type[cache->k_dtype], of_type[cache->v_dtype]));
}

double decode_arm_prefill(struct decode_arm *arm, struct tape *tape, const int *tokens, int n)
{
	cache_clear(&arm->prompt);
	const double start = clock_s();
	forward(arm, tape, tokens, 1, n, n - 1, &arm->prompt);
	tape_wait(tape);
	return clock_s() - start;
}

void decode_arm_fill(struct decode_arm *arm, const struct tape *tape, int context)
{
	cache_repeat(tape, &arm->cache, &arm->prompt, context);
}

double decode_arm_step(struct decode_arm *arm, struct tape *tape, const int *tokens)
{
	const int context = arm->cache.length;
	const double start = clock_s();
	player_step(&arm->player, tape, &arm->model, &arm->cache, tokens);
	tape_wait(tape);
	const double spent = clock_s() - start;
	arm->cache.length = context;
	return spent;
}
