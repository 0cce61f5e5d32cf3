// SPDX-License-Identifier: MIT
// Ids to text, at once or as they come.
#include <stdlib.h>
#include <string.h>

#include "harness/base/utf8.h"
#include "harness/text/internal.h"

int tokenizer_n_vocab(const struct tokenizer *t)
{
	return t->vocabulary.n;
}

const char *tokenizer_text(const struct tokenizer *t, long long id, size_t *length)
{
	const struct token *token = vocabulary_token(&t->vocabulary, id);
	*length = token ? token->length : 0;
	return token ? token->text : NULL;
}

int tokenizer_id(const struct tokenizer *t, const char *text, size_t length)
{
	const struct added_set *sets[] = {&t->added, &t->added_normal};
	struct added_match match;
	for (int i = 0; i < 2; i++)
		if (added_find(sets[i], text, length, 0, ADDED_SPECIAL | ADDED_EXACT, &match) && match.start == 0 &&
		        match.end == length)
			return match.id;
	return vocabulary_find(&t->vocabulary, text, length);
}

int tokenizer_bos(const struct tokenizer *t)
{
	return t->bos;
}

int tokenizer_eos(const struct tokenizer *t)
{
	return t->eos;
}

static char *resize(char *text, size_t room)
{
	text = realloc(text, room);
	if (!text)
		die_no_memory(room);
	return text;
}

void decoder_init(struct decoder *d, const struct tokenizer *tokenizer, int flags)
{
	*d = (struct decoder){.tokenizer = tokenizer, .flags = flags, .is_at_start = 1};
	d->room = tokenizer->longest + sizeof(d->held) + 1;
	d->text = resize(NULL, d->room);
}

void decoder_release(struct decoder *d)
{
	free(d->text);
	d->text = NULL;
}

// The bytes that an id adds to the text, or NULL with a message.
static const char *piece(struct decoder *d, long long id, size_t *n, struct err *err)
{
	const struct tokenizer *t = d->tokenizer;
	const struct token *token = vocabulary_token(&t->vocabulary, id);
	if (!token) {
		if (id >= 0 && id < t->vocabulary.n)
			err_set(err, "%s: no token has the id %lld", t->path, id);
		else
			err_set(err, "%s: id %lld is out of range (0 to %d)", t->path, id, t->vocabulary.n - 1);
		return NULL;
	}
	const char *text = token->text;
	*n = token->length;
	if (token->is_special) {
		d->is_at_start = d->is_at_start || id == t->bos;
		if (d->flags & DECODE_NO_SPECIAL)
			*n = 0;
		return text;
	}
	if (d->is_at_start && t->is_always_spaced && *n && text[0] == ' ') {
		text++;
		--*n;
	}
	d->is_at_start = 0;
	return text;
}

int decoder_next(struct decoder *d, long long id, const char **text, size_t *n, struct err *err)
{
	size_t length;
	const char *bytes = piece(d, id, &length, err);
	if (!bytes)
		return -1;
	const size_t n_held = (size_t)d->n_held;
	memcpy(d->text, d->held, n_held);
	memcpy(d->text + n_held, bytes, length);
	d->n_held = utf8_unfinished(d->text, n_held + length);
	*n = n_held + length - (size_t)d->n_held;
	memcpy(d->held, d->text + *n, (size_t)d->n_held);
	*text = d->text;
	return 0;
}

const char *decoder_end(struct decoder *d, size_t *n)
{
	*n = (size_t)d->n_held;
	memcpy(d->text, d->held, *n);
	d->n_held = 0;
	d->is_at_start = 1;
	return d->text;
}

int tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t n_id, int flags, char **text,
        size_t *n, struct err *err)
{
	struct decoder d = {.tokenizer = tokenizer, .flags = flags, .is_at_start = 1};
	size_t room = 4 * n_id + 1, length;
	char *out = resize(NULL, room);
	*n = 0;
	for (size_t i = 0; i < n_id; i++) {
		const char *bytes = piece(&d, ids[i], &length, err);
		if (!bytes) {
			free(out);
			return -1;
		}
		if (*n + length + 1 > room) {
			room = 2 * (*n + length + 1);
			out = resize(out, room);
		}
		memcpy(out + *n, bytes, length);
		*n += length;
	}
	out[*n] = '\0';
	*text = out;
	return 0;
}
