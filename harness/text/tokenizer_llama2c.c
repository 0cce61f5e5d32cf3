// SPDX-License-Identifier: MIT
// llama2.c's tokenizer.bin: sentencepiece's pieces with their scores. The pair merges first whose piece has the highest
// score, which is a rank for each pair that makes a piece; so it is merged as any BPE. Three control tokens, then 256
// tokens of one byte each for what has no piece; a space stands before every text.
#include <stdlib.h>
#include <string.h>

#include "harness/base/utf8.h"
#include "harness/text/internal.h"

enum { N_CONTROL = 3, BOS = 1, EOS = 2, FIRST_BYTE = N_CONTROL, FIRST_PIECE = FIRST_BYTE + 256, PIECE_MOST = 512 };

struct reader {
	const char *at;
	size_t left;
};

static int take(struct reader *r, void *out, size_t n)
{
	if (r->left < n)
		return -1;
	memcpy(out, r->at, n);
	r->at += n;
	r->left -= n;
	return 0;
}

static int put_piece(struct tokenizer *t, int id, const char *text, size_t n, struct err *err)
{
	char quoted[QUOTE_TEXT];
	if (id >= N_CONTROL && id < FIRST_PIECE) {
		const char byte = (char)(id - FIRST_BYTE);
		t->merges.byte_id[id - FIRST_BYTE] = id;
		vocabulary_add(&t->vocabulary, id, &byte, 1, 0);
		return 0;
	}
	if (id >= FIRST_PIECE && n && vocabulary_find(&t->vocabulary, text, n) >= 0)
		return tokenizer_fail(t, err, "a second piece '%s'", text_quote(quoted, text, n));
	struct token *token = vocabulary_add(&t->vocabulary, id, text, n, id >= FIRST_PIECE && n > 0);
	token->is_special = id < N_CONTROL;
	return 0;
}

static int read_pieces(struct tokenizer *t, struct reader *r, float *score, struct err *err)
{
	uint32_t longest, n;
	tokenizer_at(t, "its first bytes", 0);
	if (take(r, &longest, sizeof(longest)) || longest == 0 || longest > PIECE_MOST)
		return tokenizer_fail(t, err, "not a llama2.c tokenizer, which begins with its longest piece's length");
	for (int id = 0; r->left; id++) {
		tokenizer_at(t, "token %zu", (size_t)id);
		if (id == VOCABULARY_MOST)
			return tokenizer_fail(t, err, "more than %d tokens", VOCABULARY_MOST);
		if (take(r, &score[id], sizeof(*score)) || take(r, &n, sizeof(n)) || n > r->left)
			return tokenizer_fail(t, err, "the file ends within it");
		if (n > PIECE_MOST)
			return tokenizer_fail(t, err, "%u bytes (at most %d)", n, PIECE_MOST);
		if (score[id] != score[id])
			return tokenizer_fail(t, err, "its score is not a number");
		if (put_piece(t, id, r->at, n, err))
			return -1;
		r->at += n;
		r->left -= n;
	}
	if (t->vocabulary.n <= FIRST_PIECE)
		return tokenizer_fail(t, err, "the last one: 3 control tokens, 256 bytes and a piece are the least");
	return 0;
}

struct scored {
	float score;
	int id;
};

static int compare(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;
	return (x->score < y->score) - (x->score > y->score);
}

// Every way to cut a piece in two pieces is a pair that makes it. Equal scores are one rank: there the left one merges.
static void put_pairs(struct tokenizer *t, const float *score)
{
	const struct vocabulary *v = &t->vocabulary;
	const int n = v->n - FIRST_PIECE;
	struct scored *order = arena_alloc(&t->arena, (size_t)n * sizeof(*order));
	for (int i = 0; i < n; i++)
		order[i] = (struct scored){score[FIRST_PIECE + i], FIRST_PIECE + i};
	qsort(order, (size_t)n, sizeof(*order), compare);
	for (int i = 0; i < n; i++) {
		const struct token *piece = &v->token[order[i].id];
		if (i > 0 && order[i].score < order[i - 1].score)
			t->n_merge++;
		for (size_t cut = 1; cut < piece->length; cut++) {
			const int left = vocabulary_find(v, piece->text, cut),
			          right = vocabulary_find(v, piece->text + cut, piece->length - cut);
			const unsigned first = (unsigned char)piece->text[cut - 1],
			               second = (unsigned char)piece->text[cut];
			t->joins[first << 5 | second >> 3] |= (unsigned char)(1 << (second & 7));
			if (left >= 0 && right >= 0)
				pair_map_put(&t->merges.pair, (uint32_t)left, (uint32_t)right, t->n_merge, order[i].id);
		}
	}
}

int tokenizer_read_llama2c(struct tokenizer *t, const char *text, size_t n, struct err *err)
{
	struct reader r = {text, n};
	// A token takes at least eight bytes.
	float *score = arena_alloc(&t->arena, (n / 8 + 1) * sizeof(*score));
	if (read_pieces(t, &r, score, err))
		return -1;
	put_pairs(t, score);
	t->merges.is_by_character = 1;
	t->is_always_spaced = 1;
	tokenizer_set_ends(t, BOS, EOS);
	t->before = (struct token_list){{BOS}, 1};
	return 0;
}
