// SPDX-License-Identifier: MIT
#include "harness/model/cache.h"

#include "harness/base/rng.h"
#include "harness/num/stored.h"

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

// How one stream of one layer lies in memory: per sequence `capacity / tokens` units, one after the other.
//   scales per token (and f32, f16, bf16): a unit is a token's row, as dtype_write leaves it
//   scales per channel: a unit is DTYPE_BLOCK tokens: for each channel in turn, its block of numbers
struct layout {
	enum dtype dtype;
	int tokens; // of a unit
	size_t unit_bytes;
	size_t channel_bytes; // scales per channel: one channel of a unit
	size_t tail_bytes;    // of a sequence: the tokens of the unit not yet full, in f32
};

static struct layout layout_of(const struct cache_config *config, const struct stream_shape *shape)
{
	const int is_key = shape->role == STREAM_KEY;
	const enum dtype dtype = (enum dtype)(is_key ? config->k_dtype : config->v_dtype);
	if (!is_key || config->k_scales == K_SCALES_TOKEN)
		return (struct layout){
		        .dtype = dtype, .tokens = 1, .unit_bytes = dtype_row_bytes(dtype, shape->elements)};
	const size_t channel_bytes = dtype_row_bytes(dtype, DTYPE_BLOCK);
	return (struct layout){
	        .dtype = dtype,
	        .tokens = DTYPE_BLOCK,
	        .unit_bytes = (size_t)shape->elements * channel_bytes,
	        .channel_bytes = channel_bytes,
	        .tail_bytes = (size_t)DTYPE_BLOCK * (size_t)shape->elements * sizeof(real),
	};
}

static const struct cache_config all_f32; // DTYPE_F32 is 0

// The streams of one layer; a copy that several share is the first one's.
static int streams_of(struct stream_shape *shape, const struct variant *variant, const struct attn_dims *dims,
        const void *variant_config, int layer)
{
	struct attn_dims own = *dims;
	own.layer = layer;
	return variant->streams(&own, variant_config, shape);
}

static int has_copy(const struct stream_shape *shape, int layer)
{
	return shape->layers_sharing < 2 || layer % shape->layers_sharing == 0;
}

struct cache_bytes cache_count(const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config)
{
	struct stream_shape shape[VARIANT_STREAMS];
	struct cache_bytes bytes = {0};
	for (int l = 0; l < dims->n_layer; l++) {
		const int n = streams_of(shape, variant, dims, variant_config, l);
		for (int i = 0; i < n; i++) {
			const struct layout layout = layout_of(config ? config : &all_f32, &shape[i]);
			if (!has_copy(&shape[i], l))
				continue;
			const double per_token = (double)layout.unit_bytes / layout.tokens;
			bytes.per_token += per_token;
			bytes.key_per_token += shape[i].role == STREAM_KEY ? per_token : 0;
			bytes.per_sequence += (double)layout.tail_bytes;
		}
	}
	return bytes;
}

double cache_bytes_per_token(const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config, int length)
{
	struct stream_shape shape[VARIANT_STREAMS];
	double bytes = 0;
	for (int l = 0; l < dims->n_layer; l++) {
		const int n = streams_of(shape, variant, dims, variant_config, l);
		for (int i = 0; i < n; i++) {
			const struct layout layout = layout_of(config ? config : &all_f32, &shape[i]);
			const size_t units = (size_t)(length / layout.tokens) * layout.unit_bytes;
			if (has_copy(&shape[i], l))
				bytes += (double)(units + layout.tail_bytes);
		}
	}
	return bytes / length;
}

// What one stream takes in one layer.
struct share {
	size_t bytes, tail_bytes;
};

static struct share share_of(const struct cache *cache, const struct stream_shape *shape)
{
	const struct layout layout = layout_of(&cache->config, shape);
	return (struct share){(size_t)cache->B * (size_t)(cache->capacity / layout.tokens) * layout.unit_bytes,
	        (size_t)cache->B * layout.tail_bytes};
}

static size_t aligned(size_t bytes)
{
	return (bytes + 63) / 64 * 64;
}

int cache_init(struct cache *cache, const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config, int B, int capacity, struct arena *arena,
        struct err *err)
{
	return cache_init_in(cache, config, variant, dims, variant_config, B, capacity, arena, arena, err);
}

