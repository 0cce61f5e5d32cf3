// SPDX-License-Identifier: MIT
#include "harness/base/option.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/number.h"
#include "harness/base/rng.h"
#include "tests/test.h"

struct config {
	int d_select, n_step, causal, schedule, recompute;
	double lr;
	char path[9];
};

#define AT(field) offsetof(struct config, field)
static const struct option table[] = {
        {"d_select", OPTION_INT, AT(d_select), "8", 1, 64, NULL, "width"},
        {"n_step", OPTION_INT, AT(n_step), "-3", INT_MIN, INT_MAX, NULL, "steps"},
        {"causal", OPTION_BOOL, AT(causal), "true", 0, 0, NULL, "mask"},
        {"schedule", OPTION_CHOICE, AT(schedule), "linear", 0, 0, "constant|linear|cosine", "of the rate"},
        {"recompute", OPTION_CHOICE, AT(recompute), "false", 0, 0, "false|true|auto", "once a truth value"},
        {"lr", OPTION_REAL, AT(lr), "1e-3", 0, INFINITY, NULL, "rate"},
        {"path", OPTION_TEXT, AT(path), "", 0, sizeof(((struct config *)0)->path), NULL, "file"},
        {0},
};

static void defaults_are_set(void **state UNUSED)
{
	struct config c;
	memset(&c, 0x55, sizeof(c));
	options_init(table, &c);
	assert_int_equal(c.d_select, 8);
	assert_int_equal(c.n_step, -3);
	assert_int_equal(c.causal, 1);
	assert_int_equal(c.schedule, 1);
	assert_true(c.lr == 0.001);
	assert_memory_equal(c.path, "\0\0\0\0\0\0\0\0", sizeof(c.path));
}

// One field at a time leaves its default and comes back to it.
static void defaults_are_told_from_others(void **state UNUSED)
{
	static const char *const others[] = {"9", "-4", "false", "constant", "auto", "0.0010000000000000002", "a"};
	struct config c;
	options_init(table, &c);
	for (int i = 0; table[i].key; i++) {
		struct err err = {0};
		assert_int_equal(option_set(table, &c, table[i].key, others[i], &err), 0);
		for (int k = 0; table[k].key; k++)
			assert_int_equal(option_is_initial(&table[k], &c), k != i);
		option_init(&table[i], &c);
		assert_true(option_is_initial(&table[i], &c));
	}
}

