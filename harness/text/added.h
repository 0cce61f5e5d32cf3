// SPDX-License-Identifier: MIT
// Added tokens: texts that are one token wherever they stand, found before anything else is done (<|endoftext|>, but
// also GPT-NeoX's runs of spaces). The longest that begins at a place counts; a trie finds it.
#ifndef KVLAB_TEXT_ADDED_H
#define KVLAB_TEXT_ADDED_H
#include "harness/text/pair_map.h"
#ifdef __cplusplus
extern "C" {
#endif

struct added_token {
	int id;
	int is_special;              // control, not text: found only where asked for
	int is_single_word;          // not within a word
	int takes_left, takes_right; // the white space beside it goes with it
};

struct added_set {
	struct arena *arena;
	struct pair_map edge; // (node, byte) -> (1 + index of the token that ends there, or 0; node)
	int n_node;
	struct added_token *token;
	int n, room;
	unsigned char first_two[1 << 13]; // a bit for each two bytes that a token may begin with
};

void added_init(struct added_set *set, struct arena *arena);
// length > 0. Of two tokens with the same text the later counts.
void added_put(struct added_set *set, const char *text, size_t length, const struct added_token *token);

struct added_match {
	size_t start, end;
	int id;
};
enum added_mode {
	ADDED_SPECIAL = 1, // control tokens are found too
	ADDED_EXACT = 2,   // no white space goes with a token: decoding gives the same text
};
// The first match at or after `from`: whether there is one.
int added_find(
        const struct added_set *set, const char *text, size_t n, size_t from, int mode, struct added_match *match);

#ifdef __cplusplus
}
#endif
#endif
