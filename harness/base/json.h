// SPDX-License-Identifier: MIT
// JSON as a tree to look things up in, and texts written as JSON. json.c is the only file that knows the JSON library.
// Looking into what is not there gives NULL, nothing, 0: a caller checks the one thing it needs at the end.
#ifndef KVLAB_BASE_JSON_H
#define KVLAB_BASE_JSON_H
#include <stddef.h>
#include <stdio.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

struct doc;
enum doc_kind { DOC_NULL, DOC_BOOL, DOC_INTEGER, DOC_REAL, DOC_TEXT, DOC_LIST, DOC_OBJECT };

enum doc_flag { DOC_ZERO_BYTES = 1 }; // texts may hold the character U+0000; else it is refused

// Parses one document. `path` is what messages call it. 0, or -1 with `path:line:column: what`. Duplicate keys, bytes
// that are not UTF-8 and whole numbers beyond 64 bits are refused. Free the root with doc_free; everything got from it
// lives as long.
int doc_read(struct doc **root, const char *path, const char *text, size_t length, int flags, struct err *err);
void doc_free(struct doc *root);

enum doc_kind doc_kind(const struct doc *v); // DOC_NULL for NULL
const struct doc *doc_member(const struct doc *object, const char *key);
size_t doc_count(const struct doc *v); // of a list or an object
const struct doc *doc_at(const struct doc *list, size_t i);
// UTF-8, with its bytes (it may hold zero bytes) in *length unless that is NULL; NULL where v is no text.
const char *doc_text(const struct doc *v, size_t *length);
// Whether v is a text and this one.
int doc_is(const struct doc *v, const char *text);
int doc_is_true(const struct doc *v);
// 0 with the whole number in *number, -1 where v is none.
int doc_integer(const struct doc *v, long long *number);
double doc_real(const struct doc *v); // of a number of either kind

// Members in the order of the file: struct doc_walk w = {object}; while (doc_next(&w)) use(w.key, w.member);
struct doc_walk {
	const struct doc *object;
	void *at;
	const char *key;
	size_t key_length;
	const struct doc *member;
};
int doc_next(struct doc_walk *walk);

// One quoted and escaped JSON string; bytes that are not UTF-8 become U+FFFD. No control character gets out unescaped,
// so a terminal may show it.
void json_print_text(FILE *out, const char *text, size_t n);

// "jansson 2.14": the library behind it.
const char *json_library(void);

#ifdef __cplusplus
}
#endif
#endif
