// SPDX-License-Identifier: MIT
// The configuration of a file as a model's options, and back, by a family's table of keys.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/number.h"
#include "harness/pretrained/internal.h"

void family_config(struct model_config *config, const struct family *family)
{
	options_init(model_options, config);
	for (const struct family_default *d = family->defaults; d->key; d++) {
		struct err err = {0};
		if (option_set(model_options, config, d->key, d->value, &err))
			BUG("family %s: %s", family->name, err.message);
	}
}

int word_is_in(const char *word, const char *list)
{
	const size_t n = strlen(word);
	for (; *list; list += strspn(list, " ")) {
		const size_t length = strcspn(list, " ");
		if (length == n && !memcmp(list, word, n))
			return 1;
		list += length;
	}
	return 0;
}

// --- reading -------------------------------------------------------------------------------------------------------

// The value under "a.b", NULL when it is not there or null. A key with a dot in it (GGUF) is found as it is.
static const struct value *find_path(const struct value *object, const char *path)
{
	char key[WORD];
	const char *dot = strchr(path, '.');
	const struct value *value = value_find(object, path);
	if (!value && dot) {
		snprintf(key, sizeof(key), "%.*s", (int)(dot - path), path);
		const struct value *inner = value_find(object, key);
		if (inner && inner->kind == VALUE_OBJECT)
			value = find_path(inner, dot + 1);
	}
	return value && value->kind != VALUE_NULL ? value : NULL;
}

void value_word(char word[WORD], const struct value *value)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		die_no_memory(BUFSIZ);
	value_print(out, value);
	if (fclose(out))
		die_no_memory(n);
	const int is_quoted = text[0] == '"';
	snprintf(word, WORD, "%.*s", (int)(n < WORD ? n : WORD) - 2 * is_quoted, text + is_quoted);
	free(text);
}

// 10000 is 10000.0.
static int is_same(const char *a, const char *b)
{
	double x, y;
	return !strcmp(a, b) || (!number_parse(&x, a) && !number_parse(&y, b) && x == y);
}

// What there is of "a|b", under which name; NULL when there is nothing (name is the first one then). Two spellings that
// say different things are an error.
static int find_key(
        const struct value **value, const struct value *object, const char *keys, char name[WORD], struct err *err)
{
	char other[WORD], word[WORD], other_word[WORD];
	*value = NULL;
	snprintf(name, WORD, "%.*s", (int)strcspn(keys, "|"), keys);
	for (const char *at = keys; *at; at += strspn(at, "|")) {
		const int n = (int)strcspn(at, "|");
		snprintf(other, sizeof(other), "%.*s", n, at);
		at += n;
		const struct value *found = find_path(object, other);
		if (!found)
			continue;
		value_word(other_word, found);
		if (*value && !is_same(word, other_word))
			return err_set(
			        err, "%s: '%s' is %s, but '%s' is %s", object->place, name, word, other, other_word);
		*value = found;
		memcpy(name, other, sizeof(other));
		memcpy(word, other_word, sizeof(word));
	}
	return 0;
}

// "gelu=gelu silu=swiglu": what a word means, or NULL. A word without "=" means itself.
static const char *meaning(const char *words, const char *word, char out[WORD])
{
	const size_t n = strlen(word);
	for (const char *at = words; *at; at += strspn(at, " ")) {
		const size_t length = strcspn(at, " "), left = strcspn(at, "= ");
		if (left == n && !memcmp(at, word, n)) {
			const size_t skip = left < length ? left + 1 : 0;
			snprintf(out, WORD, "%.*s", (int)(length - skip), at + skip);
			return out;
		}
		at += length;
	}
	return NULL;
}

static int is_comparison(const struct family_key *key)
{
	return key->words && (key->words[0] == '=' || key->words[0] == '>');
}

