// SPDX-License-Identifier: MIT
// A model that decodes for a measurement: random weights of a seed in the type asked for, folded where its variant
// folds, with a cache that holds a context. Arms of one shape share everything outside attention.
#ifndef KVLAB_RUN_DECODE_ARM_H
#define KVLAB_RUN_DECODE_ARM_H
#include "harness/model/model.h"
#include "harness/run/footprint.h"
#include "harness/run/player.h"
#include "harness/spec/setup.h"
#ifdef __cplusplus
extern "C" {
#endif

struct decode_point {
	int context, batch; // positions held before a step; sequences
	int prompt;         // tokens whose prefill is timed, of one sequence; what is beyond them repeats them
	enum dtype weight_dtype;
};

struct decode_arm {
	struct setup setup; // the point's, or that of its reference
	struct model_config config;
	struct footprint footprint;
	struct model model;
	struct cache cache, prompt; // batch sequences of context + 1; one of the prompt
	struct player player;
	int is_folded;
};

// Fills setup, config and footprint; nothing is allocated but from arena.
void decode_arm_of(
        struct decode_arm *arm, const struct setup *setup, const struct decode_point *shape, struct arena *arena);
// The reference of a point: grouped queries with the key and value heads that the family has itself (mha, where these
// are all). 1, or 0 when the point is its own reference.
int decode_arm_reference(
        struct decode_arm *arm, const struct setup *setup, const struct decode_point *shape, struct arena *arena);

// Bytes that a step must read: weights once, rows of tables and the cache of each sequence.
double decode_arm_step_bytes(const struct decode_arm *arm, const struct decode_point *shape);
// Bytes of cached rows among them.
double decode_arm_cache_read_bytes(const struct decode_arm *arm, const struct decode_point *shape);
// Bytes that an arm takes: weights (those outside attention are nothing where `is_sharing`), caches, and what one
// forward of the prompt holds.
double decode_arm_memory(const struct decode_arm *arm, const struct decode_point *shape, int is_sharing);

// Where an arm is built: what the host knows of it goes to arena, weights and caches to memory, which is the backend's.
struct decode_place {
	const struct backend *backend;
	struct arena *arena, *memory;
	int n_thread;
	int is_rounded; // its forward pass rounds what products multiply to bf16
};
// Draws weights (like: another arm to share with, or NULL) and makes the caches. 0, or -1 with a message.
int decode_arm_build(struct decode_arm *arm, const struct decode_arm *like, const struct decode_point *shape,
        uint64_t seed, const struct decode_place *place, struct err *err);
void decode_arm_release(struct decode_arm *arm);
// Decoding against one long forward through the same kind of cache: the largest difference of logits, as a share of the
// largest logit (of 1 where all are below).
double decode_arm_gate(struct decode_arm *arm, struct tape *tape, uint64_t seed, const struct decode_place *place);
// What that difference may be. Other orders of sums differ by rounding alone; where rows are stored with fewer bits, a
// difference of rounding can make a number of a row its neighbour; where the forward pass rounds, that is the
// difference.
double decode_arm_tolerance(const struct decode_arm *arm, int is_rounded);

// One sequence's prompt through its empty cache, to the logits of its last token. Seconds.
double decode_arm_prefill(struct decode_arm *arm, struct tape *tape, const int *tokens, int n);
// Sets the context to what the prompt has left, over and over.
void decode_arm_fill(struct decode_arm *arm, const struct tape *tape, int context);
// One new token (batch) for every sequence; the context is then as before. Seconds.
double decode_arm_step(struct decode_arm *arm, struct tape *tape, const int *tokens);

#ifdef __cplusplus
}
#endif
#endif
