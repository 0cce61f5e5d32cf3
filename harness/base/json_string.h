// SPDX-License-Identifier: MIT
// Text as JSON writes it.
#ifndef KVLAB_BASE_JSON_STRING_H
#define KVLAB_BASE_JSON_STRING_H
#include <stdio.h>
#ifdef __cplusplus
extern "C" {
#endif

// Writes one JSON string with its quotes. The text is UTF-8; bytes that are none are written as they are.
void json_print_string(FILE *out, const char *text);

#ifdef __cplusplus
}
#endif
#endif
