// SPDX-License-Identifier: MIT
// A tokenizer's inside, for the files of this folder.
#ifndef KVLAB_TEXT_INTERNAL_H
#define KVLAB_TEXT_INTERNAL_H
#include "harness/base/json.h"
#include "harness/text/added.h"
#include "harness/text/split.h"
#include "harness/text/tokenizer_build.h"
#include "harness/text/vocabulary.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { TEMPLATE_MOST = 8 };

struct token_list {
	int id[TEMPLATE_MOST], n;
};

struct tokenizer {
	struct arena arena;
	const char *path; // of the file that messages are about
	struct vocabulary vocabulary;
	struct merges merges;
	struct added_set added;        // found in the text as it is
	struct added_set added_normal; // found in its normal form
	struct split *split;           // NULL: scored pieces, words end where no token goes on
	int is_nfc;
	int ignores_merges;   // a word that is a token is that token, whatever the merges say
	int is_spaced;        // a space is put before text that does not begin with one
	int is_always_spaced; // before any text; decoding takes it away
	struct token_list before, after;
	int bos, eos;
	uint64_t hash;                // of the files it was made of
	size_t longest;               // token, in bytes
	unsigned char joins[1 << 13]; // scored pieces: a bit for each two bytes that stand together within a token

	// While it is being read: where the reader is, "model.merges[%zu]" and 12.
	const char *place;
	size_t place_number;
	uint32_t n_merge;
};

// GPT-2's pattern, which ByteLevel means too.
extern const char tokenizer_gpt2_pattern[];

// The readers take files in memory; `path` is what messages call them.
int tokenizer_read_json(struct tokenizer *t, const char *text, size_t n, struct err *err);
int tokenizer_read_vocabulary(struct tokenizer *t, const char *text, size_t n, struct err *err);
int tokenizer_read_merges(struct tokenizer *t, const char *text, size_t n, struct err *err);
int tokenizer_read_llama2c(struct tokenizer *t, const char *text, size_t n, struct err *err);
// An added token as tokenizer.json and tokenizer_config.json write it.
int tokenizer_read_added(struct tokenizer *t, long long id, const struct doc *v, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
