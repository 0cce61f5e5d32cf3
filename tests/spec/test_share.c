// SPDX-License-Identifier: MIT
// Ranks and heads that a spec tells as shares: they become those of the model, rounded to what the conversion takes,
// and the point is the very one that a spec with these widths has.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/spec/spec.h"
#include "tests/test.h"

ARENA_FIXTURE(arena, 1 << 20);
static char folder[] = "/tmp/kvlab_share_XXXXXX";
static char path[sizeof(folder) + 16];

static const char gpt2[] = "family: gpt2, n_layer: 1, d_model: 128, n_head: 4, d_ff: 8";
static const char llama[] = "family: llama, n_layer: 1, d_model: 96, n_head: 6, n_kv_head: 3, d_ff: 8";

// The point's key, or NULL where the spec is refused; its JSON too, unless NULL.
static const char *key_of(const char *model, const char *variant, const char *recover, char **json)
{
	struct spec *spec = arena_alloc(&arena, sizeof(*spec));
	struct err err = {0};
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fprintf(out,
	        "experiment: t\nquestion: does it?\nprocedure: recover\nseeds: [1]\ntask: {name: text, length: 16}\n"
	        "model: {%s, n_vocab: 0, n_ctx: 0}\nvariant: {%s}\nrecover: {%s}\n",
	        model, variant, recover);
	assert_int_equal(fclose(out), 0);
	if (spec_load(spec, path, "small", 0, &arena, &err))
		return NULL;
	if (json)
		*json = spec->point[0].json;
	return spec->point[0].key;
}

// Of all ranks that a spec may give, the nearest to share * width; of two as near the smaller.
static void assert_nearest(const char *model, const char *variant, const char *recover, double share, int width)
{
	char text[256], fraction[256], *json;
	const char *nearest = NULL;
	double gap = INFINITY;
	for (int d = 1; d <= width; d++) {
		snprintf(text, sizeof(text), "%s, d_select: %d", variant, d);
		const char *key = fabs(d - share * width) < gap ? key_of(model, text, recover, NULL) : NULL;
		if (key) {
			gap = fabs(d - share * width);
			nearest = key;
		}
	}
	assert_non_null(nearest);
	snprintf(fraction, sizeof(fraction), "%s, share: %.17g", recover, share);
	assert_string_equal(key_of(model, variant, fraction, &json), nearest);
	assert_null(strstr(json, "share"));
}

static void a_rank_is_the_nearest_that_is_taken(void **state UNUSED)
{
	// The last two lie in the middle of two ranks of 128: the smaller is taken.
	static const double share[] = {1, 2.0 / 3, 0.5, 1.0 / 3, 0.25, 1.0 / 6, 0.01, 64.5 / 128, 66.0 / 128};
	for (size_t i = 0; i < sizeof(share) / sizeof(*share); i++) {
		assert_nearest(gpt2, "name: factored_keys", "factor: key", share[i], 128);
		assert_nearest(gpt2, "name: factored_keys, per: head", "factor: product", share[i], 128);
		assert_nearest(llama, "name: factored_keys", "factor: key", share[i], 48);
		assert_nearest(llama, "name: factored_keys, rope: planes", "factor: key", share[i], 48);
		assert_nearest(llama, "name: factored_keys, per: head, rope: own_ladder", "factor: key", share[i], 48);
	}
}

static void whole_keys_have_the_rank_of_the_procedure(void **state UNUSED)
{
	assert_string_equal(key_of(gpt2, "name: gqa", "factor: query, share: 1/6", NULL),
	        key_of(gpt2, "name: gqa", "factor: query, d_select: 21", NULL));
	assert_string_equal(key_of(gpt2, "name: gqa", "factor: query, per: head, share: 1/6", NULL),
	        key_of(gpt2, "name: gqa", "factor: query, per: head, d_select: 20", NULL));
}

static void a_rank_is_of_the_heads_that_are_left(void **state UNUSED)
{
	assert_string_equal(key_of(gpt2, "name: factored_keys", "kv_share: 1/2, share: 1/4", NULL),
	        key_of(gpt2, "name: factored_keys, d_select: 16", "n_kv_head: 2", NULL));
	// The largest number that is not above and divides: of three heads one.
	assert_string_equal(
	        key_of(llama, "name: gqa", "kv_share: 2/3", NULL), key_of(llama, "name: gqa", "n_kv_head: 1", NULL));
	assert_string_equal(
	        key_of(llama, "name: gqa", "kv_share: 1/3", NULL), key_of(llama, "name: gqa", "n_kv_head: 1", NULL));
	assert_string_equal(
	        key_of(llama, "name: gqa", "kv_share: 1", NULL), key_of(llama, "name: gqa", "n_kv_head: 3", NULL));
	assert_string_equal(
	        key_of(llama, "name: gqa", "kv_share: 0.01", NULL), key_of(llama, "name: gqa", "n_kv_head: 1", NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(a_rank_is_the_nearest_that_is_taken),
	        TEST(whole_keys_have_the_rank_of_the_procedure),
	        TEST(a_rank_is_of_the_heads_that_are_left),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	rmdir(folder);
	return failed;
}
