// SPDX-License-Identifier: MIT
// Byte-pair encoding of one word: the pair of neighbours with the lowest rank merges first, the leftmost of equals
// before the others, until no pair is left that merges. A heap of pairs over a linked list: n log n on a word of n
// bytes, so that a megabyte of one letter is no attack.
#ifndef KVLAB_TEXT_MERGE_H
#define KVLAB_TEXT_MERGE_H
#include <stddef.h>
#include <stdint.h>

#include "harness/text/pair_map.h"
#include "harness/text/vocabulary.h"
#ifdef __cplusplus
extern "C" {
#endif

struct merges {
	struct pair_map pair; // of ids
	int byte_id[256];     // the token of a byte, -1 where there is none
	// A word begins as characters that are tokens, and as bytes where they are none (sentencepiece), not as bytes.
	int is_by_character;
};

// Ids, growing at the end. Start from {0}; free(ids.id) at the end.
struct token_ids {
	int32_t *id;
	size_t n, room;
};
void token_ids_reserve(struct token_ids *ids, size_t n_more);
static inline void token_ids_push(struct token_ids *ids, int32_t id)
{
	if (ids->n == ids->room)
		token_ids_reserve(ids, 1);
	ids->id[ids->n++] = id;
}

// What merging a word needs; kept from word to word, so that only a longer word than ever allocates.
struct merge_work {
	struct symbol *symbol;
	uint64_t *heap; // rank, then place
	size_t room, n_heap;
};
void merge_work_release(struct merge_work *work);

// Appends the word's ids; n is below 2^31. NULL, or where the first byte is that has no token (then nothing counts).
const char *merge_word(struct merge_work *work, const struct merges *merges, const struct vocabulary *vocabulary,
        const char *text, size_t n, struct token_ids *ids);
#ifdef __cplusplus
}
#endif
#endif
