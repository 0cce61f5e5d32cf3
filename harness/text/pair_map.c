// SPDX-License-Identifier: MIT
#include "harness/text/pair_map.h"

enum { FIRST_SHIFT = 64 - 6 };

static void make_slots(struct pair_map *map, int shift)
{
	map->shift = shift;
	map->room = (size_t)1 << (64 - shift);
	map->slot = arena_alloc(map->arena, map->room * sizeof(*map->slot));
	for (size_t i = 0; i < map->room; i++)
		map->slot[i].id = -1;
	map->n = 0;
}

void pair_map_init(struct pair_map *map, struct arena *arena)
{
	map->arena = arena;
	make_slots(map, FIRST_SHIFT);
}

void pair_map_put(struct pair_map *map, uint32_t left, uint32_t right, uint32_t rank, int32_t id)
{
	struct pair *old = pair_map_get(map, left, right);
	if (old) {
		old->rank = rank;
		old->id = id;
		return;
	}
	if (2 * (map->n + 1) > map->room) {
		const struct pair_map full = *map;
		make_slots(map, full.shift - 1);
		for (size_t i = 0; i < full.room; i++)
			if (full.slot[i].id >= 0)
				pair_map_put(
				        map, full.slot[i].left, full.slot[i].right, full.slot[i].rank, full.slot[i].id);
	}
	size_t i = (size_t)((((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u) >> map->shift);
	while (map->slot[i].id >= 0)
		i = (i + 1) & (map->room - 1);
	map->slot[i] = (struct pair){left, right, rank, id};
	map->n++;
}
