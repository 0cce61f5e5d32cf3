// SPDX-License-Identifier: MIT
// A model that decodes, for timing: random weights of a type, caches of any batch and type, filled to a depth, and
// steps of one token a sequence at that depth.
#ifndef KVLAB_RUN_ENGINE_H
#define KVLAB_RUN_ENGINE_H
#include "harness/model/model.h"
#include "harness/run/player.h"
#ifdef __cplusplus
extern "C" {
#endif

struct engine_config {
	const struct model_config *model; // resolved
	const struct variant *variant;
	const void *variant_config;
	enum dtype weights;
	int n_thread;
	uint64_t seed;
	const struct backend *backend; // NULL: backend_cpu
};

struct engine {
	struct model model; // folded where the variant folds
	struct tape tape;
	struct tape_memory work;
	struct arena arena, memory; // what the host knows of the model, and its values: the backend's memory
	struct player player;
};

void engine_init(struct engine *e, const struct engine_config *config);
// Around a model of the host's memory, which must outlive it: itself, or a copy in the backend's memory.
void engine_init_around(struct engine *e, const struct model *model, const struct backend *backend, int n_thread);
void engine_release(struct engine *e);
// A cache for B sequences of up to capacity positions, which lives as long as the engine: 0, or -1 with the sentence
// why not.
int engine_cache(
        struct engine *e, struct cache *cache, const struct cache_config *config, int B, int capacity, struct err *err);
// Logits (B, 1, n_vocab) of a token of each sequence, after `depth` that the cache must hold. Valid until the next
// call.
struct tensor *engine_step(struct engine *e, struct cache *cache, int depth, const int *tokens);
// Logits of the last of n tokens of each sequence, at the start of an emptied cache.
struct tensor *engine_prefill(struct engine *e, struct cache *cache, const int *tokens, int n);
// All slots called so far have run: for timings.
void engine_wait(struct engine *e);

// What a step must read once: weights in their type and cached rows in theirs; and its FLOPs. Activations are left out.
struct engine_cost {
	double weight_bytes, cache_bytes, flops;
};
struct engine_cost engine_count(const struct engine *e, struct cache *cache, int depth);
double engine_prefill_flops(const struct engine *e, int B, int n);

#ifdef __cplusplus
}
#endif
#endif
