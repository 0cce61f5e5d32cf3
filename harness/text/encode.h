// SPDX-License-Identifier: MIT
// Texts to ids, by kind: characters, words, or a tokenizer's tokens. (Bytes are their own ids.) Documents come along:
// each is encoded by itself, and so is what lies between two, so that no token reaches over a document's end.
#ifndef KVLAB_TEXT_ENCODE_H
#define KVLAB_TEXT_ENCODE_H
#include "harness/text/corpus.h"
#include "harness/text/tokenizer.h"
#ifdef __cplusplus
extern "C" {
#endif

// Start from {0}; encoded_release at the end.
struct encoded {
	struct token_ids ids;
	struct document *document; // places in ids
	size_t n_document;
};
void encoded_release(struct encoded *encoded);

// Appends the ids of a piece of text. 0, or -1 with a message without place.
typedef int encode_piece(void *arg, const char *text, size_t n, struct token_ids *ids, struct err *err);
// Each document and what lies between, in order. end: the id put behind each document, or -1; with it nothing that lies
// between is encoded, since documents are texts of their own. name is for messages and progress.
int encode_documents(struct encoded *out, const struct text *text, const char *name, int end, encode_piece *piece,
        void *arg, struct err *err);

// Characters: ids are the places in the sorted list of those that occur in any of the texts. *n_vocab: how many.
// The texts must be UTF-8.
int encode_characters(struct encoded *out, int *n_vocab, const struct corpus *corpus, struct err *err);

// A tokenizer's tokens. is_by_document: as above; otherwise a text is encoded whole, as its model was fed, and has no
// documents, but for corpora of separate ones, which are encoded one by one with the tokenizer's end token behind each.
int encode_bpe(struct encoded *out, const struct corpus *corpus, const struct tokenizer *tokenizer, int is_by_document,
        struct err *err);

// What a command is given: a text file ("-": standard input), packed or not; a folder of them, each with the
// tokenizer's end token behind it, where it has one; a token file of llm.c. Appends the ids. 0, or -1 with a message
// that names the file.
int encode_path(struct token_ids *ids, const char *path, const struct tokenizer *tokenizer, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
