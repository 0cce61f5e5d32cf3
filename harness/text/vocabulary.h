// SPDX-License-Identifier: MIT
// Tokens by id, and ids by text. Text is bytes: what a token stands for, not how a file spells it.
#ifndef KVLAB_TEXT_VOCABULARY_H
#define KVLAB_TEXT_VOCABULARY_H
#include <stddef.h>
#include <stdint.h>

#include "harness/base/arena.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { VOCABULARY_MOST = 1 << 21 }; // ids are below; a file that says more is broken or hostile

struct token {
	const char *text; // NULL: no token has this id
	uint32_t length;
	int is_special; // a control token, not text
};

struct vocabulary {
	struct arena *arena;
	struct token *token; // n of them, with holes
	int n, room;
	int32_t *slot; // ids by hash of the text, -1 where empty
	size_t n_slot, n_found;
	char *block; // where short texts are put
	size_t left;
};

void vocabulary_init(struct vocabulary *v, struct arena *arena);
// The text is copied. The id must be free and within 0..VOCABULARY_MOST-1. Where is_found, vocabulary_find gives it,
// unless an earlier token has the same text.
struct token *vocabulary_add(struct vocabulary *v, int id, const char *text, size_t length, int is_found);
// The token, or NULL.
const struct token *vocabulary_token(const struct vocabulary *v, long long id);
// The id, or -1.
int vocabulary_find(const struct vocabulary *v, const char *text, size_t length);
// A copy that lives as long as the vocabulary.
char *vocabulary_keep(struct vocabulary *v, const char *text, size_t length);

#ifdef __cplusplus
}
#endif
#endif
