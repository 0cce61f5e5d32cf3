// SPDX-License-Identifier: MIT
#include "harness/text/tokenizer_build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/utf8.h"
#include "harness/text/internal.h"

enum { TOKEN_MOST = 1 << 16 }; // bytes

int tokenizer_fail(const struct tokenizer *t, struct err *err, const char *format, ...)
{
	char place[96], message[512];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	// The place's format is one of the readers' own, with a %zu or without.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(place, sizeof(place), t->place, t->place_number);
#pragma GCC diagnostic pop
	return err_set(err, "%s: %s: %s", t->path, place, message);
}

void tokenizer_at(struct tokenizer *t, const char *place, size_t number)
{
	t->place = place;
	t->place_number = number;
}

void tokenizer_set_ends(struct tokenizer *t, int bos, int eos)
{
	t->bos = bos;
	t->eos = eos;
}

struct tokenizer *tokenizer_new(const char *path)
{
	struct tokenizer *t = calloc(1, sizeof(*t));
	if (!t)
		die_no_memory(sizeof(*t));
	arena_init(&t->arena, 1 << 20);
	t->path = arena_strdup(&t->arena, path);
	vocabulary_init(&t->vocabulary, &t->arena);
	pair_map_init(&t->merges.pair, &t->arena);
	added_init(&t->added, &t->arena);
	added_init(&t->added_normal, &t->arena);
	t->bos = t->eos = -1;
	tokenizer_at(t, "the file", 0);
	return t;
}

void tokenizer_free(struct tokenizer *t)
{
	if (!t)
		return;
	split_free(t->split);
	arena_release(&t->arena);
	free(t);
}

// GPT-2 writes bytes as characters that print: most of Latin-1 as themselves, the other 68 from U+0100 on, in order.
static int byte_of(uint32_t c)
{
	if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
		return (int)c;
	if (c < 0x100 || c > 0x143)
		return -1;
	c -= 0x100;
	return (int)(c <= 0x20 ? c : c <= 0x42 ? c - 0x21 + 0x7f : 0xad);
}

// The bytes that a spelling stands for; out holds n. -1 where it is not in that alphabet: then it stands for itself,
// and no merge makes it.
static long unspell(char *out, const char *text, size_t n)
{
	long length = 0;
	for (size_t at = 0; at < n;) {
		int used;
		const int byte = utf8_length(text + at, n - at) ? byte_of(utf8_decode(text + at, &used)) : -1;
		if (byte < 0)
			return -1;
		out[length++] = (char)byte;
		at += (size_t)used;
	}
	return length;
}

static int check_token(const struct tokenizer *t, long long id, const char *text, size_t n, struct err *err)
{
	char quoted[QUOTE_TEXT];
	if (id < 0 || id >= VOCABULARY_MOST)
		return tokenizer_fail(t, err, "id %lld of token '%s' is out of range (0 to %d)", id,
		        text_quote(quoted, text, n), VOCABULARY_MOST - 1);
	if (n > TOKEN_MOST)
		return tokenizer_fail(t, err, "token %lld has %zu bytes (at most %d)", id, n, TOKEN_MOST);
	return 0;
}

int tokenizer_put_spelled(struct tokenizer *t, long long id, const char *text, size_t n, struct err *err)
{
	char bytes[TOKEN_MOST], quoted[QUOTE_TEXT], other[QUOTE_TEXT];
	if (check_token(t, id, text, n, err))
		return -1;
	const struct token *taken = vocabulary_token(&t->vocabulary, id);
	if (taken)
		return tokenizer_fail(t, err, "token '%s' has id %lld, as '%s' has", text_quote(quoted, text, n), id,
		        text_quote(other, taken->text, taken->length));
	const long length = unspell(bytes, text, n);
	vocabulary_add(&t->vocabulary, (int)id, length < 0 ? text : bytes, length < 0 ? n : (size_t)length, length > 0);
	return 0;
}