static int refuse(
        const struct value *object, const char *name, const struct family_key *key, const char *word, struct err *err)
{
	char known[256] = "";
	size_t n = 0;
	for (const char *at = key->words; *at && n < sizeof(known); at += strspn(at, " ")) {
		n += (size_t)snprintf(
		        known + n, sizeof(known) - n, "%s%.*s", n ? ", " : "", (int)strcspn(at, "= "), at);
		at += strcspn(at, " ");
	}
	return err_set(err, "%s: '%s' is %s, which cannot be computed (can be: %s)", object->place, name, word, known);
}

// "4*n_embd": a number times another key's value.
static int product(char word[WORD], const char *text, const struct value *object, struct err *err)
{
	int factor;
	if (value_int(object, strchr(text, '*') + 1, VALUE_REQUIRED, 1, 1 << 20, &factor, err))
		return -1;
	snprintf(word, WORD, "%ld", strtol(text, NULL, 10) * factor);
	return 0;
}

static int read_key(
        struct model_config *config, const struct family_key *key, const struct value *object, struct err *err)
{
	char name[WORD], word[WORD], meant[WORD];
	struct err cause = {0};
	const struct value *value;
	if (find_key(&value, object, key->key, name, err))
		return -1;
	if (!value && !key->otherwise)
		return err_set(err, "%s: there is no '%s'", object->place, name);
	// A list says the same for every layer, or it cannot be computed.
	const size_t n = value && value->kind == VALUE_ARRAY && !key->option ? value->n : 1;
	for (size_t i = 0; i < n; i++) {
		if (value)
			value_word(word, value->kind == VALUE_ARRAY && !key->option ? &value->item[i] : value);
		else if (!strchr(key->otherwise, '*'))
			snprintf(word, sizeof(word), "%s", key->otherwise);
		else if (product(word, key->otherwise, object, err))
			return -1;
		if (key->words && !meaning(key->words, word, meant))
			return refuse(object, name, key, word, err);
	}
	if (key->option && option_set(model_options, config, key->option, key->words ? meant : word, &cause))
		return err_set(err, "%s: '%s': %s", object->place, name, cause.message);
	return 0;
}

// "=d_head", ">=n_ctx": the option, whole numbers all of them.
static int compare_key(
        const struct model_config *config, const struct family_key *key, const struct value *object, struct err *err)
{
	char name[WORD], word[WORD];
	const struct value *value;
	const int is_least = key->words[0] == '>';
	const struct option *option = option_find(model_options, key->words + 1 + is_least);
	const int own = *(const int *)(const void *)((const char *)config + option->offset);
	double number;
	if (find_key(&value, object, key->key, name, err))
		return -1;
	if (!value)
		return 0;
	value_word(word, value);
	if (!number_parse(&number, word) && (is_least ? number >= own : number == own))
		return 0;
	return err_set(err, "%s: '%s' is %s, which cannot be computed (can be: %s%d, the model's %s)", object->place,
	        name, word, is_least ? "at least " : "", own, option->key);
}

int config_read(struct model_config *config, const struct family *family, const struct family_format *format,
        const struct value *object, long n_vocab, struct err *err)
{
	struct err cause = {0};
	family_config(config, family);
	for (const struct family_key *key = format->keys; key->key; key++)
		if (!is_comparison(key) && read_key(config, key, object, err))
			return -1;
	if (!config->n_vocab && n_vocab < 1 << 24)
		config->n_vocab = (int)n_vocab;
	if (!config->n_vocab || !config->n_ctx)
		return err_set(err, "%s: says that the model has %d tokens and %d positions", object->place,
		        config->n_vocab, config->n_ctx);
	if (own_read_model(config, object, err))
		return -1;
	if (model_config_resolve(config, config->n_vocab, config->n_ctx, &cause))
		return err_set(err, "%s: %s", object->place, cause.message);
	for (const struct family_key *key = format->keys; key->key; key++)
		if (is_comparison(key) && compare_key(config, key, object, err))
			return -1;
	return 0;
}

// --- writing -------------------------------------------------------------------------------------------------------

