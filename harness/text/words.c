// SPDX-License-Identifier: MIT
#include "harness/text/words.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "harness/base/utf8.h"

// Words as they are met get numbers; which of them are kept is known when the training part has been counted.
struct types {
	struct arena arena;
	struct vocabulary vocabulary;
	char *word; // the word at hand in lower case
	size_t room;
};

static void types_init(struct types *t)
{
	static const char *const special[WORD_SPECIALS] = {"<unk>", "<eos>"};
	*t = (struct types){0};
	arena_init(&t->arena, 1 << 20);
	vocabulary_init(&t->vocabulary, &t->arena);
	for (int i = 0; i < WORD_SPECIALS; i++)
		vocabulary_add(&t->vocabulary, i, special[i], strlen(special[i]), 1);
}

static void types_release(struct types *t)
{
	arena_release(&t->arena);
	free(t->word);
}

// A lower-case letter can take more bytes than its capital (U+023A: 2 and 3).
static size_t lower(struct types *t, const char *text, size_t n)
{
	size_t n_out = 0;
	int length;
	if (2 * n + 4 > t->room) {
		t->room = 4 * n + 64;
		t->word = realloc(t->word, t->room);
		if (!t->word)
			die_no_memory(t->room);
	}
	for (size_t at = 0; at < n; at += (size_t)length) {
		const unsigned char c = (unsigned char)text[at];
		length = 1;
		if (c < 0x80)
			t->word[n_out++] = (char)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
		else
			n_out += (size_t)utf8_encode(t->word + n_out,
			        (uint32_t)utf8proc_tolower((utf8proc_int32_t)utf8_decode(text + at, &length)));
	}
	return n_out;
}

static int add_word(struct types *t, const char *text, size_t n, struct token_ids *ids, struct err *err)
{
	const size_t length = lower(t, text, n);
	int id = vocabulary_find(&t->vocabulary, t->word, length);
	if (id < 0) {
		id = t->vocabulary.n;
		if (id == VOCABULARY_MOST)
			return err_set(
			        err, "there are more than %d different words: take tokens: bpe", VOCABULARY_MOST);
		vocabulary_add(&t->vocabulary, id, t->word, length, 1);
	}
	token_ids_push(ids, id);
	return 0;
}

// Bytes of the white space that text begins with: 0 where it begins with none.
static size_t space_length(const char *text, size_t n)
{
	int length = 0;
	return n && utf8_is_space(utf8_decode(text, &length)) ? (size_t)length : 0;
}

// From the first word to the last.
static void strip(const char **text, size_t *n)
{
	size_t space, end = 0;
	while ((space = space_length(*text, *n))) {
		*text += space;
		*n -= space;
	}
	for (size_t at = 0; at < *n;) {
		int length;
		const int is_space = utf8_is_space(utf8_decode(*text + at, &length));
		at += (size_t)length;
		end = is_space ? end : at;
	}
	*n = end;
}

static int add_line(struct types *t, const char *line, size_t n, struct token_ids *ids, struct err *err)
{
	strip(&line, &n);
	if (!n || (line[0] == '=' && line[n - 1] == '='))
		return 0;
	for (size_t at = 0; at < n;) {
		size_t length = 0, space = 0;
		while (at + length < n && !(space = space_length(line + at + length, n - at - length)))
			length += (size_t)utf8_length(line + at + length, n - at - length);
		if (length && add_word(t, line + at, length, ids, err))
			return -1;
		at += length + space;
	}
	token_ids_push(ids, WORD_END);
	return 0;
}

static int words_piece(void *arg, const char *text, size_t n, struct token_ids *ids, struct err *err)
{
	for (size_t at = 0; at < n;) {
		const char *end = memchr(text + at, '\n', n - at);
		const size_t length = end ? (size_t)(end - text) - at : n - at;
		if (add_line(arg, text + at, length, ids, err))
			return -1;
		at += length + 1;
	}
	return 0;
}

struct counted {
	long count;
	int type;
	const struct token *token;
};

static int by_count(const void *a, const void *b)
{
	const struct counted *x = a, *y = b;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	const uint32_t n = x->token->length < y->token->length ? x->token->length : y->token->length;
	const int order = memcmp(x->token->text, y->token->text, n);
	return order ? order : (x->token->length > y->token->length) - (x->token->length < y->token->length);
}

// Turns numbers of types into ids. Returns the size of the vocabulary.
static int choose(struct encoded *out, const struct corpus *corpus, const struct words_setting *s, struct types *t)
{
	const int n_type = t->vocabulary.n;
	struct counted *counted = calloc((size_t)n_type, sizeof(*counted));
	int32_t *id_of = calloc((size_t)n_type, sizeof(*id_of));
	int n_vocab = WORD_SPECIALS;
	if (!counted || !id_of)
		die_no_memory((size_t)n_type * sizeof(*counted));
	for (int i = 0; i < n_type; i++)
		counted[i] = (struct counted){0, i, vocabulary_token(&t->vocabulary, i)};
	const size_t n_train = s->n_train(corpus, out[0].ids.n);
	for (size_t i = 0; i < n_train; i++)
		counted[out[0].ids.id[i]].count++;
	qsort(counted + WORD_SPECIALS, (size_t)(n_type - WORD_SPECIALS), sizeof(*counted), by_count);
	id_of[WORD_END] = WORD_END;
	for (int i = WORD_SPECIALS; i < n_type && counted[i].count && counted[i].count >= s->min_count; i++)
		if (!s->n_vocab_most || n_vocab < s->n_vocab_most)
			id_of[counted[i].type] = n_vocab++;
	for (int p = 0; p < corpus->n_part; p++)
		for (size_t i = 0; i < out[p].ids.n; i++)
			out[p].ids.id[i] = id_of[out[p].ids.id[i]];
	free(counted);
	free(id_of);
	return n_vocab;
}

int encode_words(struct encoded *out, int *n_vocab, const struct corpus *corpus, const struct words_setting *setting,
        struct err *err)
{
	struct types types;
	int rc = 0;
	types_init(&types);
	for (int p = 0; p < corpus->n_part && !rc; p++)
		rc = encode_documents(&out[p], &corpus->part[p], corpus->name, -1, words_piece, &types, err);
	if (!rc)
		*n_vocab = choose(out, corpus, setting, &types);
	types_release(&types);
	return rc;
}
