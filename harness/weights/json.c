// SPDX-License-Identifier: MIT
// The one reader of JSON here: jansson parses, its tree becomes ours. Duplicate keys, bytes that are not UTF-8 and
// numbers beyond 64 bits are refused.
#include <jansson.h>
#include <string.h>

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

static int convert(
        struct weights_set *set, struct value *out, json_t *json, const char *place, int depth, struct err *err);

static int convert_array(
        struct weights_set *set, struct value *out, json_t *json, const char *place, int depth, struct err *err)
{
	struct value *item = set_values(set, json_array_size(json), place, err);
	if (!item)
		return -1;
	out->kind = VALUE_ARRAY;
	out->n = json_array_size(json);
	out->item = item;
	for (size_t i = 0; i < out->n; i++)
		if (convert(set, &item[i], json_array_get(json, i), place, depth + 1, err))
			return -1;
	return 0;
}

static int convert_object(
        struct weights_set *set, struct value *out, json_t *json, const char *place, int depth, struct err *err)
{
	struct value *item = set_values(set, json_object_size(json), place, err);
	const char *key;
	json_t *value;
	if (!item)
		return -1;
	out->kind = VALUE_OBJECT;
	out->n = json_object_size(json);
	out->item = item;
	out->place = place;
	json_object_foreach(json, key, value)
	{
		const char *inner = place;
		item->key = set_text(set, key, strlen(key));
		if (json_is_object(value) && strlen(key) <= WEIGHTS_NAME && text_is_plain(key, strlen(key)))
			inner = arena_printf(&set->arena, "%s: %s", place, key);
		if (convert(set, item++, value, inner, depth + 1, err))
			return -1;
	}
	return 0;
}

static int convert(
        struct weights_set *set, struct value *out, json_t *json, const char *place, int depth, struct err *err)
{
	if (depth > NESTED_MOST) // places of objects get longer with each
		return err_set(err, "%s: nested too deep (most: %d)", place, NESTED_MOST);
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return convert_object(set, out, json, place, depth, err);
	case JSON_ARRAY:
		return convert_array(set, out, json, place, depth, err);
	case JSON_STRING:
		out->kind = VALUE_TEXT;
		out->n = json_string_length(json);
		out->text = set_text(set, json_string_value(json), out->n);
		break;
	case JSON_INTEGER:
		out->kind = VALUE_INT;
		out->integer = json_integer_value(json);
		break;
	case JSON_REAL:
		out->kind = VALUE_REAL;
		out->real = json_real_value(json);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		out->kind = VALUE_BOOL;
		out->integer = json_is_true(json);
		break;
	case JSON_NULL:
		out->kind = VALUE_NULL;
		break;
	}
	return 0;
}

// In our words: the library's differ between versions and quote foreign bytes.
static const char *reason_of(enum json_error_code code)
{
	static const struct {
		enum json_error_code code;
		const char *reason;
	} reasons[] = {
	        {json_error_duplicate_key, "the same key twice in one object"},
	        {json_error_invalid_utf8, "is not UTF-8"},
	        {json_error_premature_end_of_input, "ends too early (truncated?)"},
	        {json_error_end_of_input_expected, "goes on after its end"},
	        {json_error_null_character, "a text with a zero character"},
	        {json_error_null_byte_in_key, "a key with a zero character"},
	        {json_error_numeric_overflow, "a number that is too large"},
	        {json_error_stack_overflow, "nested too deep"},
	        {json_error_out_of_memory, "too large for this machine's memory"},
	};
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].code == code)
			return reasons[i].reason;
	return "is not JSON";
}

const struct value *json_read(
        struct weights_set *set, const char *place, const void *text, size_t bytes, struct err *err)
{
	json_error_t fault;
	if (check_size(place, text, bytes, err))
		return NULL;
	json_t *json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &fault);
	if (!json) {
		err_set(err, "%s:%d:%d: %s", place, fault.line, fault.column, reason_of(json_error_code(&fault)));
		return NULL;
	}
	struct value *value = set_values(set, 1, place, err);
	if (value && !json_is_object(json)) {
		err_set(err, "%s: is JSON, but no object", place);
		value = NULL;
	}
	if (value && convert(set, value, json, place, 0, err))
		value = NULL;
	json_decref(json);
	return value;
}
