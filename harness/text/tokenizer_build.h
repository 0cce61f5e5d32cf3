// SPDX-License-Identifier: MIT
// Making a tokenizer from what a reader finds: for the readers of this folder, and for files that hold a tokenizer
// beside other things (GGUF). In this order: tokenizer_new, the family, tokens, merges, added tokens, tokenizer_finish;
// tokenizer_free also after an error.
#ifndef KVLAB_TEXT_TOKENIZER_BUILD_H
#define KVLAB_TEXT_TOKENIZER_BUILD_H
#include "harness/text/added.h"
#include "harness/text/tokenizer.h"
#ifdef __cplusplus
extern "C" {
#endif

// Records `path: place: message`; always -1.
int tokenizer_fail(const struct tokenizer *t, struct err *err, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
// Where the reader is, for messages: "model.merges[%zu]" and 12. The text must outlive the reading.
void tokenizer_at(struct tokenizer *t, const char *place, size_t number);

// `path` is what messages call the file.
struct tokenizer *tokenizer_new(const char *path);
// A token as a file spells it, in the alphabet that GPT-2 writes bytes in.
int tokenizer_put_spelled(struct tokenizer *t, long long id, const char *text, size_t n, struct err *err);
// "left right" and ["left", "right"].
int tokenizer_put_merge(
        struct tokenizer *t, const char *left, size_t n_left, const char *right, size_t n_right, struct err *err);
int tokenizer_put_merge_line(struct tokenizer *t, const char *line, size_t n, struct err *err);
// An added token; it may be in the vocabulary already. is_normal: it is looked for in the normal form of the text.
int tokenizer_put_added(struct tokenizer *t, const char *text, size_t n, const struct added_token *token, int is_normal,
        struct err *err);
// What begins and ends a text, -1 for none.
void tokenizer_set_ends(struct tokenizer *t, int bos, int eos);
// Checks the whole, makes the tables: after it the tokenizer may be used.
int tokenizer_finish(struct tokenizer *t, struct err *err);

// A family's way to split and normalise text, by any of its names. 0, or -1 where there is no such name.
struct split_rules {
	const char *const *patterns; // one within what the other leaves; ends with NULL
	int is_nfc, ignores_merges;
};
int tokenizer_family_rules(struct split_rules *rules, const char *name);
// Gives the tokenizer that way. 0, or -1.
int tokenizer_set_family(struct tokenizer *t, const char *name);

#ifdef __cplusplus
}
#endif
#endif
