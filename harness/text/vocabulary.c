// SPDX-License-Identifier: MIT
#include "harness/text/vocabulary.h"

#include <string.h>

#include "harness/base/hash.h"

enum { FIRST_ROOM = 256, FIRST_SLOTS = 1024, BLOCK = 1 << 16 };

static void make_slots(struct vocabulary *v, size_t n_slot)
{
	v->n_slot = n_slot;
	v->slot = arena_alloc(v->arena, n_slot * sizeof(*v->slot));
	memset(v->slot, 0xff, n_slot * sizeof(*v->slot));
}

void vocabulary_init(struct vocabulary *v, struct arena *arena)
{
	memset(v, 0, sizeof(*v));
	v->arena = arena;
	v->room = FIRST_ROOM;
	v->token = arena_zalloc(arena, FIRST_ROOM * sizeof(*v->token));
	make_slots(v, FIRST_SLOTS);
}

// The slot that holds the text, or the empty one where it belongs.
static size_t slot_of(const struct vocabulary *v, const char *text, size_t length)
{
	size_t i = (size_t)hash_u64(text, length) & (v->n_slot - 1);
	for (; v->slot[i] >= 0; i = (i + 1) & (v->n_slot - 1)) {
		const struct token *token = &v->token[v->slot[i]];
		if (token->length == length && memcmp(token->text, text, length) == 0)
			break;
	}
	return i;
}

static void insert(struct vocabulary *v, int id)
{
	if (2 * (v->n_found + 1) > v->n_slot) {
		const int32_t *old = v->slot;
		const size_t n_old = v->n_slot;
		make_slots(v, 2 * n_old);
		for (size_t i = 0; i < n_old; i++)
			if (old[i] >= 0)
				v->slot[slot_of(v, v->token[old[i]].text, v->token[old[i]].length)] = old[i];
	}
	const size_t i = slot_of(v, v->token[id].text, v->token[id].length);
	if (v->slot[i] < 0) {
		v->slot[i] = id;
		v->n_found++;
	}
}

// Tokens are short and many: they share blocks instead of taking an aligned piece of the arena each.
char *vocabulary_keep(struct vocabulary *v, const char *text, size_t length)
{
	if (length > v->left) {
		v->left = length > BLOCK ? length : BLOCK;
		v->block = arena_alloc(v->arena, v->left);
	}
	char *copy = v->block;
	if (length)
		memcpy(copy, text, length);
	v->block += length;
	v->left -= length;
	return copy;
}

struct token *vocabulary_add(struct vocabulary *v, int id, const char *text, size_t length, int is_found)
{
	if (id >= v->room) {
		const struct token *old = v->token;
		const int n_old = v->room;
		while (id >= v->room)
			v->room *= 2;
		v->token = arena_zalloc(v->arena, (size_t)v->room * sizeof(*v->token));
		memcpy(v->token, old, (size_t)n_old * sizeof(*old));
	}
	v->n = id >= v->n ? id + 1 : v->n;
	v->token[id] = (struct token){.text = vocabulary_keep(v, text, length), .length = (uint32_t)length};
	if (is_found)
		insert(v, id);
	return &v->token[id];
}

const struct token *vocabulary_token(const struct vocabulary *v, long long id)
{
	return id >= 0 && id < v->n && v->token[id].text ? &v->token[id] : NULL;
}

int vocabulary_find(const struct vocabulary *v, const char *text, size_t length)
{
	return v->slot[slot_of(v, text, length)];
}
