// SPDX-License-Identifier: MIT
// JSON as values (base/json.h reads it). Texts with a zero character are refused.
#include <string.h>

#include "harness/base/json.h"
#include "harness/weights/internal.h"

enum { NESTED_MOST = 32 };

// A bound on the values in the text, taken before any memory is.
static int check_size(const char *place, const char *text, size_t bytes, struct err *err)
{
	size_t n = 1;
	for (size_t i = 0; i < bytes; i++)
		n += (text[i] == ',') + (text[i] == '[') + (text[i] == '{');
	return n > VALUES_MOST ? err_set(err, "%s: more than %d values", place, VALUES_MOST) : 0;
}

static int convert(struct weights_set *set, struct value *out, const struct doc *doc, const char *place, int depth,
        struct err *err);

static int convert_array(struct weights_set *set, struct value *out, const struct doc *doc, const char *place,
        int depth, struct err *err)
{
	struct value *item = set_values(set, doc_count(doc), place, err);
	if (!item)
		return -1;
	out->kind = VALUE_ARRAY;
	out->n = doc_count(doc);
	out->item = item;
	for (size_t i = 0; i < out->n; i++)
		if (convert(set, &item[i], doc_at(doc, i), place, depth + 1, err))
			return -1;
	return 0;
}

static int convert_object(struct weights_set *set, struct value *out, const struct doc *doc, const char *place,
        int depth, struct err *err)
{
	struct value *item = set_values(set, doc_count(doc), place, err);
	if (!item)
		return -1;
	out->kind = VALUE_OBJECT;
	out->n = doc_count(doc);
	out->item = item;
	out->place = place;
	for (struct doc_walk w = {doc}; doc_next(&w);) {
		const char *inner = place;
		item->key = set_text(set, w.key, w.key_length);
		if (doc_kind(w.member) == DOC_OBJECT && w.key_length <= WEIGHTS_NAME &&
		        text_is_plain(w.key, w.key_length))
			inner = arena_printf(&set->arena, "%s: %s", place, w.key);
		if (convert(set, item++, w.member, inner, depth + 1, err))
			return -1;
	}
	return 0;
}

static int convert(struct weights_set *set, struct value *out, const struct doc *doc, const char *place, int depth,
        struct err *err)
{
	if (depth > NESTED_MOST) // places of objects get longer with each
		return err_set(err, "%s: nested too deep (most: %d)", place, NESTED_MOST);
	switch (doc_kind(doc)) {
	case DOC_OBJECT:
		return convert_object(set, out, doc, place, depth, err);
	case DOC_LIST:
		return convert_array(set, out, doc, place, depth, err);
	case DOC_TEXT:
		out->kind = VALUE_TEXT;
		out->text = doc_text(doc, &out->n);
		out->text = set_text(set, out->text, out->n);
		break;
	case DOC_INTEGER:
		out->kind = VALUE_INT;
		doc_integer(doc, &out->integer);
		break;
	case DOC_REAL:
		out->kind = VALUE_REAL;
		out->real = doc_real(doc);
		break;
	case DOC_BOOL:
		out->kind = VALUE_BOOL;
		out->integer = doc_is_true(doc);
		break;
	case DOC_NULL:
		out->kind = VALUE_NULL;
		break;
	}
	return 0;
}

const struct value *json_read(
        struct weights_set *set, const char *place, const void *text, size_t bytes, struct err *err)
{
	struct doc *doc;
	if (check_size(place, text, bytes, err) || doc_read(&doc, place, text, bytes, 0, err))
		return NULL;
	struct value *value = set_values(set, 1, place, err);
	if (value && doc_kind(doc) != DOC_OBJECT) {
		err_set(err, "%s: is JSON, but no object", place);
		value = NULL;
	}
	if (value && convert(set, value, doc, place, 0, err))
		value = NULL;
	doc_free(doc);
	return value;
}