// Why two texts are no merge; is_left, is_right: which of them are tokens.
static int refuse_merge(const struct tokenizer *t, const char *left, size_t n_left, const char *right, size_t n_right,
        int is_left, int is_right, struct err *err)
{
	char quoted[QUOTE_TEXT], other[QUOTE_TEXT];
	text_quote(quoted, left, n_left);
	text_quote(other, right, n_right);
	if (!is_left || !is_right)
		return tokenizer_fail(t, err, "merge of '%s' and '%s': '%s' is not in the vocabulary", quoted, other,
		        is_left ? other : quoted);
	return tokenizer_fail(t, err, "merge of '%s' and '%s': what they make is not in the vocabulary", quoted, other);
}

int tokenizer_put_merge(
        struct tokenizer *t, const char *left, size_t n_left, const char *right, size_t n_right, struct err *err)
{
	char bytes[2 * TOKEN_MOST];
	const struct vocabulary *v = &t->vocabulary;
	const int is_short = n_left <= TOKEN_MOST && n_right <= TOKEN_MOST;
	const long l = is_short ? unspell(bytes, left, n_left) : -1,
	           r = l > 0 ? unspell(bytes + l, right, n_right) : -1;
	const int left_id = l > 0 ? vocabulary_find(v, bytes, (size_t)l) : -1,
	          right_id = r > 0 ? vocabulary_find(v, bytes + l, (size_t)r) : -1,
	          id = r > 0 ? vocabulary_find(v, bytes, (size_t)(l + r)) : -1;
	if (left_id < 0 || right_id < 0 || id < 0)
		return refuse_merge(t, left, n_left, right, n_right, left_id >= 0, right_id >= 0, err);
	pair_map_put(&t->merges.pair, (uint32_t)left_id, (uint32_t)right_id, t->n_merge++, id);
	return 0;
}

int tokenizer_put_merge_line(struct tokenizer *t, const char *line, size_t n, struct err *err)
{
	char quoted[QUOTE_TEXT];
	const char *space = memchr(line, ' ', n);
	const size_t left = space ? (size_t)(space - line) : 0;
	if (!space || left == 0 || left + 1 == n || memchr(space + 1, ' ', n - left - 1))
		return tokenizer_fail(
		        t, err, "'%s' is not two tokens with a space between", text_quote(quoted, line, n));
	return tokenizer_put_merge(t, line, left, space + 1, n - left - 1, err);
}

int tokenizer_put_added(struct tokenizer *t, const char *text, size_t n, const struct added_token *token, int is_normal,
        struct err *err)
{
	char quoted[QUOTE_TEXT], other[QUOTE_TEXT];
	if (check_token(t, token->id, text, n, err))
		return -1;
	if (n == 0)
		return tokenizer_fail(t, err, "added token %d is empty", token->id);
	struct token *taken = (struct token *)(size_t)vocabulary_token(&t->vocabulary, token->id);
	// Where the vocabulary spells bytes with these very characters, one id would stand for two texts.
	if (taken && (taken->length != n || memcmp(taken->text, text, n) != 0))
		return tokenizer_fail(t, err, "added token '%s' has id %d, as '%s' has", text_quote(quoted, text, n),
		        token->id, text_quote(other, taken->text, taken->length));
	if (!taken)
		taken = vocabulary_add(&t->vocabulary, token->id, text, n, 0);
	taken->is_special = token->is_special;
	added_put(is_normal ? &t->added_normal : &t->added, text, n, token);
	return 0;
}

int tokenizer_finish(struct tokenizer *t, struct err *err)
{
	const struct vocabulary *v = &t->vocabulary;
	if (v->n_found == 0)
		return err_set(err, "%s: no tokens: the vocabulary is empty", t->path);
	for (int byte = 0; byte < 256 && !t->merges.is_by_character; byte++) {
		const char text = (char)byte;
		t->merges.byte_id[byte] = vocabulary_find(v, &text, 1);
	}
	for (int id = 0; id < v->n; id++)
		if (v->token[id].length > t->longest)
			t->longest = v->token[id].length;
	return 0;
}
