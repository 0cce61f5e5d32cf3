// SPDX-License-Identifier: MIT
// The KV cache: what a variant's streams() asks for, allocated once at full capacity. Counted bytes are those of the
// allocation, and tests hold them against streams().
#ifndef KVLAB_MODEL_CACHE_H
#define KVLAB_MODEL_CACHE_H
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

struct attn_cache {
	struct cache *cache;
	real *stream[VARIANT_STREAMS]; // (B, capacity, elements) each
};

struct cache {
	int B, capacity, length; // sequences; positions there is room for; positions held
	int n_stream;
	struct stream_shape shape[VARIANT_STREAMS];
	struct attn_cache *layer; // n_layer
	double allocated_bytes;   // of all streams
};

// Memory from arena. Streams with a window, scales or sharing cannot be stored yet and are refused with a sentence.
int cache_init(struct cache *cache, const struct variant *variant, const struct attn_dims *dims,
        const void *variant_config, int B, int capacity, struct arena *arena, struct err *err);
// Bytes per token and over all layers that streams() asks for.
double streams_bytes_per_token(const struct variant *variant, const struct attn_dims *dims, const void *variant_config);

#ifdef __cplusplus
}
#endif
#endif
