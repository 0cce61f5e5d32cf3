// SPDX-License-Identifier: MIT
#include "harness/text/json.h"

#include <jansson.h>
#include <string.h>

#include "harness/text/utf8.h"

static const json_t *of(const struct doc *v)
{
	return (const json_t *)v;
}

static const struct doc *as_value(const json_t *json)
{
	return (const struct doc *)json;
}

int doc_read(struct doc **root, const char *path, const char *text, size_t length, struct err *err)
{
	char what[QUOTE_TEXT];
	json_error_t error;
	*root = (struct doc *)json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (*root)
		return 0;
	return err_set(err, "%s:%d:%d: not JSON: %s", path, error.line, error.column,
	        text_quote(what, error.text, strlen(error.text)));
}

void doc_free(struct doc *root)
{
	json_decref((json_t *)root);
}

enum doc_kind doc_kind(const struct doc *v)
{
	static const enum doc_kind kinds[] = {
	        [JSON_OBJECT] = DOC_OBJECT,
	        [JSON_ARRAY] = DOC_LIST,
	        [JSON_STRING] = DOC_TEXT,
	        [JSON_INTEGER] = DOC_NUMBER,
	        [JSON_REAL] = DOC_NUMBER,
	        [JSON_TRUE] = DOC_BOOL,
	        [JSON_FALSE] = DOC_BOOL,
	        [JSON_NULL] = DOC_NULL,
	};
	return v ? kinds[json_typeof(of(v))] : DOC_NULL;
}

const struct doc *doc_member(const struct doc *object, const char *key)
{
	return as_value(json_object_get(of(object), key));
}

size_t doc_count(const struct doc *v)
{
	return json_is_array(of(v)) ? json_array_size(of(v)) : json_object_size(of(v));
}

const struct doc *doc_at(const struct doc *list, size_t i)
{
	return as_value(json_array_get(of(list), i));
}

const char *doc_text(const struct doc *v, size_t *length)
{
	if (length)
		*length = json_string_length(of(v));
	return json_string_value(of(v));
}

int doc_is(const struct doc *v, const char *text)
{
	size_t length;
	const char *own = doc_text(v, &length);
	return own && length == strlen(text) && memcmp(own, text, length) == 0;
}

int doc_is_true(const struct doc *v)
{
	return json_is_true(of(v));
}

int doc_integer(const struct doc *v, long long *number)
{
	if (!json_is_integer(of(v)))
		return -1;
	*number = json_integer_value(of(v));
	return 0;
}

int doc_next(struct doc_walk *walk)
{
	json_t *object = (json_t *)(size_t)walk->object;
	walk->at = walk->at ? json_object_iter_next(object, walk->at) : json_object_iter(object);
	if (!walk->at)
		return 0;
	walk->key = json_object_iter_key(walk->at);
	walk->key_length = strlen(walk->key);
	walk->member = as_value(json_object_iter_value(walk->at));
	return 1;
}
