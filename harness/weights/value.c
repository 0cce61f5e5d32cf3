// SPDX-License-Identifier: MIT
#include "harness/weights/value.h"

#include <math.h>
#include <string.h>

#include "harness/base/json.h"
#include "harness/base/number.h"
#include "harness/base/utf8.h"
#include "harness/weights/internal.h"

static const char *const kind_names[] = {
        "null", "true or false", "a whole number", "a real number", "a text", "a list", "an object"};

const struct value *value_find(const struct value *object, const char *key)
{
	for (size_t i = 0; object && object->kind == VALUE_OBJECT && i < object->n; i++)
		if (!strcmp(object->item[i].key, key))
			return &object->item[i];
	return NULL;
}

// 1: there is a value of that kind; 0: none, and none is needed.
static int look_up(const struct value **value, const struct value *object, const char *key, enum value_need need,
        unsigned kinds, enum value_kind wanted, struct err *err)
{
	if (object->kind != VALUE_OBJECT)
		BUG("asked for '%s' of %s", key, kind_names[object->kind]);
	*value = value_find(object, key);
	if (!*value || (*value)->kind == VALUE_NULL)
		return need == VALUE_OPTIONAL ? 0 : err_set(err, "%s: '%s' is missing", object->place, key);
	if (!(kinds & 1u << (*value)->kind))
		return err_set(err, "%s: '%s' is %s, should be %s", object->place, key, kind_names[(*value)->kind],
		        kind_names[wanted]);
	return 1;
}

int value_int(const struct value *object, const char *key, enum value_need need, int least, int most, int *out,
        struct err *err)
{
	const struct value *value;
	int found = look_up(&value, object, key, need, 1u << VALUE_INT, VALUE_INT, err);
	if (found <= 0)
		return found;
	if (value->integer < least || value->integer > most)
		return err_set(
		        err, "%s: '%s' is %lld, should be %d to %d", object->place, key, value->integer, least, most);
	*out = (int)value->integer;
	return 0;
}

int value_real(const struct value *object, const char *key, enum value_need need, double least, double most,
        double *out, struct err *err)
{
	const struct value *value;
	int found = look_up(&value, object, key, need, 1u << VALUE_INT | 1u << VALUE_REAL, VALUE_REAL, err);
	if (found <= 0)
		return found;
	double number = value->kind == VALUE_INT ? (double)value->integer : value->real;
	if (!(number >= least && number <= most))
		return err_set(err, "%s: '%s' is %g, should be %g to %g", object->place, key, number, least, most);
	*out = number;
	return 0;
}

int value_bool(const struct value *object, const char *key, enum value_need need, int *out, struct err *err)
{
	const struct value *value;
	int found = look_up(&value, object, key, need, 1u << VALUE_BOOL, VALUE_BOOL, err);
	if (found > 0)
		*out = (int)value->integer;
	return found < 0 ? -1 : 0;
}

int value_text(const struct value *object, const char *key, enum value_need need, const char **out, struct err *err)
{
	const struct value *value;
	int found = look_up(&value, object, key, need, 1u << VALUE_TEXT, VALUE_TEXT, err);
	if (found > 0)
		*out = value->text;
	return found < 0 ? -1 : 0;
}

int value_object(
        const struct value *object, const char *key, enum value_need need, const struct value **out, struct err *err)
{
	const struct value *value;
	int found = look_up(&value, object, key, need, 1u << VALUE_OBJECT, VALUE_OBJECT, err);
	if (found > 0)
		*out = value;
	return found < 0 ? -1 : 0;
}

int text_is_utf8(const char *text, size_t n)
{
	return utf8_valid(text, n) == n;
}

int text_is_plain(const char *text, size_t n)
{
	for (int length; n; text += length, n -= (size_t)length) {
		length = utf8_length(text, n);
		if (!length || utf8_is_control(utf8_decode(text, &length)))
			return 0;
	}
	return 1;
}

void value_print(FILE *out, const struct value *value)
{
	char number[NUMBER_TEXT];
	switch (value->kind) {
	case VALUE_NULL:
		fputs("null", out);
		break;
	case VALUE_BOOL:
		fputs(value->integer ? "true" : "false", out);
		break;
	case VALUE_INT:
		fprintf(out, "%lld", value->integer);
		break;
	case VALUE_REAL:
		number_print(number, value->real);
		// A real stays one when it is read again.
		fprintf(out, "%s%s", isfinite(value->real) ? number : "null",
		        !isfinite(value->real) || strpbrk(number, ".e") ? "" : ".0");
		break;
	case VALUE_TEXT:
		json_print_text(out, value->text, value->n);
		break;
	case VALUE_ARRAY:
	case VALUE_OBJECT:
		putc(value->kind == VALUE_ARRAY ? '[' : '{', out);
		for (size_t i = 0; i < value->n; i++) {
			if (i)
				putc(',', out);
			if (value->kind == VALUE_OBJECT) {
				json_print_text(out, value->item[i].key, strlen(value->item[i].key));
				putc(':', out);
			}
			value_print(out, &value->item[i]);
		}
		putc(value->kind == VALUE_ARRAY ? ']' : '}', out);
		break;
	}
}
