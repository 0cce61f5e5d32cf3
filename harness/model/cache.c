// SPDX-License-Identifier: MIT
#include "harness/model/cache.h"

#include <string.h>

static int element_bytes(enum dtype dtype)
{
	switch (dtype) {
	case DTYPE_F32:
		return sizeof(real);
	}
	BUG("unknown dtype %d", (int)dtype);
}

double streams_bytes_per_token(const struct variant *variant, const struct attn_dims *dims, const void *config)
{
	struct stream_shape shape[VARIANT_STREAMS];
	double bytes = 0;
	int n = variant->streams(dims, config, shape);
	for (int i = 0; i < n; i++) {
		int copies = (dims->n_layer + shape[i].layers_sharing - 1) / shape[i].layers_sharing;
		bytes += (double)copies * (shape[i].elements * element_bytes(shape[i].dtype) + shape[i].scale_bytes);
	}
	return bytes;
}

int cache_init(struct cache *cache, const struct variant *variant, const struct attn_dims *dims, const void *config,
        int B, int capacity, struct arena *arena, struct err *err)
{
	*cache = (struct cache){.B = B, .capacity = capacity};
	cache->n_stream = variant->streams(dims, config, cache->shape);
	cache->layer = arena_zalloc(arena, (size_t)dims->n_layer * sizeof(*cache->layer));
	for (int s = 0; s < cache->n_stream; s++) {
		const struct stream_shape *shape = &cache->shape[s];
		if (shape->window || shape->scale_bytes || shape->layers_sharing != 1)
			return err_set(err,
			        "variant '%s': stream '%s' asks for a window, scales or sharing, which the cache does "
			        "not store",
			        variant->name, shape->name);
		size_t bytes =
		        (size_t)B * (size_t)capacity * (size_t)shape->elements * (size_t)element_bytes(shape->dtype);
		for (int l = 0; l < dims->n_layer; l++) {
			cache->layer[l].cache = cache;
			cache->layer[l].stream[s] = arena_alloc(arena, bytes);
			cache->allocated_bytes += (double)bytes;
		}
	}
	return 0;
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
	all->x = layer->stream[stream];
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
