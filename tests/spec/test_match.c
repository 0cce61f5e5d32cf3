// SPDX-License-Identifier: MIT
// `match:` against brute force: the same spec with the option swept instead of solved for gives the metric of every
// value; the solver must find the one nearest to the target among those that no check refuses, and refuse the spec
// exactly where that one is too far off. Checks of the messages are in tests/specs/bad/match*.yaml.
#include "harness/spec/match.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/rng.h"
#include "tests/test.h"

static struct arena arena;
static char folder[] = "/tmp/kvlab_match_XXXXXX";
static char path[sizeof(folder) + 16];

static const char head[] = "experiment: t\n"
                           "question: does it?\n"
                           "procedure: train\n"
                           "task: {name: retrieval}\n"
                           "seeds: [1]\n";

static int load(struct spec *spec, struct err *err, const char *more)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fprintf(out, "%s%s", head, more);
	assert_int_equal(fclose(out), 0);
	return spec_load(spec, path, "small", 0, &arena, err);
}

// What each value of an option costs; NAN where it is refused. Each value is a spec of its own.
enum { VALUES = 80 };
static void brute(double cost[VALUES + 1], const char *setting, const char *by, size_t metric)
{
	const char *dot = strchr(by, '.');
	for (int v = 1; v <= VALUES; v++) {
		struct spec spec;
		struct err err = {0};
		struct cost c = {0};
		char *more = arena_printf(
		        &arena, "%ssweep: {product: {%.*s.%s: [%d]}}\n", setting, (int)(dot - by), by, dot + 1, v);
		cost[v] = NAN;
		if (load(&spec, &err, more))
			continue;
		assert_int_equal(spec.point[0].setup.procedure->estimate(&spec.point[0].setup, &c, &err), 0);
		cost[v] = *(const double *)((const char *)&c + metric);
	}
}

static void against_brute_force(const char *setting, const char *by, const char *name, size_t metric)
{
	double cost[VALUES + 1];
	int n_reached = 0, n_refused = 0;
	brute(cost, setting, by, metric);
	for (uint64_t i = 0; i < 60; i++) {
		struct rng rng = rng_make(7, RNG_TEST, i);
		// Around the whole range that VALUES / 2 values span, so that the nearest one is among those tried.
		int k = 1 + (int)rng_below(&rng, VALUES / 2);
		while (isnan(cost[k]))
			k++;
		double target = floor(cost[k] * (0.9 + 0.2 * rng_uniform(&rng))), best = INFINITY;
		int nearest = 0;
		for (int v = 1; v <= VALUES; v++)
			if (fabs(cost[v] - target) < best) { // NAN never is
				best = fabs(cost[v] - target);
				nearest = v;
			}
		struct spec spec;
		struct err err = {0};
		char *more = arena_printf(
		        &arena, "%smatch: {metric: %s, to: %.17g, by: %s, within: 0.04}\n", setting, name, target, by);
		if (best > 0.04 * target) {
			n_refused++;
			assert_int_equal(load(&spec, &err, more), -1);
			continue;
		}
		n_reached++;
		if (load(&spec, &err, more))
			fail_msg("%s", err.message);
		char *expected = arena_printf(&arena, "%s=%d", strchr(by, '.') + 1, nearest);
		assert_string_equal(spec.point[0].label, expected);
		assert_string_equal(spec.match_metric, name);
		assert_true(spec.point[0].match_target == target && spec.point[0].match_reached == cost[nearest]);
		char *json = arena_printf(&arena, "\"%s\":%d,", strchr(by, '.') + 1, nearest);
		assert_non_null(strstr(spec.point[0].json, json));
	}
	assert_true(n_reached > 10);
	// Small values are far apart in cache bytes; one thin step changes parameters by less than the limit.
	assert_true(n_refused > 0 || metric != offsetof(struct cost, cache_bytes_per_token));
}

#define METRIC(f) offsetof(struct cost, f)
static void cache_bytes_by_d_head(void **state UNUSED)
{
	against_brute_force("model: {family: decoder}\nvariant: {name: mha}\n", "model.d_head", "cache_bytes",
	        METRIC(cache_bytes_per_token));
}

static void cache_bytes_where_three_of_four_are_refused(void **state UNUSED)
{
	// d_select must be a multiple of the 4 heads
	against_brute_force("model: {family: decoder}\nvariant: {name: thin_keys}\n", "variant.d_select", "cache_bytes",
	        METRIC(cache_bytes_per_token));
}

static void params_by_d_ff(void **state UNUSED)
{
	against_brute_force("model: {family: decoder, d_model: 8, n_head: 2}\nvariant: {name: mha}\n", "model.d_ff",
	        "params", METRIC(n_param));
}

static void flops_by_steps(void **state UNUSED)
{
	against_brute_force("model: {family: decoder}\nvariant: {name: mha}\n", "train.steps", "flops", METRIC(flops));
}

// The reference is the point itself but for what `to` names: other axes go through it.
static void a_reference_follows_the_other_axes(void **state UNUSED)
{
	struct spec spec;
	struct err err = {0};
	if (load(&spec, &err,
	            "model: {family: decoder}\n"
	            "variant: {d_select_per_head: 4}\n"
	            "match: {metric: cache_bytes, to: {variant.name: mha, model.d_head: 8}, by: model.d_head, within: "
	            "0}\n"
	            "sweep: {product: {model.n_layer: [1, 3], variant.name: [mha, thin_keys]}}\n"))
		fail_msg("%s", err.message);
	assert_int_equal(spec.n_point, 4);
	static const char *const label[] = {"n_layer=1 variant=mha d_head=8", "n_layer=1 variant=thin_keys d_head=12",
	        "n_layer=3 variant=mha d_head=8", "n_layer=3 variant=thin_keys d_head=12"};
	for (int i = 0; i < 4; i++) {
		assert_string_equal(spec.point[i].label, label[i]);
		assert_true(spec.point[i].match_target == 2 * 4 * 8 * 4 * (i < 2 ? 1 : 3));
	}
}

// A solved value is a setting like any other: written into a spec by hand it is the same point.
static void a_solved_point_is_the_point_written_by_hand(void **state UNUSED)
{
	struct spec solved, written;
	struct err err = {0};
	if (load(&solved, &err,
	            "model: {family: decoder}\nvariant: {name: mha}\nmatch: {metric: cache_bytes, to: 640, by: "
	            "model.d_head}\n") ||
	        load(&written, &err, "model: {family: decoder, d_head: 10}\nvariant: {name: mha}\n"))
		fail_msg("%s", err.message);
	assert_string_equal(solved.point[0].key, written.point[0].key);
	assert_null(written.match_metric);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(cache_bytes_by_d_head),
	        cmocka_unit_test(cache_bytes_where_three_of_four_are_refused),
	        cmocka_unit_test(params_by_d_ff),
	        cmocka_unit_test(flops_by_steps),
	        cmocka_unit_test(a_reference_follows_the_other_axes),
	        cmocka_unit_test(a_solved_point_is_the_point_written_by_hand),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	arena_init(&arena, 1 << 20);
	int failed = cmocka_run_group_tests_name("match", tests, NULL, NULL);
	arena_release(&arena);
	unlink(path);
	rmdir(folder);
	return failed != 0;
}
