// SPDX-License-Identifier: MIT
// Options that came later leave what is stored alone: points of published runs read back to the same text and key. And
// the `cache` section, whose options are all late: written, swept, labelled, stored and read back.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/model/cache.h"
#include "harness/spec/section.h"
#include "harness/spec/spec.h"
#include "tests/test.h"

ARENA_FIXTURE(arena, 1 << 20);
static char folder[] = "/tmp/kvlab_stored_XXXXXX";
static char path[sizeof(folder) + 16];

static struct setup parse(const char *json)
{
	struct setup setup;
	struct err err = {0};
	if (setup_parse(&setup, json, &arena, &err))
		fail_msg("%s", err.message);
	return setup;
}

static const struct cache_config *cache_of(const struct setup *setup)
{
	assert_non_null(setup->cache);
	return setup->cache;
}

// Lines "key json", copied from results/published: what the first release stored, all of its versions 1.
static void points_of_the_first_release_keep_their_keys(void **state UNUSED)
{
	char line[8192], key[HASH_TEXT];
	int n = 0;
	FILE *in = fopen("tests/fixtures/points_v1.txt", "r");
	assert_non_null(in);
	for (; fgets(line, sizeof(line), in); n++) {
		line[strcspn(line, "\n")] = '\0';
		char *json = strchr(line, ' ');
		assert_non_null(json);
		*json++ = '\0';
		const struct setup setup = parse(json);
		assert_string_equal(setup_json(&setup, &arena), json);
		const struct cache_config *cache = cache_of(&setup);
		assert_int_equal(cache->k_dtype, DTYPE_F32);
		assert_int_equal(cache->v_dtype, DTYPE_F32);
		const char *hashed = arena_printf(&arena, "%s\ntask=1\nprocedure=1\nvariant=1\nkernels=1\n", json);
		hash_hex(key, hashed, strlen(hashed));
		assert_string_equal(key, line);
		setup_key(key, &setup, &arena);
		if (setup.task->version == 1 && setup.procedure->version == 1 && setup.variant->version == 1 &&
		        KERNELS_VERSION == 1)
			assert_string_equal(key, line);
	}
	fclose(in);
	assert_true(n >= 3);
}

static const char head[] = "experiment: t\n"
                           "question: does it?\n"
                           "procedure: train\n"
                           "model: {family: decoder}\n"
                           "variant: {name: mha}\n"
                           "task: {name: retrieval, n_key: 32, n_pair: 16}\n"
                           "seeds: [1]\n";

static int try_load(struct spec *spec, const char *more, const char *scale, struct err *err)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(head, out);
	fputs(more, out);
	assert_int_equal(fclose(out), 0);
	return spec_load(spec, path, scale, 0, &arena, err);
}

static struct spec load(const char *more, const char *scale)
{
	struct spec spec;
	struct err err = {0};
	if (try_load(&spec, more, scale, &err))
		fail_msg("%s", err.message);
	return spec;
}

// Without a word about the cache, and with its defaults spelled out: one point, and no word in its JSON either.
static void defaults_leave_no_trace(void **state UNUSED)
{
	const struct spec plain = load("", "small");
	const struct spec spelled = load("cache: {k_dtype: f32, v_dtype: f32, k_scales: token}\n", "small");
	assert_null(strstr(plain.point[0].json, "cache"));
	assert_string_equal(plain.point[0].json, spelled.point[0].json);
	assert_string_equal(plain.point[0].key, spelled.point[0].key);
	assert_int_equal(cache_of(&plain.point[0].setup)->v_dtype, DTYPE_F32);
}

