// SPDX-License-Identifier: MIT
#include "harness/base/json.h"

#include <jansson.h>
#include <string.h>

#include "harness/base/utf8.h"

static const json_t *of(const struct doc *v)
{
	return (const json_t *)v;
}

static const struct doc *as_value(const json_t *json)
{
	return (const struct doc *)json;
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

int doc_read(struct doc **root, const char *path, const char *text, size_t length, int flags, struct err *err)
{
	json_error_t fault;
	const size_t zero = flags & DOC_ZERO_BYTES ? JSON_ALLOW_NUL : 0;
	*root = (struct doc *)json_loadb(text, length, JSON_REJECT_DUPLICATES | zero, &fault);
	if (*root)
		return 0;
	return err_set(err, "%s:%d:%d: %s", path, fault.line, fault.column, reason_of(json_error_code(&fault)));
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
	        [JSON_INTEGER] = DOC_INTEGER,
	        [JSON_REAL] = DOC_REAL,
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

double doc_real(const struct doc *v)
{
	return json_number_value(of(v));
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

// --- writing -------------------------------------------------------------------------------------------------------

void json_print_text(FILE *out, const char *text, size_t n)
{
	putc('"', out);
	for (size_t i = 0; i < n;) {
		int length = utf8_length(text + i, n - i);
		const uint32_t code = length ? utf8_decode(text + i, &length) : 0xfffd;
		if (!length)
			fputs("\xef\xbf\xbd", out);
		else if (utf8_is_control(code))
			fprintf(out, "\\u%04x", (unsigned)code);
		else if (code == '"' || code == '\\')
			fprintf(out, "\\%c", (int)code);
		else
			fwrite(text + i, 1, (size_t)length, out);
		i += (size_t)length + !length;
	}
	putc('"', out);
}

const char *json_library(void)
{
	return "jansson " JANSSON_VERSION;
}
