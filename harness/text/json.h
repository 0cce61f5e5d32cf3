// SPDX-License-Identifier: MIT
// JSON files of tokenizers as a tree to look things up in. json.c is the only file here that knows the JSON library.
// Looking into what is not there gives NULL, nothing, 0: a caller checks the one thing it needs at the end.
#ifndef KVLAB_TEXT_JSON_H
#define KVLAB_TEXT_JSON_H
#include <stddef.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

struct doc;
enum doc_kind { DOC_NULL, DOC_BOOL, DOC_NUMBER, DOC_TEXT, DOC_LIST, DOC_OBJECT };

// Parses one document. `path` is what messages call it. 0, or -1 with `path:line:column: what`. Duplicate keys are
// refused. Free the root with doc_free; everything got from it lives as long.
int doc_read(struct doc **root, const char *path, const char *text, size_t length, struct err *err);
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

// Members in the order of the file: struct doc_walk w = {object}; while (doc_next(&w)) use(w.key, w.member);
struct doc_walk {
	const struct doc *object;
	void *at;
	const char *key;
	size_t key_length;
	const struct doc *member;
};
int doc_next(struct doc_walk *walk);

#ifdef __cplusplus
}
#endif
#endif
