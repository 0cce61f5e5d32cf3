// SPDX-License-Identifier: MIT
#include "harness/model/cache.h"

#include <string.h>

const struct option cache_options[] = {
        {"k_dtype", OPTION_CHOICE, offsetof(struct cache_config, k_dtype), "f32", 0, 0, DTYPE_CHOICES,
                "type of cached streams that are read for scores alone", 1},
        {"v_dtype", OPTION_CHOICE, offsetof(struct cache_config, v_dtype), "f32", 0, 0, DTYPE_CHOICES,
                "type of cached streams that are averaged (shared and latent ones too)", 1},
        {"k_scales", OPTION_CHOICE, offsetof(struct cache_config, k_scales), "token", 0, 0, "token|channel",
                "scales of q8 and q4 keys: per block of a token's row, or of a channel over 32 tokens", 1},
        {NULL},
};

int cache_check(const struct cache_config *config, struct err *err)
{
	if (config->k_scales == K_SCALES_CHANNEL && config->k_dtype != DTYPE_Q8 && config->k_dtype != DTYPE_Q4)
		return err_set(err, "k_scales: channel needs k_dtype q8 or q4, not %s (or set k_scales: token)",
		        dtype_name[config->k_dtype]);
	return 0;
}

struct cache_bytes cache_count(const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config)
{
	struct stream_shape shape[VARIANT_STREAMS];
	struct cache_bytes bytes = {0, 0};
	(void)config;
	int n = variant->streams(dims, variant_config, shape);
	for (int i = 0; i < n; i++) {
		int sharing = shape[i].layers_sharing ? shape[i].layers_sharing : 1;
		int copies = (dims->n_layer + sharing - 1) / sharing;
		bytes.per_token += (double)copies * shape[i].elements * sizeof(real);
	}
	return bytes;
}

int cache_init(struct cache *cache, const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config, int B, int capacity, struct arena *arena,
        struct err *err)
{
	(void)config;
	*cache = (struct cache){.B = B, .capacity = capacity};
	cache->n_stream = variant->streams(dims, variant_config, cache->shape);
	cache->layer = arena_zalloc(arena, (size_t)dims->n_layer * sizeof(*cache->layer));
	for (int l = 0; l < dims->n_layer; l++)
		cache->layer[l].cache = cache;
	for (int s = 0; s < cache->n_stream; s++) {
		const struct stream_shape *shape = &cache->shape[s];
		if (shape->window || shape->layers_sharing > 1)
			return err_set(err,
			        "variant '%s': stream '%s' asks for a window or sharing, which the cache does not "
			        "store",
			        variant->name, shape->name);
		size_t bytes = (size_t)B * (size_t)capacity * (size_t)shape->elements * sizeof(real);
		for (int l = 0; l < dims->n_layer; l++) {
			cache->layer[l].stream[s] = arena_alloc(arena, bytes);
			cache->allocated_bytes += (double)bytes;
		}
	}
	return 0;
}

void cache_clear(struct cache *cache)
{
	cache->length = 0;
}

struct tensor *attn_stream(struct attn *a, int stream, struct tensor *rows)
{
	struct attn_cache *layer = a->cache;
	if (!layer)
		return rows;
	const struct cache *cache = layer->cache;
	const int elements = cache->shape[stream].elements, S = cache->length + rows->T;
	if (rows->C != elements || rows->B != cache->B || S > cache->capacity)
		BUG("stream '%s': (%d, %d, %d) onto %d of %d positions", cache->shape[stream].name, rows->B, rows->T,
		        rows->C, cache->length, cache->capacity);
	struct tensor *all = arena_zalloc(a->tape->step, sizeof(*all));
	*all = (struct tensor){.B = rows->B, .T = S, .C = elements, .t_stride = elements};
	all->b_stride = (ptrdiff_t)cache->capacity * elements;
	if (a->tape->mode == TAPE_COUNT)
		return all;
	if (a->tape->mode == TAPE_RECORD)
		BUG("a cache in a recorded step");
	all->x = (real *)(void *)layer->stream[stream];
	for (int b = 0; b < rows->B; b++)
		for (int t = 0; t < rows->T; t++)
			memcpy(all->x + b * all->b_stride + (cache->length + t) * all->t_stride,
			        rows->x + b * rows->b_stride + t * rows->t_stride, (size_t)elements * sizeof(real));
	return all;
}

int attn_q_position(const struct attn *a)
{
	return (a->cache ? a->cache->cache->length : 0) + a->q_from;
}