int cache_init_in(struct cache *cache, const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config, int B, int capacity, struct arena *arena,
        struct arena *rows, struct err *err)
{
	*cache = (struct cache){.B = B, .capacity = capacity, .config = config ? *config : all_f32};
	if (cache_check(&cache->config, err))
		return -1;
	cache->n_stream = streams_of(cache->shape, variant, dims, variant_config, 0);
	cache->n_layer = dims->n_layer;
	cache->layer = arena_zalloc(arena, (size_t)dims->n_layer * sizeof(*cache->layer));
	size_t total = 0;
	for (int s = 0; s < cache->n_stream; s++)
		if (cache->shape[s].window || cache->shape[s].layers_sharing > 1)
			return err_set(err,
			        "variant '%s': stream '%s' asks for a window or sharing, which the cache does not "
			        "store",
			        variant->name, cache->shape[s].name);
	for (int l = 0; l < dims->n_layer; l++) {
		cache->layer[l].cache = cache;
		streams_of(cache->layer[l].shape, variant, dims, variant_config, l);
		for (int s = 0; s < cache->n_stream; s++) {
			const struct share share = share_of(cache, &cache->layer[l].shape[s]);
			total += aligned(share.bytes) + aligned(share.tail_bytes);
		}
	}
	// One block: pieces of their own would each leave part of a huge page unused.
	unsigned char *at = arena_alloc(rows, total);
	for (int s = 0; s < cache->n_stream; s++)
		for (int l = 0; l < dims->n_layer; l++) {
			struct attn_cache *layer = &cache->layer[l];
			const struct share share = share_of(cache, &layer->shape[s]);
			layer->stream[s] = at;
			at += aligned(share.bytes);
			if (share.tail_bytes)
				layer->tail[s] = (real *)(void *)at;
			at += aligned(share.tail_bytes);
			cache->allocated_bytes += (double)(share.bytes + share.tail_bytes);
		}
	return 0;
}

void cache_clear(struct cache *cache)
{
	cache->length = 0;
}

static void repeat_stream(const struct tape *tape, struct attn_cache *to, const struct attn_cache *from, int stream,
        const struct layout *layout, int length)
{
	const struct cache *cache = to->cache;
	const struct exec exec = op_exec(tape);
	const size_t n_unit = (size_t)(length / layout->tokens),
	             n_from = (size_t)(from->cache->length / layout->tokens),
	             sequence_bytes = (size_t)(cache->capacity / layout->tokens) * layout->unit_bytes;
	for (int b = 0; b < cache->B; b++) {
		unsigned char *at = to->stream[stream] + (size_t)b * sequence_bytes;
		for (size_t i = 0; i < n_unit; i += n_from) {
			const size_t n = n_unit - i < n_from ? n_unit - i : n_from;
			tape->backend->move(
			        &exec, at + i * layout->unit_bytes, from->stream[stream], n * layout->unit_bytes);
		}
		if (layout->tail_bytes)
			tape->backend->move(&exec, (unsigned char *)to->tail[stream] + (size_t)b * layout->tail_bytes,
			        from->tail[stream], layout->tail_bytes);
	}
}

void cache_repeat(const struct tape *tape, struct cache *to, const struct cache *from, int length)
{
	if (from->B != 1 || from->length < 1 || length > to->capacity || to->n_stream != from->n_stream)
		BUG("%d positions of %d sequences onto %d of %d", from->length, from->B, length, to->capacity);
	for (int s = 0; s < to->n_stream; s++)
		for (int l = 0; l < to->n_layer; l++) {
			const struct layout layout = layout_of(&to->config, &to->layer[l].shape[s]);
			if (from->length % layout.tokens)
				BUG("%d positions are no whole blocks", from->length);
			repeat_stream(tape, &to->layer[l], &from->layer[l], s, &layout, length);
		}
	to->length = length;
}

// --- writing and reading ------------------------------------------------------------------------------------------

// One stream of one layer at work.
static struct stored stored_of(const struct attn_cache *layer, int stream)
{
	const struct cache *cache = layer->cache;
	const struct stream_shape *shape = &layer->shape[stream];
	const struct layout layout = layout_of(&cache->config, shape);
	const ptrdiff_t unit_bytes = (ptrdiff_t)layout.unit_bytes;
	return (struct stored){.dtype = layout.dtype,
	        .at = layer->stream[stream],
	        .b_bytes = cache->capacity / layout.tokens * unit_bytes,
	        .row_bytes = unit_bytes,
	        .columns = shape->elements,
	        .origin = &layer->stream[stream],
	        .tail = layer->tail[stream],
	        .channel_bytes = (ptrdiff_t)layout.channel_bytes};
}