static void what_differs_is_stored_and_read_back(void **state UNUSED)
{
	const struct spec plain = load("", "small");
	const struct spec spec = load("cache: {k_dtype: q4, v_dtype: f16, k_scales: channel}\n", "small");
	static const char expected[] = "{\"cache\":{\"k_dtype\":\"q4\",\"k_scales\":\"channel\",\"v_dtype\":\"f16\"},"
	                               "\"model\":{";
	assert_memory_equal(spec.point[0].json, expected, strlen(expected));
	// The rest is the plain point.
	assert_string_equal(strstr(spec.point[0].json, "\"model\""), strstr(plain.point[0].json, "\"model\""));
	assert_string_not_equal(spec.point[0].key, plain.point[0].key);
	const struct setup setup = parse(spec.point[0].json);
	const struct cache_config *cache = cache_of(&setup);
	assert_int_equal(cache->k_dtype, DTYPE_Q4);
	assert_int_equal(cache->v_dtype, DTYPE_F16);
	assert_int_equal(cache->k_scales, K_SCALES_CHANNEL);
	assert_string_equal(setup_json(&setup, &arena), spec.point[0].json);
	assert_non_null(
	        strstr(load("cache: {v_dtype: q8}\n", "small").point[0].json, "{\"cache\":{\"v_dtype\":\"q8\"},"));
}

static void types_are_swept_and_scaled(void **state UNUSED)
{
	static const char more[] = "cache: {v_dtype: bf16}\n"
	                           "sweep: {product: {cache.k_dtype: [f32, q8, q4]}}\n"
	                           "scales:\n  smoke: {cache: {v_dtype: q8}}\n  small: {}\n";
	static const char *const labels[] = {"k_dtype=f32", "k_dtype=q8", "k_dtype=q4"};
	static const int types[] = {DTYPE_F32, DTYPE_Q8, DTYPE_Q4};
	const struct spec spec = load(more, "small"), smoke = load(more, "smoke");
	assert_int_equal(spec.n_point, 3);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(spec.point[i].label, labels[i]);
		assert_int_equal(cache_of(&spec.point[i].setup)->k_dtype, types[i]);
		assert_int_equal(cache_of(&spec.point[i].setup)->v_dtype, DTYPE_BF16);
		assert_int_equal(cache_of(&smoke.point[i].setup)->v_dtype, DTYPE_Q8);
	}
}

static void a_late_option_is_stored_where_it_differs(void **state UNUSED)
{
	static const char first[] = "\"position\":\"learned\",";
	const char *json = load("", "small").point[0].json, *at = strstr(json, first);
	assert_non_null(at);
	assert_null(strstr(json, "rope"));
	char *with_rope =
	        arena_printf(&arena, "%.*s%s\"rope_base\":500,%s", (int)(at - json), json, first, at + strlen(first));
	const struct setup setup = parse(with_rope);
	assert_true(((const struct model_config *)setup.model)->rope_base == 500);
	assert_true(((const struct model_config *)setup.model)->rope_fraction == 1);
	assert_string_equal(setup_json(&setup, &arena), with_rope);
}

static void a_broken_cache_section_is_refused(void **state UNUSED)
{
	static const struct {
		const char *cache, *message;
	} rows[] = {
	        {"\"cache\":{\"k_dtype\":\"f33\"},", "k_dtype: 'f33' is not one of f32|f16|bf16|q8|q4"},
	        {"\"cache\":{\"k_type\":\"f16\"},", "unknown key 'k_type' (did you mean 'k_dtype'?)"},
	        {"\"cache\":[\"q8\"],", "no section 'cache' here"},
	        {"\"cache\":{\"k_scales\":\"channel\"},", "k_scales: channel"},
	        {"\"cash\":{\"k_dtype\":\"q8\"},", "6 sections instead of 5"},
	};
	const char *json = load("", "small").point[0].json;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct setup setup;
		struct err err = {0};
		assert_int_equal(
		        setup_parse(&setup, arena_printf(&arena, "{%s%s", rows[i].cache, json + 1), &arena, &err), -1);
		if (!strstr(err.message, rows[i].message))
			fail_msg("'%s' is not '%s'", err.message, rows[i].message);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(points_of_the_first_release_keep_their_keys),
	        TEST(defaults_leave_no_trace),
	        TEST(what_differs_is_stored_and_read_back),
	        TEST(types_are_swept_and_scaled),
	        TEST(a_late_option_is_stored_where_it_differs),
	        TEST(a_broken_cache_section_is_refused),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	int failed = cmocka_run_group_tests_name("stored points", tests, NULL, NULL);
	unlink(path);
	rmdir(folder);
	return failed;
}
