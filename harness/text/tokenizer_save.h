// SPDX-License-Identifier: MIT
// A tokenizer whose parts came from elsewhere (a GGUF file's metadata) as the files that tokenizer_open and the Hugging
// Face package read.
#ifndef KVLAB_TEXT_TOKENIZER_SAVE_H
#define KVLAB_TEXT_TOKENIZER_SAVE_H
#include <stdio.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

struct tokenizer_parts {
	const char *family;       // how text is split, by a name of tokenizer_families or as GGUF calls it
	int n_token;              // by id
	const char *const *token; // spelled in GPT-2's alphabet of bytes, added ones as they are
	const unsigned char *is_added, *is_special;
	int n_merge;
	const char *const *merge; // "left right", first come first
	int bos, eos;             // -1: none
	int puts_bos;             // before every text
};

// tokenizer.json. 0, or -1 with a message where the family is not known. Who closes the file looks for write errors.
int tokenizer_print(FILE *out, const struct tokenizer_parts *parts, struct err *err);
// tokenizer_config.json: what begins and ends a text.
void tokenizer_print_config(FILE *out, const struct tokenizer_parts *parts);

#ifdef __cplusplus
}
#endif
#endif
