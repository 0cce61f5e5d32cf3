// SPDX-License-Identifier: MIT
// A corpus as ids, cut into a training, a validation and a test part that share nothing. Tokenised once: the result is
// kept in a cached file (token_image.h).
//
// Parts: those of the corpus where it has them; of one that has a training and a validation part, the validation part
// halved, the second half being the test part; otherwise the first 18 twentieths of the tokens, the next, and the last.
// A document that a cut goes through is in no part's list of documents.
#ifndef KVLAB_TEXT_TOKENS_H
#define KVLAB_TEXT_TOKENS_H
#include <stdint.h>

#include "harness/text/corpus.h"
#ifdef __cplusplus
extern "C" {
#endif

enum token_kind {
	TOKENS_BYTES,      // 256 of them; the token for padding is 256
	TOKENS_CHARACTERS, // the sorted characters of the whole text; the next id is for padding
	TOKENS_WORDS,      // words.h; the vocabulary is the training part's; <eos> is for padding
	TOKENS_BPE,        // a tokenizer's, or those of a token file; its end token is for padding
};
#define TOKEN_CHOICES "bytes|characters|words|bpe"

struct tokens_setting {
	enum corpus_id corpus;
	enum token_kind kind;
	int min_count, n_vocab_most; // of words
	// Documents matter: the hash covers where a user's own text is cut, and BPE encodes each document by itself.
	// Otherwise BPE encodes a text whole and lists no documents, unless they are texts of their own.
	int is_by_document;
	const char *path; // CORPUS_FILE: a text, a folder, a token file, a folder with NAME_train.bin and NAME_val.bin
	const char *tokenizer; // BPE: a folder or file for tokenizer_open; "" for token files that nothing is known of
};

enum token_part_id { PART_TRAIN, PART_VALIDATION, PART_TEST, N_TOKEN_PART };

struct token_part {
	const void *id; // n of them, `width` bytes each
	size_t n;
	const struct document *document; // places in id
	size_t n_document;
};

struct tokens {
	const char *name;   // what messages call the corpus
	int width;          // 1, 2 or 4
	int n_vocab;        // ids of the parts are below
	int end;            // what documents are padded with; may be n_vocab itself; -1: the tokenizer names none
	double most_common; // share of the most common token
	uint64_t hash;      // of content and tokenisation; of bytes: of the text
	struct token_part part[N_TOKEN_PART];
	void *block; // that all of this lies in
	size_t block_bytes;
	int is_mapped; // it is a cached file
};

static inline int tokens_at(const struct tokens *tokens, const struct token_part *part, size_t i)
{
	return tokens->width == 1   ? ((const unsigned char *)part->id)[i]
	       : tokens->width == 2 ? ((const uint16_t *)part->id)[i]
	                            : ((const int32_t *)part->id)[i];
}

// Reads and tokenises, or takes what is cached. 0, or -1 with a message that names corpus or file.
int tokens_open(struct tokens *tokens, const struct tokens_setting *setting, struct err *err);
void tokens_close(struct tokens *tokens);
// The same once per process and setting; workers that are forked later share the memory. Not for several threads at
// once, but for those that ask for what is there.
int tokens_load(const struct tokens **tokens, const struct tokens_setting *setting, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
