// SPDX-License-Identifier: MIT
// Text to the ids of a model's tokens, and back: the byte-level BPE of GPT-2, GPT-NeoX (Pythia), Qwen2 and Llama 3 from
// tokenizer.json or from vocabulary and merges, and llama2.c's scored pieces. Ids are those of Hugging Face's
// `tokenizers` (of llama2.c for its .bin): tests/text holds us to both.
//
//     tokenizer_open(&tokenizer, "models/gpt2", NULL, &err);
//     struct encoder *encoder = encoder_new(tokenizer);          one for each thread; the tokenizer is shared
//     encoder_run(encoder, text, n, ENCODE_SPECIAL, &ids, &err);  appends
//     tokenizer_decode(tokenizer, ids.id, ids.n, 0, &text, &n, &err);
//
// Decoding gives the bytes back that were encoded, whatever they are: bytes that are no UTF-8 are words of their own
// (the reference reads text only, with U+FFFD for such bytes). Where a family normalises text first (NeoX and Qwen2:
// NFC), the bytes of the normal form come back; ENCODE_EXACT leaves the normalisation out.
#ifndef KVLAB_TEXT_TOKENIZER_H
#define KVLAB_TEXT_TOKENIZER_H
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/text/merge.h"
#ifdef __cplusplus
extern "C" {
#endif

struct tokenizer;

// Reads a folder (tokenizer.json; vocab.json and merges.txt; encoder.json and vocab.bpe; tokenizer.bin) or a file
// (tokenizer.json by any name, llama2.c's .bin). Vocabulary and merges do not say how text is split: `family` does (see
// tokenizer_families), or where it is NULL the folder's tokenizer_config.json or config.json. 0, or -1 with a message
// that names file and place.
int tokenizer_open(struct tokenizer **tokenizer, const char *path, const char *family, struct err *err);
void tokenizer_free(struct tokenizer *tokenizer);
// Names that tokenizer_open takes: "gpt2, gpt_neox, qwen2, ...".
const char *tokenizer_families(void);

// One above the largest id: what a model's n_vocab must reach.
int tokenizer_n_vocab(const struct tokenizer *tokenizer);
// Of the files that it was made of: others may tokenise otherwise. 0 where it was made of no files (GGUF).
uint64_t tokenizer_hash(const struct tokenizer *tokenizer);
// A token's bytes, or NULL where no token has that id.
const char *tokenizer_text(const struct tokenizer *tokenizer, long long id, size_t *length);
// The id of the token with these bytes, or -1. An added token ("<|endoftext|>") comes before others.
int tokenizer_id(const struct tokenizer *tokenizer, const char *text, size_t length);
// What begins and ends a text for the model, or -1 where the files do not say.
int tokenizer_bos(const struct tokenizer *tokenizer);
int tokenizer_eos(const struct tokenizer *tokenizer);

enum encode_flag {
	ENCODE_SPECIAL = 1,  // "<|endoftext|>" in the text is the token; else it is text like any other
	ENCODE_TEMPLATE = 2, // puts around the text what the file asks for: Llama's <|begin_of_text|>
	ENCODE_EXACT = 4,    // no normal form, no space put before the text: decoding gives the same bytes
};

struct encoder;
struct encoder *encoder_new(const struct tokenizer *tokenizer);
void encoder_free(struct encoder *encoder);
// Appends the ids of a whole text of at most 1 GiB: cutting a text elsewhere than between documents changes its ids.
// 0, or -1 with a message where a byte of the text has no token; then ids is as before.
int encoder_run(struct encoder *encoder, const char *text, size_t n, int flags, struct token_ids *ids, struct err *err);

enum decode_flag { DECODE_NO_SPECIAL = 1 }; // control tokens give no text

// All ids at once; the caller frees *text, which ends with a zero byte that *n does not count. 0, or -1 with a message
// for an id that no token has.
int tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t n_id, int flags, char **text,
        size_t *n, struct err *err);

// As ids come: a token may end within a character, whose bytes are held back until it is whole or cannot become so.
struct decoder {
	const struct tokenizer *tokenizer;
	int flags, is_at_start;
	char *text;
	size_t room;
	char held[4];
	int n_held;
};
void decoder_init(struct decoder *decoder, const struct tokenizer *tokenizer, int flags);
void decoder_release(struct decoder *decoder);
// What can be shown after this id, valid until the next call: *n bytes, maybe none. 0, or -1 with a message.
int decoder_next(struct decoder *decoder, long long id, const char **text, size_t *n, struct err *err);
// What was held back at the end; the decoder is as new after it.
const char *decoder_end(struct decoder *decoder, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
