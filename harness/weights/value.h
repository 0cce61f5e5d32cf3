// SPDX-License-Identifier: MIT
// Values as files of models keep them: a config.json, the "__metadata__" of a safetensors file, the key/values of a
// GGUF file, the header of a llama2.c file. One read-only tree, whatever it was read from.
#ifndef KVLAB_WEIGHTS_VALUE_H
#define KVLAB_WEIGHTS_VALUE_H
#include <stddef.h>
#include <stdio.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

// VALUES_MOST: values one file may hold. The largest vocabularies with merges and scores have a third of it.
enum { VALUES_MOST = 1 << 22 };

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_REAL, VALUE_TEXT, VALUE_ARRAY, VALUE_OBJECT };

struct value {
	enum value_kind kind;
	const char *key; // its name in an object; NULL in an array
	union {
		long long integer; // VALUE_INT; VALUE_BOOL: 0 or 1
		double real;
		const char *text;         // n bytes, then a 0; bytes of a GGUF string may be any, 0 among them
		const struct value *item; // n values, in the file's order
	};
	size_t n;
	const char *place; // VALUE_OBJECT: what messages call it: "model/config.json: rope_scaling"
};

// The value of that key, or NULL. Keys of GGUF files have dots in them: nested objects are found one by one.
const struct value *value_find(const struct value *object, const char *key);

// What to do where a key is missing or null: refuse, or leave *out as it is.
enum value_need { VALUE_REQUIRED, VALUE_OPTIONAL };

// Typed access: 0, or -1 with a message that names the file, the key and what was found. A whole number is a real too,
// a real is never a whole number. least and most are allowed.
int value_int(const struct value *object, const char *key, enum value_need need, int least, int most, int *out,
        struct err *err);
int value_real(const struct value *object, const char *key, enum value_need need, double least, double most,
        double *out, struct err *err);
int value_bool(const struct value *object, const char *key, enum value_need need, int *out, struct err *err);
// Of a text with a 0 byte in it the part before that.
int value_text(const struct value *object, const char *key, enum value_need need, const char **out, struct err *err);
// An object within an object ("rope_scaling").
int value_object(
        const struct value *object, const char *key, enum value_need need, const struct value **out, struct err *err);

// As JSON without spaces, keys in their order: the same tree gives the same text. Numbers that are not finite become
// null, bytes that are not UTF-8 U+FFFD. No control character gets out unescaped, so a terminal may show it.
void value_print(FILE *out, const struct value *value);

#ifdef __cplusplus
}
#endif
#endif