// Its S positions as a tensor, read where they lie; turned into reals by whoever cannot.
static struct tensor *rows_of(struct tape *tape, const struct cache *cache, const struct stored *rows, int S)
{
	struct stored *stored = arena_alloc(tape->step, sizeof(*stored));
	struct tensor *all = arena_alloc(tape->step, sizeof(*all));
	const int tokens = rows->tail ? DTYPE_BLOCK : 1;
	*stored = *rows;
	*all = (struct tensor){.B = cache->B, .T = S, .C = rows->columns, .t_stride = rows->columns, .stored = stored};
	all->b_stride = (ptrdiff_t)(cache->capacity / tokens) * tokens * rows->columns;
	if (rows->dtype == DTYPE_F32 && tape->mode != TAPE_COUNT)
		all->x = (real *)(void *)rows->at;
	return all;
}

struct tensor *attn_stream(struct attn *a, int stream, struct tensor *rows)
{
	struct attn_cache *layer = a->cache;
	if (!layer)
		return rows;
	const struct cache *cache = layer->cache;
	const struct stream_shape *shape = &layer->shape[stream];
	const int S = cache->length + rows->T;
	if (rows->C != shape->elements || rows->B != cache->B || S > cache->capacity)
		BUG("stream '%s': (%d, %d, %d) onto %d of %d positions", shape->name, rows->B, rows->T, rows->C,
		        cache->length, cache->capacity);
	if (a->tape->mode == TAPE_RECORD)
		BUG("a cache in a recorded step");
	const struct stored stored = stored_of(layer, stream);
	const int is_counting = a->tape->mode == TAPE_COUNT, is_f32 = stored.dtype == DTYPE_F32;
	if (is_counting && !is_f32) {
		const double n = (double)tensor_n_row(rows);
		tape_count(a->tape,
		        (struct tally){.read_bytes = op_bytes(n * shape->elements),
		                .write_bytes = n * stored_row_bytes(&stored)},
		        (struct tally){0});
	}
	struct tensor *all = rows_of(a->tape, cache, &stored, S);
	if (!is_counting) {
		const struct exec exec = op_exec(a->tape);
		a->tape->backend->store_rows(&exec, &stored, op_values(rows), rows->B, rows->T, cache->length);
	}
	if (a->tape->is_decoding)
		return all;
	if (is_f32) {
		all->stored = NULL;
		return all;
	}
	return op_reals(a->tape, all);
}

// Rows of its own for 97 positions of a stream of a layer, then the same again.
static void fill_stream(const struct tape *tape, struct cache *cache, int layer, int stream, int length, uint64_t seed)
{
	enum { ROWS = 3 * DTYPE_BLOCK + 1 };
	const struct stored stored = stored_of(&cache->layer[layer], stream);
	const struct exec exec = op_exec(tape);
	const struct arena_mark mark = arena_mark(tape->scratch);
	const size_t n = (size_t)ROWS * (size_t)stored.columns;
	struct rng rng = rng_make(seed, RNG_CHECK, (uint64_t)stream);
	struct arena memory;
	arena_init(&memory, n * sizeof(real));
	real *rows = arena_alloc(&memory, n * sizeof(*rows)), *there = arena_alloc(tape->scratch, n * sizeof(*there));
	for (size_t i = 0; i < n; i++)
		rows[i] = (real)rng_normal(&rng);
	tape->backend->upload(&exec, there, rows, n * sizeof(*there));
	const struct strided x = {there, 0, stored.columns}; // every sequence the same
	for (int at = 0; at < length; at += ROWS)
		tape->backend->store_rows(&exec, &stored, x, cache->B, length - at < ROWS ? length - at : ROWS, at);
	arena_release(&memory);
	arena_rewind(tape->scratch, mark);
}

void cache_fill(const struct tape *tape, struct cache *cache, int length, uint64_t seed)
{
	for (int s = 0; s < cache->n_stream; s++)
		for (int l = 0; l < cache->n_layer; l++)
			fill_stream(tape, cache, l, s, length, seed);
	cache->length = length;
}

int attn_q_position(const struct attn *a)
{
	return (a->cache ? a->cache->cache->length : 0) + a->q_from;
}
