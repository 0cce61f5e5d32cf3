// SPDX-License-Identifier: MIT
// (left, right) -> (rank, id): which two neighbours merge, how early, into what. Also the edges of a trie.
// Open addressing, at most half full, one cache line a look-up: encoding spends its misses here.
#ifndef KVLAB_TEXT_PAIR_MAP_H
#define KVLAB_TEXT_PAIR_MAP_H
#include <stddef.h>
#include <stdint.h>

#include "harness/base/arena.h"
#ifdef __cplusplus
extern "C" {
#endif

struct pair {
	uint32_t left, right, rank;
	int32_t id; // -1: an empty slot
};

struct pair_map {
	struct arena *arena;
	struct pair *slot;
	int shift; // 64 less the logarithm of the number of slots
	size_t n, room;
};

// Memory is the arena's; the map grows by itself.
void pair_map_init(struct pair_map *map, struct arena *arena);
// Of two entries for one pair the later counts.
void pair_map_put(struct pair_map *map, uint32_t left, uint32_t right, uint32_t rank, int32_t id);

// The entry, or NULL.
static inline struct pair *pair_map_get(const struct pair_map *map, uint32_t left, uint32_t right)
{
	size_t i = (size_t)((((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u) >> map->shift);
	for (; map->slot[i].id >= 0; i = (i + 1) & (map->room - 1))
		if (map->slot[i].left == left && map->slot[i].right == right)
			return &map->slot[i];
	return NULL;
}

#ifdef __cplusplus
}
#endif
#endif
