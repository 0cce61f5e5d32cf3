// SPDX-License-Identifier: MIT
// Token files as llm.c writes them (.bin): a header of 256 int32 (magic, version, number of tokens), then the ids:
//     20240520, version 1   uint16: GPT-2's, <|endoftext|> (50256) before each document
//     20240801, version 7   uint32: Llama 3's, <|begin_of_text|> (128000) before each document
// Which tokenizer made it a file does not say: where one is named, its ids are checked against it.
#ifndef KVLAB_TEXT_TOKEN_FILE_H
#define KVLAB_TEXT_TOKEN_FILE_H
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

struct token_file {
	const void *id; // n of them, each of `width` bytes: 2 or 4
	size_t n;
	int width;
	int end;     // the token between documents
	int id_most; // the largest id
	void *map;   // the whole file, or NULL where it was parsed in memory
	size_t bytes;
};

// Whether the file begins as one; 0 also where it cannot be read.
int token_file_is(const char *path);
// Maps the file and checks header, length and ids. 0, or -1 with a message that names it.
int token_file_open(struct token_file *file, const char *path, struct err *err);
// The same of a file in memory, aligned to 4; path is what messages call it.
int token_file_parse(struct token_file *file, const char *path, const void *data, size_t bytes, struct err *err);
// Whether all ids are below n_vocab: 0, or -1 with a message that names the place.
int token_file_check(const struct token_file *file, const char *path, int n_vocab, struct err *err);
void token_file_close(struct token_file *file);

static inline int32_t token_file_id(const struct token_file *file, size_t i)
{
	return file->width == 2 ? ((const uint16_t *)file->id)[i] : ((const int32_t *)file->id)[i];
}

#ifdef __cplusplus
}
#endif
#endif