// The word for an option's value, JSON, or NULL when the table has none.
static const char *file_word(const struct family_key *key, const struct model_config *config, struct arena *arena)
{
	const struct option *option = option_find(model_options, key->option);
	const char *text = option_text(option, config, arena);
	if (!key->words)
		return arena_printf(arena, option->type == OPTION_CHOICE ? "\"%s\"" : "%s", text);
	const size_t n = strlen(text);
	for (const char *at = key->words; *at; at += strspn(at, " ")) {
		const size_t length = strcspn(at, " "), left = strcspn(at, "= ");
		if (length - left - 1 == n && !memcmp(at + left + 1, text, n)) {
			const int is_truth = word_is_in(arena_printf(arena, "%.*s", (int)left, at), "true false");
			return arena_printf(arena, is_truth ? "%.*s" : "\"%.*s\"", (int)left, at);
		}
		at += length;
	}
	return NULL;
}

// Options that only training sees: files do not say them.
static const char *const of_training = "init init_std dropout dropout_embedding dropout_hidden";

int model_option_differs(const struct option *o, const struct model_config *a, const struct model_config *b)
{
	return !word_is_in(o->key, of_training) && !option_equal(o, a, b);
}

int config_said(struct model_config *said, const struct model_config *config, const struct family *family,
        const struct family_format *format, struct arena *arena, struct err *err)
{
	family_config(said, family);
	for (const struct family_key *key = format->keys; key->key; key++) {
		if (!key->option || !file_word(key, config, arena))
			continue;
		const struct option *o = option_find(model_options, key->option);
		option_copy(o, said, config);
	}
	return model_config_resolve(said, config->n_vocab, config->n_ctx, err);
}

static int is_nested(const struct family_key *key)
{
	return strcspn(key->key, ".") < strcspn(key->key, "|");
}

// A nested value that is what its absence means is left out, and with all of them their object.
static void print_nested(
        FILE *out, const struct family_key *keys, const struct model_config *config, struct arena *arena)
{
	const char *object = NULL;
	size_t n = 0;
	for (const struct family_key *key = keys; key->key; key++) {
		if (!key->option || !is_nested(key))
			continue;
		const char *word = file_word(key, config, arena);
		const int is_quoted = word[0] == '"';
		if (strlen(key->otherwise) + 2 * (size_t)is_quoted == strlen(word) &&
		        !strncmp(word + is_quoted, key->otherwise, strlen(key->otherwise)))
			continue;
		if (!object || strncmp(object, key->key, n)) {
			n = strcspn(key->key, ".");
			fprintf(out, "%s,\n  \"%.*s\": {", object ? "\n  }" : "", (int)n, key->key);
			object = key->key;
		} else {
			fputs(",", out);
		}
		const char *rest = key->key + n + 1;
		fprintf(out, "\n    \"%.*s\": %s", (int)strcspn(rest, "|"), rest, word);
	}
	if (object)
		fputs("\n  }", out);
}

char *config_text(const struct model *model, const struct model_config *said, const struct family_format *format,
        struct arena *arena)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		die_no_memory(BUFSIZ);
	const int is_own = own_is_needed(model, said);
	fprintf(out, "{\n  \"architectures\": [\"%.*s\"],\n  \"model_type\": \"%.*s\"",
	        (int)strcspn(is_own ? own_architecture : format->architectures, " "),
	        is_own ? own_architecture : format->architectures, (int)strcspn(format->types, " "), format->types);
	for (const struct family_key *key = format->keys; key->key; key++)
		if (key->option && !is_nested(key))
			fprintf(out, ",\n  \"%.*s\": %s", (int)strcspn(key->key, "|"), key->key,
			        file_word(key, said, arena));
	print_nested(out, format->keys, said, arena);
	if (is_own)
		own_print(out, model, said);
	fprintf(out, ",\n  \"torch_dtype\": \"float%d\"\n}\n", 8 * (int)sizeof(real));
	if (fclose(out))
		die_no_memory(n);
	char *copy = arena_strdup(arena, text);
	free(text);
	return copy;
}