// Each value is taken and printed, or refused with the message; a refused value leaves the field alone.
static void values_are_taken_or_refused(void **state UNUSED)
{
	static const struct {
		const char *key, *value, *printed, *message;
	} rows[] = {
	        {"d_select", "64", "64", NULL},
	        {"d_select", "0x10", NULL, "d_select: '0x10' is not an integer"},
	        {"d_select", "8.0", NULL, "d_select: '8.0' is not an integer"},
	        {"d_select", " 8", NULL, "d_select: ' 8' is not an integer"},
	        {"d_select", "", NULL, "d_select: '' is not an integer"},
	        {"d_select", "0", NULL, "d_select: 0 is out of range (1 to 64)"},
	        {"d_select", "99999999999999999999", NULL, "d_select: 99999999999999999999 is out of range (1 to 64)"},
	        {"n_step", "-2147483648", "-2147483648", NULL},
	        {"causal", "false", "false", NULL},
	        {"causal", "no", NULL, "causal: 'no' is not a truth value (true or false)"},
	        {"schedule", "cosine", "\"cosine\"", NULL},
	        {"schedule", "cos", NULL, "schedule: 'cos' is not one of constant|linear|cosine"},
	        {"schedule", "", NULL, "schedule: '' is not one of constant|linear|cosine"},
	        {"schedule", "constant|linear", NULL,
	                "schedule: 'constant|linear' is not one of constant|linear|cosine"},
	        {"lr", "3e-4", "0.0003", NULL},
	        {"lr", "-0", "0", NULL},
	        {"lr", "2/3", "0.6666666666666666", NULL},
	        {"lr", "-1/-.5e1", "0.2", NULL},
	        {"lr", "1/0", NULL, "lr: 1/0 is out of range (at least 0)"},
	        {"lr", "0/0", NULL, "lr: 0/0 is out of range (at least 0)"},
	        {"lr", "1/2/3", NULL, "lr: '1/2/3' is not a number"},
	        {"lr", "1/", NULL, "lr: '1/' is not a number"},
	        {"lr", "/2", NULL, "lr: '/2' is not a number"},
	        {"lr", "1 / 2", NULL, "lr: '1 / 2' is not a number"},
	        {"d_select", "4/2", NULL, "d_select: '4/2' is not an integer"},
	        {"lr", "1e30", "1e+30", NULL},
	        {"lr", "1e999", NULL, "lr: 1e999 is out of range (at least 0)"},
	        {"lr", "-1", NULL, "lr: -1 is out of range (at least 0)"},
	        {"lr", "nan", NULL, "lr: 'nan' is not a number"},
	        {"lr", "inf", NULL, "lr: 'inf' is not a number"},
	        {"path", "", "\"\"", NULL},
	        {"path", "a/b c.txt", NULL, "path: a text of 9 bytes is too long (at most 8)"},
	        {"recompute", "true", "true", NULL},
	        {"recompute", "auto", "\"auto\"", NULL},
	        {"path", "12345678", "\"12345678\"", NULL},
	        {"path", "a\"\\\n\x01\xc3\xa9", "\"a\\\"\\\\\\n\\u0001\xc3\xa9\"", NULL},
	        {"d_selct", "1", NULL, "unknown key 'd_selct' (did you mean 'd_select'?)"},
	        {"qqqqqqq", "1", NULL, "unknown key 'qqqqqqq'"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct config c, before;
		struct err err = {0};
		options_init(table, &c);
		before = c;
		int rc = option_set(table, &c, rows[i].key, rows[i].value, &err);
		if (rows[i].message) {
			assert_int_equal(rc, -1);
			assert_string_equal(err.message, rows[i].message);
			assert_memory_equal(&c, &before, sizeof(c));
			continue;
		}
		char *text = NULL;
		size_t length = 0;
		FILE *out = open_memstream(&text, &length);
		option_print(out, option_find(table, rows[i].key), &c);
		fclose(out);
		assert_int_equal(rc, 0);
		assert_string_equal(text, rows[i].printed);
		free(text);
	}
}

// A shorter text leaves nothing of the longer one behind: configs are compared and copied as bytes.
static void configs_are_compared_and_copied_by_field(void **state UNUSED)
{
	static const char *const others[] = {"9", "-4", "false", "constant", "auto", "2", "abc"};
	struct config a, b, c;
	struct err err = {0};
	memset(&c, 0x55, sizeof(c));
	options_init(table, &a);
	options_init(table, &b);
	assert_int_equal(option_set(table, &a, "path", "longer", &err), 0);
	assert_int_equal(option_set(table, &a, "path", "", &err), 0);
	for (int i = 0; table[i].key; i++) {
		assert_true(option_equal(&table[i], &a, &b));
		assert_int_equal(option_set(table, &a, table[i].key, others[i], &err), 0);
		assert_false(option_equal(&table[i], &a, &b));
		option_copy(&table[i], &c, &a);
		assert_true(option_equal(&table[i], &a, &c));
	}
}

static void printed_numbers_read_back_and_are_short(void **state UNUSED)
{
	static const struct {
		double value;
		const char *text;
	} rows[] = {
	        {0.1, "0.1"},
	        {1e-3, "0.001"},
	        {3000, "3000"},
	        {1.5, "1.5"},
	        {1e-8, "1e-08"},
	        {0, "0"},
	        {-2.5e-7, "-2.5e-07"},
	        {100000000, "100000000"},
	        {1.0 / 3, "0.3333333333333333"},
	        {DBL_MAX, "1.7976931348623157e+308"},
	        {DBL_TRUE_MIN, "5e-324"},
	        {123456789012, "123456789012"},
	};
	char text[NUMBER_TEXT];
	double back;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		number_print(text, rows[i].value);
		assert_string_equal(text, rows[i].text);
	}
	struct rng rng = rng_make(7, RNG_CHECK, 0);
	for (int i = 0; i < 20000; i++) {
		union {
			uint64_t bits;
			double value;
		} u = {(uint64_t)rng_u32(&rng) << 32 | rng_u32(&rng)};
		if (!isfinite(u.value))
			continue;
		number_print(text, u.value);
		assert_int_equal(number_parse(&back, text), 0);
		assert_true(back == u.value);
	}
}

static void only_decimal_numbers_are_read(void **state UNUSED)
{
	static const char *const good[] = {"1", "-1", "+1", ".5", "5.", "1e3", "1E-3", "-.5e+2", NULL};
	static const char *const bad[] = {
	        "", "-", ".", "e3", "1e", "1e+", "0x10", "inf", "nan", "1 ", " 1", "1,5", "1_000", NULL};
	double value;
	for (int i = 0; good[i]; i++)
		assert_int_equal(number_parse(&value, good[i]), 0);
	for (int i = 0; bad[i]; i++)
		assert_int_equal(number_parse(&value, bad[i]), -1);
}

static void the_nearest_word_is_suggested(void **state UNUSED)
{
	static const char *const words[] = {"smoke", "small", "paper", NULL};
	assert_string_equal(word_nearest(words, "smal"), "small");
	assert_string_equal(word_nearest(words, "samll"), "small"); // neighbours swapped: one edit
	assert_string_equal(word_nearest(words, "papr"), "paper");
	assert_null(word_nearest(words, "huge"));
	assert_null(word_nearest(words, ""));
	char longest[5000];
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(word_nearest(words, longest));
	assert_string_equal(option_nearest(table, "shcedule"), "schedule");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(defaults_are_set),
	        cmocka_unit_test(defaults_are_told_from_others),
	        cmocka_unit_test(values_are_taken_or_refused),
	        cmocka_unit_test(configs_are_compared_and_copied_by_field),
	        cmocka_unit_test(printed_numbers_read_back_and_are_short),
	        cmocka_unit_test(only_decimal_numbers_are_read),
	        cmocka_unit_test(the_nearest_word_is_suggested),
	};
	return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
