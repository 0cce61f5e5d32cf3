// SPDX-License-Identifier: MIT
#include "harness/base/option.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/json_string.h"
#include "harness/base/number.h"

static void *field_of(const struct option *option, void *config)
{
	return (char *)config + option->offset;
}

// Position of word in a "a|b|c" list, or -1.
static int choice_index(const char *choices, const char *word)
{
	size_t length = strlen(word);
	int index = 0;
	for (const char *at = choices;; at++, index++) {
		size_t n = strcspn(at, "|");
		if (n == length && memcmp(at, word, n) == 0)
			return index;
		at += n;
		if (!*at)
			return -1;
	}
}

// The range as a remedy. Bounds beyond what the type holds are not worth printing.
static int refuse_range(const struct option *o, const char *value, struct err *err)
{
	char least[NUMBER_TEXT], most[NUMBER_TEXT];
	number_print(least, o->least);
	number_print(most, o->most);
	int has_most = isfinite(o->most) && (o->type != OPTION_INT || o->most < INT_MAX);
	if (!isfinite(o->least))
		return err_set(err, "%s: %s is out of range (at most %s)", o->key, value, most);
	if (!has_most)
		return err_set(err, "%s: %s is out of range (at least %s)", o->key, value, least);
	return err_set(err, "%s: %s is out of range (%s to %s)", o->key, value, least, most);
}

static int set_int(const struct option *o, int *field, const char *value, struct err *err)
{
	char *end;
	errno = 0;
	long long number = strtoll(value, &end, 10);
	if (isspace((unsigned char)*value) || end == value || *end)
		return err_set(err, "%s: '%s' is not an integer", o->key, value);
	if (errno == ERANGE || number < INT_MIN || number > INT_MAX || (double)number < o->least ||
	        (double)number > o->most)
		return refuse_range(o, value, err);
	*field = (int)number;
	return 0;
}

// A number, or a fraction of two (2/3).
static int parse_real(double *number, const char *value)
{
	char above[NUMBER_TEXT];
	double below;
	const char *slash = strchr(value, '/');
	if (!slash)
		return number_parse(number, value);
	if (slash - value >= NUMBER_TEXT)
		return -1;
	snprintf(above, sizeof(above), "%.*s", (int)(slash - value), value);
	if (number_parse(number, above) || number_parse(&below, slash + 1))
		return -1;
	*number /= below;
	return 0;
}

static int set_real(const struct option *o, double *field, const char *value, struct err *err)
{
	double number;
	if (parse_real(&number, value))
		return err_set(err, "%s: '%s' is not a number", o->key, value);
	if (!isfinite(number) || number < o->least || number > o->most)
		return refuse_range(o, value, err);
	*field = number + 0.0; // -0 becomes 0: equal settings must have equal text
	return 0;
}

static int set_bool(const struct option *o, int *field, const char *value, struct err *err)
{
	if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
		return err_set(err, "%s: '%s' is not a truth value (true or false)", o->key, value);
	*field = value[0] == 't';
	return 0;
}

static int set_choice(const struct option *o, int *field, const char *value, struct err *err)
{
	int index = choice_index(o->choices, value);
	if (index < 0)
		return err_set(err, "%s: '%s' is not one of %s", o->key, value, o->choices);
	*field = index;
	return 0;
}

static size_t bytes_of(const struct option *o)
{
	return o->type == OPTION_TEXT ? (size_t)o->most : o->type == OPTION_REAL ? sizeof(double) : sizeof(int);
}

static int set_text(const struct option *o, char *field, const char *value, struct err *err)
{
	const size_t size = bytes_of(o), length = strlen(value);
	if (length >= size)
		return err_set(err, "%s: a text of %zu bytes is too long (at most %zu)", o->key, length, size - 1);
	memset(field, 0, size);
	memcpy(field, value, length);
	return 0;
}

static int set_field(const struct option *o, void *field, const char *value, struct err *err)
{
	switch (o->type) {
	case OPTION_INT:
		return set_int(o, field, value, err);
	case OPTION_REAL:
		return set_real(o, field, value, err);
	case OPTION_BOOL:
		return set_bool(o, field, value, err);
	case OPTION_CHOICE:
		return set_choice(o, field, value, err);
	case OPTION_TEXT:
		return set_text(o, field, value, err);
	}
	BUG("option '%s' has type %d", o->key, o->type);
}

int option_set(const struct option *table, void *config, const char *key, const char *value, struct err *err)
{
	const struct option *o = option_find(table, key);
	if (!o) {
		const char *near = option_nearest(table, key);
		if (near)
			return err_set(err, "unknown key '%s' (did you mean '%s'?)", key, near);
		return err_set(err, "unknown key '%s'", key);
	}
	return set_field(o, field_of(o, config), value, err);
}

static void init_field(const struct option *o, void *field)
{
	struct err err = {0};
	if (set_field(o, field, o->initial, &err))
		BUG("default of an option: %s", err.message);
}

void option_init(const struct option *option, void *config)
{
	init_field(option, field_of(option, config));
}

