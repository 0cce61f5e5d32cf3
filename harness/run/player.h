// SPDX-License-Identifier: MIT
// Steps of one token a sequence through a cache. Where the backend can, a step is taken down the second time it is
// asked for at a cache and played from then on: what launching its kernels one by one costs is paid once.
//
// A step is played at later positions than those it was taken down at if its tensors have the same shapes at every
// depth. Where they have not (cached rows that are read as reals), it is played only at the depth at
// which it was taken down; where the host reads what was computed, never.
#ifndef KVLAB_RUN_PLAYER_H
#define KVLAB_RUN_PLAYER_H
#include "harness/model/model.h"
#ifdef __cplusplus
extern "C" {
#endif

// Filled with zeros before the first step.
struct player {
	const struct cache *cache; // of the steps seen last
	int depth;                 // positions that it held at the last of them, or when the graph was taken down
	int is_shiftable, is_refused;
	const struct backend *backend;
	struct graph *graph;
	struct tape tape; // what the graph points to
	struct tape_memory work;
	struct tensor *logits;
	int *tokens, n_token; // (n_token): those of the model, then zeros (op_embed of tables with one row)
	long n_played;
};

// Logits (B, 1, n_vocab) after tokens (B), which are appended to the cache. Valid until the next step. Steps of one
// player are of one model; tape is what steps run on that are not played.
struct tensor *player_step(
        struct player *p, struct tape *tape, struct model *model, struct cache *cache, const int *tokens);
void player_release(struct player *p);

#ifdef __cplusplus
}
#endif
#endif
