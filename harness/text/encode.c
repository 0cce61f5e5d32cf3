// SPDX-License-Identifier: MIT
#include "harness/text/encode.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/base/utf8.h"
#include "harness/text/folder.h"
#include "harness/text/token_file.h"

void encoded_release(struct encoded *encoded)
{
	free(encoded->ids.id);
	free(encoded->document);
	*encoded = (struct encoded){0};
}

int encode_documents(struct encoded *out, const struct text *text, const char *name, int end, encode_piece *piece,
        void *arg, struct err *err)
{
	const char *bytes = text->bytes.bytes;
	const double mb = 1e6;
	struct progress progress;
	size_t at = 0;
	out->document = malloc((text->n_document + 1) * sizeof(*out->document));
	if (!out->document)
		die_no_memory((text->n_document + 1) * sizeof(*out->document));
	progress_init(&progress, "tokenising, MB", (double)text->bytes.n / mb, 0);
	for (size_t d = 0; d <= text->n_document; d++) {
		const int is_last = d == text->n_document;
		const size_t from = is_last ? text->bytes.n : text->document[d].from;
		if (from > at && end < 0 && piece(arg, bytes + at, from - at, &out->ids, err))
			return -1;
		if (is_last)
			break;
		struct document *document = &out->document[out->n_document];
		document->from = out->ids.n;
		at = text->document[d].to;
		if (piece(arg, bytes + from, at - from, &out->ids, err))
			return -1;
		document->to = out->ids.n;
		out->n_document += document->to > document->from;
		if (end >= 0)
			token_ids_push(&out->ids, end);
		progress_update(&progress, (double)at / mb, name);
	}
	progress_end(&progress, (double)text->bytes.n / mb, name);
	return 0;
}

static int character_piece(void *arg, const char *text, size_t n, struct token_ids *ids, struct err *err)
{
	(void)err;
	const int32_t *id_of = arg;
	int length;
	token_ids_reserve(ids, n);
	for (size_t at = 0; at < n; at += (size_t)length)
		token_ids_push(ids, id_of[utf8_decode(text + at, &length)]);
	return 0;
}

int encode_characters(struct encoded *out, int *n_vocab, const struct corpus *corpus, struct err *err)
{
	enum { POINTS = 0x110000 };
	int32_t *id_of = calloc(POINTS, sizeof(*id_of));
	int length, rc = 0;
	if (!id_of)
		die_no_memory(POINTS * sizeof(*id_of));
	for (int p = 0; p < corpus->n_part; p++) {
		const struct bytes_list *text = &corpus->part[p].bytes;
		for (size_t at = 0; at < text->n; at += (size_t)length)
			id_of[utf8_decode(text->bytes + at, &length)] = 1;
	}
	*n_vocab = 0;
	for (int c = 0; c < POINTS; c++)
		if (id_of[c])
			id_of[c] = (*n_vocab)++;
	for (int p = 0; p < corpus->n_part && !rc; p++)
		rc = encode_documents(&out[p], &corpus->part[p], corpus->name, -1, character_piece, id_of, err);
	free(id_of);
	return rc;
}

static int bpe_piece(void *arg, const char *text, size_t n, struct token_ids *ids, struct err *err)
{
	return encoder_run(arg, text, n, 0, ids, err);
}

static int encode_text(struct encoded *out, const struct text *text, const char *name, int is_whole, int end,
        struct encoder *encoder, struct err *err)
{
	struct err cause = {0};
	const struct text whole = {.bytes = text->bytes};
	if (encode_documents(out, is_whole ? &whole : text, name, end, bpe_piece, encoder, &cause))
		return err_set(err, "%s: %s", name, cause.message);
	return 0;
}

int encode_bpe(struct encoded *out, const struct corpus *corpus, const struct tokenizer *tokenizer, int is_by_document,
        struct err *err)
{
	struct encoder *encoder = encoder_new(tokenizer);
	const int end = corpus->is_separate ? tokenizer_eos(tokenizer) : -1;
	const int is_whole = !is_by_document && !corpus->is_separate;
	int rc = 0;
	for (int p = 0; p < corpus->n_part && !rc; p++)
		rc = encode_text(&out[p], &corpus->part[p], corpus->name, is_whole, end, encoder, err);
	encoder_free(encoder);
	return rc;
}

static int read_token_file(struct token_ids *ids, const char *path, const struct tokenizer *tokenizer, struct err *err)
{
	struct token_file file;
	if (token_file_open(&file, path, err))
		return -1;
	const int rc = token_file_check(&file, path, tokenizer_n_vocab(tokenizer), err);
	token_ids_reserve(ids, rc ? 0 : file.n);
	for (size_t i = 0; i < file.n && !rc; i++)
		token_ids_push(ids, token_file_id(&file, i));
	token_file_close(&file);
	return rc;
}

int encode_path(struct token_ids *ids, const char *path, const struct tokenizer *tokenizer, struct err *err)
{
	struct text text = {0};
	struct encoded encoded = {.ids = *ids};
	int is_separate;
	if (token_file_is(path))
		return read_token_file(ids, path, tokenizer, err);
	int rc = text_read(&text, path, NULL, 1, &is_separate, err);
	if (!rc && !text.bytes.n)
		rc = err_set(err, "%s: holds no text", path);
	struct encoder *encoder = encoder_new(tokenizer);
	if (!rc)
		rc = encode_text(
		        &encoded, &text, path, !is_separate, is_separate ? tokenizer_eos(tokenizer) : -1, encoder, err);
	encoder_free(encoder);
	text_release(&text);
	*ids = encoded.ids;
	free(encoded.document);
	return rc;
}