void options_init(const struct option *table, void *config)
{
	for (const struct option *o = table; o && o->key; o++)
		option_init(o, config);
}

int option_is_initial(const struct option *option, const void *config)
{
	const void *field = (const char *)config + option->offset;
	union {
		int integer;
		double number;
	} initial;
	if (option->type == OPTION_TEXT)
		return strcmp(field, option->initial) == 0;
	init_field(option, &initial);
	if (option->type == OPTION_REAL)
		return *(const double *)field == initial.number;
	return *(const int *)field == initial.integer;
}

int option_equal(const struct option *option, const void *a, const void *b)
{
	const char *x = (const char *)a + option->offset, *y = (const char *)b + option->offset;
	if (option->type == OPTION_REAL)
		return *(const double *)x == *(const double *)y;
	return memcmp(x, y, bytes_of(option)) == 0;
}

void option_copy(const struct option *option, void *to, const void *from)
{
	memcpy((char *)to + option->offset, (const char *)from + option->offset, bytes_of(option));
}

const struct option *option_find(const struct option *table, const char *key)
{
	for (const struct option *o = table; o && o->key; o++)
		if (strcmp(o->key, key) == 0)
			return o;
	return NULL;
}

// Choice i, up to the next bar or the end.
static const char *chosen(const struct option *option, int i)
{
	const char *choice = option->choices;
	for (; i > 0; i--)
		choice += strcspn(choice, "|") + 1;
	return choice;
}

static int is_word(const char *text, int n, const char *word)
{
	return strlen(word) == (size_t)n && !memcmp(text, word, (size_t)n);
}

void option_print(FILE *out, const struct option *option, const void *config)
{
	const void *field = (const char *)config + option->offset;
	char text[NUMBER_TEXT];
	switch (option->type) {
	case OPTION_INT:
		fprintf(out, "%d", *(const int *)field);
		return;
	case OPTION_REAL:
		number_print(text, *(const double *)field);
		fputs(text, out);
		return;
	case OPTION_BOOL:
		fputs(*(const int *)field ? "true" : "false", out);
		return;
	case OPTION_CHOICE: {
		const char *choice = chosen(option, *(const int *)field);
		const int n = (int)strcspn(choice, "|"),
		          is_truth = is_word(choice, n, "true") || is_word(choice, n, "false");
		fprintf(out, is_truth ? "%.*s" : "\"%.*s\"", n, choice);
		return;
	}
	case OPTION_TEXT:
		json_print_string(out, field);
		return;
	}
	BUG("option '%s' has type %d", option->key, option->type);
}

char *option_text(const struct option *option, const void *config, struct arena *arena)
{
	const void *field = (const char *)config + option->offset;
	char number[NUMBER_TEXT];
	const char *choice;
	switch (option->type) {
	case OPTION_INT:
		return arena_printf(arena, "%d", *(const int *)field);
	case OPTION_REAL:
		number_print(number, *(const double *)field);
		return arena_strdup(arena, number);
	case OPTION_BOOL:
		return arena_strdup(arena, *(const int *)field ? "true" : "false");
	case OPTION_CHOICE:
		choice = chosen(option, *(const int *)field);
		return arena_printf(arena, "%.*s", (int)strcspn(choice, "|"), choice);
	case OPTION_TEXT:
		return arena_strdup(arena, field);
	}
	BUG("option type %d", (int)option->type);
}

enum { WORD_MOST = 64 }; // longer words are nobody's typing error

static int least_of(int a, int b)
{
	return a < b ? a : b;
}

// Edits (insert, delete, replace, swap of neighbours) between two words of at most WORD_MOST letters.
static int edit_distance(const char *a, const char *b)
{
	int n = (int)strlen(a), m = (int)strlen(b);
	int row[3][WORD_MOST + 1]; // rows i, i-1 and i-2 of the table, reused in turn
	for (int i = 0; i <= n; i++) {
		int *now = row[i % 3], *above = row[(i + 2) % 3], *above2 = row[(i + 1) % 3];
		for (int j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				now[j] = i + j;
				continue;
			}
			now[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			now[j] = least_of(now[j], 1 + least_of(above[j], now[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least_of(now[j], 1 + above2[j - 2]);
		}
	}
	return row[n % 3][m];
}

// Keeps the nearer of *best and candidate; near means within half of the word.
static void consider(const char **best, int *best_distance, const char *candidate, const char *word)
{
	if (strlen(word) > WORD_MOST || strlen(candidate) > WORD_MOST)
		return;
	int distance = edit_distance(candidate, word);
	if (distance < *best_distance && 2 * distance <= (int)strlen(word)) {
		*best = candidate;
		*best_distance = distance;
	}
}

const char *option_nearest(const struct option *table, const char *word)
{
	const char *best = NULL;
	int distance = INT_MAX;
	for (const struct option *o = table; o && o->key; o++)
		consider(&best, &distance, o->key, word);
	return best;
}

const char *word_nearest(const char *const *words, const char *word)
{
	const char *best = NULL;
	int distance = INT_MAX;
	for (; *words; words++)
		consider(&best, &distance, *words, word);
	return best;
}
