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

struct value;
enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_NUMBER, VALUE_TEXT, VALUE_LIST, VALUE_OBJECT };

// Parses one document. `path` is what messages call it. 0, or -1 with `path:line:column: what`. Duplicate keys are
// refused. Free the root with value_free; everything got from it lives as long.
int value_read(struct value **root, const char *path, const char *text, size_t length, struct err *err);
void value_free(struct value *root);

enum value_kind value_kind(const struct value *v); // VALUE_NULL for NULL
const struct value *value_member(const struct value *object, const char *key);
size_t value_count(const struct value *v); // of a list or an object
const struct value *value_at(const struct value *list, size_t i);
// UTF-8, with its bytes (it may hold zero bytes) in *length unless that is NULL; NULL where v is no text.
const char *value_text(const struct value *v, size_t *length);
// Whether v is a text and this one.
int value_is(const struct value *v, const char *text);
int value_is_true(const struct value *v);
// 0 with the whole number in *number, -1 where v is none.
int value_integer(const struct value *v, long long *number);

// Members in the order of the file: struct value_walk w = {object}; while (value_next(&w)) use(w.key, w.member);
struct value_walk {
	const struct value *object;
	void *at;
	const char *key;
	size_t key_length;
	const struct value *member;
};
int value_next(struct value_walk *walk);

#ifdef __cplusplus
}
#endif
#endif
