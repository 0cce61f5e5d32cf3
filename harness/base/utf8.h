// SPDX-License-Identifier: MIT
// UTF-8 as Unicode defines it (table 3-7): no surrogates, no overlong forms, nothing above U+10FFFF. Whatever else is
// met is a run of bytes, to be kept as it is.
#ifndef KVLAB_BASE_UTF8_H
#define KVLAB_BASE_UTF8_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

// Bytes of the well-formed character that begins at text, of which n bytes are there: 1 to 4, or 0 where none begins.
int utf8_length(const char *text, size_t n);
// Length of the longest beginning of text that is well-formed.
size_t utf8_valid(const char *text, size_t n);
// Bytes at the end of text (0 to 3) that begin a character without ending it.
int utf8_unfinished(const char *text, size_t n);
// The code point of a well-formed character; *length: its bytes.
uint32_t utf8_decode(const char *text, int *length);
// Writes a code point (below 0x110000); returns its bytes.
int utf8_encode(char out[4], uint32_t c);
// What a terminal could obey instead of showing.
int utf8_is_control(uint32_t c);
// Unicode White_Space.
int utf8_is_space(uint32_t c);

enum { QUOTE_TEXT = 64 };
// A piece of a file for a message: cut when long, anything that could disturb a terminal written as \xNN. Returns out.
const char *text_quote(char out[QUOTE_TEXT], const char *text, size_t n);

#ifdef __cplusplus
}
#endif
#endif
