// SPDX-License-Identifier: MIT
#include "harness/text/json.h"

#include <jansson.h>
#include <string.h>

#include "harness/text/utf8.h"

static const json_t *of(const struct value *v)
{
	return (const json_t *)v;
}

static const struct value *as_value(const json_t *json)
{
	return (const struct value *)json;
}

int value_read(struct value **root, const char *path, const char *text, size_t length, struct err *err)
{
	char what[QUOTE_TEXT];
	json_error_t error;
	*root = (struct value *)json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (*root)
		return 0;
	return err_set(err, "%s:%d:%d: not JSON: %s", path, error.line, error.column,
	        text_quote(what, error.text, strlen(error.text)));
}

void value_free(struct value *root)
{
	json_decref((json_t *)root);
}

enum value_kind value_kind(const struct value *v)
{
	static const enum value_kind kinds[] = {
	        [JSON_OBJECT] = VALUE_OBJECT,
	        [JSON_ARRAY] = VALUE_LIST,
	        [JSON_STRING] = VALUE_TEXT,
	        [JSON_INTEGER] = VALUE_NUMBER,
	        [JSON_REAL] = VALUE_NUMBER,
	        [JSON_TRUE] = VALUE_BOOL,
	        [JSON_FALSE] = VALUE_BOOL,
	        [JSON_NULL] = VALUE_NULL,
	};
	return v ? kinds[json_typeof(of(v))] : VALUE_NULL;
}

const struct value *value_member(const struct value *object, const char *key)
{
	return as_value(json_object_get(of(object), key));
}

size_t value_count(const struct value *v)
{
	return json_is_array(of(v)) ? json_array_size(of(v)) : json_object_size(of(v));
}

const struct value *value_at(const struct value *list, size_t i)
{
	return as_value(json_array_get(of(list), i));
}

const char *value_text(const struct value *v, size_t *length)
{
	if (length)
		*length = json_string_length(of(v));
	return json_string_value(of(v));
}

int value_is(const struct value *v, const char *text)
{
	size_t length;
	const char *own = value_text(v, &length);
	return own && length == strlen(text) && memcmp(own, text, length) == 0;
}

int value_is_true(const struct value *v)
{
	return json_is_true(of(v));
}

int value_integer(const struct value *v, long long *number)
{
	if (!json_is_integer(of(v)))
		return -1;
	*number = json_integer_value(of(v));
	return 0;
}

int value_next(struct value_walk *walk)
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
