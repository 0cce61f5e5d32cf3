// SPDX-License-Identifier: MIT
// Goldens of tests/fixtures/make_tokenizers.py, and what every tokenizer must do with any text.
#ifndef KVLAB_TESTS_TEXT_GOLDEN_H
#define KVLAB_TESTS_TEXT_GOLDEN_H
#include "harness/base/rng.h"
#include "harness/text/tokenizer.h"

#define TOKENIZERS "tests/fixtures/tokenizers/"

// Opens or fails the test with the message. The caller frees.
struct tokenizer *open_tokenizer(const char *path, const char *family);

// Encodes the text of each line of a file of goldens and compares. Tokenizers are in `folder`; `families` are pairs of
// a name and its family, ending with NULL. Each text must also come back from its ids. Returns the number of lines.
int check_goldens(const char *file, const char *folder, const char *const *families);

// Encodes with ENCODE_EXACT and decodes at once and as a stream: the same bytes, and a stream that is only cut between
// characters. Texts that a vocabulary has no bytes for are left out where is_partial. Returns whether it was encoded.
int check_round_trip(const struct tokenizer *t, struct encoder *e, const char *text, size_t n, int is_partial);

// Text of all kinds: words, scripts, white space, marks, bytes that are none; of n bytes or a little more.
size_t random_text(char *out, size_t n, struct rng *rng);

#endif
