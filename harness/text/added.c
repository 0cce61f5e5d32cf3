// SPDX-License-Identifier: MIT
#include "harness/text/added.h"

#include <string.h>

#include "harness/base/utf8.h"
#include "harness/text/nfc.h"

void added_init(struct added_set *set, struct arena *arena)
{
	memset(set, 0, sizeof(*set));
	set->arena = arena;
	set->n_node = 1;
	pair_map_init(&set->edge, arena);
}

static void mark(struct added_set *set, const char *text, size_t length)
{
	const unsigned first = (unsigned char)text[0];
	for (unsigned second = 0; second < 256; second++)
		if (length == 1 || second == (unsigned char)text[1])
			set->first_two[first << 5 | second >> 3] |= (unsigned char)(1 << (second & 7));
}

void added_put(struct added_set *set, const char *text, size_t length, const struct added_token *token)
{
	uint32_t node = 0;
	struct pair *edge = NULL;
	for (size_t i = 0; i < length; i++) {
		const uint32_t byte = (unsigned char)text[i];
		edge = pair_map_get(&set->edge, node, byte);
		if (!edge) {
			pair_map_put(&set->edge, node, byte, 0, set->n_node++);
			edge = pair_map_get(&set->edge, node, byte);
		}
		node = (uint32_t)edge->id;
	}
	if (set->n == set->room) {
		const struct added_token *old = set->token;
		set->room = set->room ? 2 * set->room : 32;
		set->token = arena_alloc(set->arena, (size_t)set->room * sizeof(*set->token));
		if (old)
			memcpy(set->token, old, (size_t)set->n * sizeof(*old));
	}
	set->token[set->n++] = *token;
	edge->rank = (uint32_t)set->n;
	mark(set, text, length);
}

// The longest token that begins at text, or NULL.
static const struct added_token *longest(const struct added_set *set, const char *text, size_t n, size_t *length)
{
	const struct added_token *token = NULL;
	uint32_t node = 0;
	for (size_t i = 0; i < n; i++) {
		const struct pair *edge = pair_map_get(&set->edge, node, (unsigned char)text[i]);
		if (!edge)
			break;
		node = (uint32_t)edge->id;
		if (edge->rank) {
			token = &set->token[edge->rank - 1];
			*length = i + 1;
		}
	}
	return token;
}

// Start of the character that ends before `at`, or `at` where none does.
static size_t before(const char *text, size_t at)
{
	for (size_t back = 1; back <= 4 && back <= at; back++)
		if (utf8_length(text + at - back, back) == (int)back)
			return at - back;
	return at;
}

static int is_space_at(const char *text, size_t n, size_t at, int *length)
{
	return utf8_length(text + at, n - at) && utf8_is_space(utf8_decode(text + at, length));
}

static int is_within_word(const char *text, size_t n, size_t start, size_t end)
{
	int length;
	const size_t left = before(text, start);
	return (left < start && is_word_character(utf8_decode(text + left, &length))) ||
	       (utf8_length(text + end, n - end) && is_word_character(utf8_decode(text + end, &length)));
}

// White space beside the token, but not what a match before it has taken.
static void take_space(
        const struct added_token *token, const char *text, size_t n, size_t from, struct added_match *match)
{
	int length;
	for (size_t left; token->takes_left && match->start > from; match->start = left) {
		left = before(text, match->start);
		if (left == match->start || left < from || !is_space_at(text, n, left, &length))
			break;
	}
	while (token->takes_right && match->end < n && is_space_at(text, n, match->end, &length))
		match->end += (size_t)length;
}

int added_find(
        const struct added_set *set, const char *text, size_t n, size_t from, int mode, struct added_match *match)
{
	size_t length;
	if (set->n == 0)
		return 0;
	for (size_t at = from; at < n; at++) {
		const unsigned first = (unsigned char)text[at], second = at + 1 < n ? (unsigned char)text[at + 1] : 0;
		if (at + 1 < n && !(set->first_two[first << 5 | second >> 3] >> (second & 7) & 1))
			continue;
		const struct added_token *token = longest(set, text + at, n - at, &length);
		if (!token)
			continue;
		if ((token->is_special && !(mode & ADDED_SPECIAL)) ||
		        (token->is_single_word && is_within_word(text, n, at, at + length))) {
			at += length - 1;
			continue;
		}
		*match = (struct added_match){at, at + length, token->id};
		if (!(mode & ADDED_EXACT))
			take_space(token, text, n, from, match);
		return 1;
	}
	return 0;
}
