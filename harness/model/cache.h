// SPDX-License-Identifier: MIT
// The KV cache: what a variant's streams() asks for, allocated once at full capacity, in the types that the spec's
// `cache` section names. Rows are quantised when they are written and dequantised as they are read, so whoever computes
// through a cache sees what is stored. Counted bytes are those of the allocation; tests hold them against streams().
//
// Types go by role: k_dtype for streams read for scores alone, v_dtype for all that is averaged (also where it is the
// key too). q8 and q4 have their scales per token (blocks of 32 numbers of a row) or, for keys, per channel: blocks of
// 32 consecutive tokens of one channel; the tokens of the block not yet full are kept as f32 beside it and attended to
// in f32 (KIVI). So with scales per token what is read is a function of the row alone, and decoding equals one long
// prefill; with scales per channel a query may see its most recent keys unrounded.
#ifndef KVLAB_MODEL_CACHE_H
#define KVLAB_MODEL_CACHE_H
#include <stdint.h>

#include "harness/num/dtype.h"
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

enum k_scales { K_SCALES_TOKEN, K_SCALES_CHANNEL };
struct cache_config {
	int k_dtype, v_dtype; // enum dtype
	int k_scales;         // enum k_scales
};
extern const struct option cache_options[];

struct attn_cache {
	struct cache *cache;
	struct stream_shape shape[VARIANT_STREAMS]; // of this layer
	unsigned char *stream[VARIANT_STREAMS];     // (B, stored blocks or rows); layout in cache.c
	real *tail[VARIANT_STREAMS]; // scales per channel: (B, DTYPE_BLOCK, elements) of the block not yet full
};

struct cache {
	int B, capacity, length; // sequences; positions there is room for; positions held
	int n_stream;
	struct cache_config config;
	struct stream_shape shape[VARIANT_STREAMS]; // of layer 0; elements may differ from layer to layer
	int n_layer;
	struct attn_cache *layer;
	// Of all streams: B * (capacity * per_token + per_sequence) of cache_count(), less what a capacity that is no
	// multiple of DTYPE_BLOCK leaves over with scales per channel (the tail is where those tokens stay).
	double allocated_bytes;
};

// 0, or -1 with the sentence why (k_scales: channel needs q8 or q4 keys).
int cache_check(const struct cache_config *config, struct err *err);
// Memory from arena. config NULL: everything in f32. Streams with a window or sharing are refused with a sentence.
int cache_init(struct cache *cache, const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config, int B, int capacity, struct arena *arena,
        struct err *err);
// The same with the cached rows in memory of their own: a backend's.
int cache_init_in(struct cache *cache, const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config, int B, int capacity, struct arena *arena,
        struct arena *rows, struct err *err);
// Forgets all positions; memory stays.
void cache_clear(struct cache *cache);
// Random rows at positions 0..length-1, as if that many had been written: for timing, where values do not matter.
void cache_fill(const struct tape *tape, struct cache *cache, int length, uint64_t seed);

// Every sequence of `to` gets the positions of the one sequence in `from`, over and over, until it holds `length`: a
// long context without the work of one, for measuring. Same variant and config; with scales per channel `from` holds
// whole blocks (a multiple of DTYPE_BLOCK).
void cache_repeat(const struct tape *tape, struct cache *to, const struct cache *from, int length);

// What streams() asks for over all layers: bytes a token, and bytes a sequence that do not grow with its length
// (tails).
struct cache_bytes {
	double per_token, per_sequence;
	double key_per_token; // of per_token: streams that are read for scores alone
};
struct cache_bytes cache_count(const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config);
// Bytes per token of a sequence of `length` tokens, tails and all: what a cache of that capacity allocates.
double cache_bytes_per_token(const struct cache_config *config, const struct variant *variant,
        const struct attn_dims *dims, const void *variant_config, int length);

#ifdef __cplusplus
}
#endif
#endif
