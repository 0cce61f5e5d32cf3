// SPDX-License-Identifier: MIT
// config.json and GGUF key/values through the one view, and what asking for the wrong thing says.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/weights/files.h"

static struct weights *weights;
static const struct value *config;

static int setup(UNUSED void **state)
{
	struct err err = {0};
	if (weights_open(&weights, FIXTURES "sharded", &err))
		fail_msg("%s", err.message);
	config = weights->config;
	return 0;
}

static int teardown(UNUSED void **state)
{
	weights_close(weights);
	return 0;
}

static void what_is_there(UNUSED void **state)
{
	struct err err = {0};
	const struct value *scaling, *list = value_find(config, "architectures");
	const char *text = NULL;
	int n = 0, tied = 0;
	double base = 0, eps = 0, factor = 0;
	assert_int_equal(value_int(config, "hidden_size", VALUE_REQUIRED, 1, 1 << 20, &n, &err), 0);
	assert_int_equal(n, 64);
	assert_int_equal(value_real(config, "rope_theta", VALUE_REQUIRED, 0, INFINITY, &base, &err), 0);
	assert_int_equal(value_real(config, "rms_norm_eps", VALUE_REQUIRED, 0, 1, &eps, &err), 0);
	assert_true(base == 10000 && eps == 1e-5);
	assert_int_equal(value_bool(config, "tie_word_embeddings", VALUE_REQUIRED, &tied, &err), 0);
	assert_int_equal(tied, 1);
	assert_int_equal(value_text(config, "model_type", VALUE_REQUIRED, &text, &err), 0);
	assert_string_equal(text, "llama");
	assert_int_equal(value_object(config, "rope_scaling", VALUE_REQUIRED, &scaling, &err), 0);
	assert_int_equal(value_real(scaling, "factor", VALUE_REQUIRED, 0, 100, &factor, &err), 0);
	assert_true(factor == 32);
	assert_true(list->kind == VALUE_ARRAY && list->n == 1 && !strcmp(list->item[0].text, "LlamaForCausalLM"));
	assert_string_equal(value_find(config, "ß")->text, "→\"");
	assert_false(err.is_set);
}

static void what_is_not(UNUSED void **state)
{
	struct err err = {0};
	int n = 7;
	const char *text = "as it was";
	// null counts as missing: published files say so for "follow the others".
	assert_int_equal(value_int(config, "head_dim", VALUE_OPTIONAL, 1, 9, &n, &err), 0);
	assert_int_equal(value_int(config, "n_experts", VALUE_OPTIONAL, 1, 9, &n, &err), 0);
	assert_int_equal(value_text(config, "n_experts", VALUE_OPTIONAL, &text, &err), 0);
	assert_int_equal(n, 7);
	assert_string_equal(text, "as it was");
	assert_false(err.is_set);
	assert_null(value_find(config, "factor"));
}

#define REFUSES(call, wanted)                                                                                          \
	do {                                                                                                           \
		struct err err = {0};                                                                                  \
		assert_int_equal(call, -1);                                                                            \
		assert_string_equal(err.message, FIXTURES "sharded/config.json: " wanted);                             \
		assert_false(err.is_fault);                                                                            \
	} while (0)

static void refusals(UNUSED void **state)
{
	const struct value *scaling = value_find(config, "rope_scaling"), *object;
	const char *text;
	double x;
	int n;
	REFUSES(value_int(config, "head_dim", VALUE_REQUIRED, 1, 9, &n, &err), "'head_dim' is missing");
	REFUSES(value_int(config, "hidden_size", VALUE_REQUIRED, 1, 63, &n, &err),
	        "'hidden_size' is 64, should be 1 to 63");
	REFUSES(value_int(config, "big", VALUE_OPTIONAL, 1, 1 << 30, &n, &err),
	        "'big' is 1099511627776, should be 1 to 1073741824");
	REFUSES(value_int(config, "rms_norm_eps", VALUE_REQUIRED, 0, 9, &n, &err),
	        "'rms_norm_eps' is a real number, should be a whole number");
	REFUSES(value_real(config, "rms_norm_eps", VALUE_REQUIRED, 0.5, 1, &x, &err),
	        "'rms_norm_eps' is 1e-05, should be 0.5 to 1");
	REFUSES(value_real(config, "model_type", VALUE_OPTIONAL, 0, 1, &x, &err),
	        "'model_type' is a text, should be a real number");
	REFUSES(value_bool(config, "hidden_size", VALUE_REQUIRED, &n, &err),
	        "'hidden_size' is a whole number, should be true or false");
	REFUSES(value_text(config, "architectures", VALUE_REQUIRED, &text, &err),
	        "'architectures' is a list, should be a text");
	REFUSES(value_object(config, "model_type", VALUE_OPTIONAL, &object, &err),
	        "'model_type' is a text, should be an object");
	REFUSES(value_text(scaling, "type", VALUE_REQUIRED, &text, &err), "rope_scaling: 'type' is missing");
}

static void expect_printed(const struct value *value, const char *wanted)
{
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	value_print(out, value);
	fclose(out);
	assert_string_equal(text, wanted);
	free(text);
}

static void printed(UNUSED void **state)
{
	const struct value items[] = {{.kind = VALUE_REAL, .real = NAN}, {.kind = VALUE_REAL, .real = 3},
	        {.kind = VALUE_TEXT, .text = "a\0b\x1b[2J\xc2\x9b\xff\xe2\x82", .n = 12},
	        {.kind = VALUE_BOOL, .integer = 0}};
	const struct value array = {.kind = VALUE_ARRAY, .n = 4, .item = items};
	expect_printed(config,
	        "{\"model_type\":\"llama\",\"hidden_size\":64,\"rope_theta\":10000,\"rms_norm_eps\":1e-05,"
	        "\"tie_word_embeddings\":true,\"head_dim\":null,\"architectures\":[\"LlamaForCausalLM\"],"
	        "\"big\":1099511627776,\"ß\":\"→\\\"\",\"rope_scaling\":{\"factor\":32.0,\"rope_type\":"
	        "\"llama3\",\"original_max_position_embeddings\":8192}}");
	expect_printed(&array, "[null,3.0,\"a\\u0000b\\u001b[2J\\u009b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",false]");
}

static void key_values_of_gguf(UNUSED void **state)
{
	struct weights *golden;
	struct err err = {0};
	if (weights_open(&golden, FIXTURES "golden.gguf", &err))
		fail_msg("%s", err.message);
	expect_printed(golden->metadata, "{\"general.architecture\":\"llama\",\"llama.block_count\":3,\"x.u64\":9."
	                                 "223373136366404e+18,\"x.i8\":-5,"
	                                 "\"x.i16\":-300,\"x.i64\":-1099511627776,\"x.f32\":0.5,\"x.f64\":0.1,\"x."
	                                 "bool\":true,\"x.text\":\"näme\","
	                                 "\"x.numbers\":[3,-1,7],\"x.words\":[\"one\",\"\",\"drei\"]}");
	weights_close(golden);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_there),
	        cmocka_unit_test(what_is_not),
	        cmocka_unit_test(refusals),
	        cmocka_unit_test(printed),
	        cmocka_unit_test(key_values_of_gguf),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
