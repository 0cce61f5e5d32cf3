// SPDX-License-Identifier: MIT
// Procedure count against closed forms written from the shapes (reference C.4), not from the harness: parameters,
// multiply-adds and cache bytes of a 300M model; and that counting it takes no memory of its size.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness/run/run.h"
#include "harness/spec/spec.h"
#include "tests/test.h"

static struct arena arena;
static char folder[] = "/tmp/kvlab_count_XXXXXX";
static char path[sizeof(folder) + 16];

enum { L = 20, D = 1024, H = 16, FF = 4096, V = 50304, CTX = 2048 };

static int load(struct spec *spec, struct err *err, const char *variant, const char *more)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fprintf(out,
	        "experiment: t\nquestion: how many?\nprocedure: count\nseeds: [1]\n"
	        "model: {family: decoder, n_layer: %d, d_model: %d, n_head: %d, d_ff: %d, n_ctx: %d, tied_head: true}\n"
	        "task: {name: noise, n_vocab: %d, length: 128}\nvariant: {name: %s}\n%s",
	        L, D, H, FF, CTX, V, variant, more);
	assert_int_equal(fclose(out), 0);
	return spec_load(spec, path, "small", 0, &arena, err);
}

static double metric(const char *name, const char *variant, const char *more)
{
	struct spec spec;
	struct err err = {0};
	struct run_log log;
	double value = -1;
	if (load(&spec, &err, variant, more))
		fail_msg("%s", err.message);
	run_log_init(&log);
	assert_int_equal(spec.point[0].setup.procedure->run(&spec.point[0].setup, 1, 1, &log, &err), 0);
	for (long i = 0; i < log.n_metric; i++)
		if (strcmp(log.metric[i].name, name) == 0 && strcmp(log.metric[i].split, "count") == 0 &&
		        log.metric[i].step == -1)
			value = log.metric[i].value;
	run_log_release(&log);
	return value;
}

// n_maps: of d x d in attention, the output's among them.
static double expected_params(double n_maps)
{
	const double attention = n_maps * ((double)D * D + D), ff = 2.0 * D * FF + FF + D, norms = 4.0 * D;
	return (double)V * D + (double)CTX * D + L * (attention + ff + norms) + 2 * D;
}

static void parameters_are_those_of_the_shapes(void **state UNUSED)
{
	assert_true(metric("n_param", "mha", "") == expected_params(4));
	assert_true(metric("n_param", "shared_kv", "") == expected_params(3));
	assert_true(metric("n_param", "shared_qkv", "") == expected_params(2));
	assert_true(expected_params(4) == 305534976.0); // as published
	assert_true(metric("n_param_attention", "mha", "") == L * 4 * ((double)D * D + D));
}

static void multiply_adds_are_those_of_the_products(void **state UNUSED)
{
	for (int T = 128; T <= CTX; T *= 16) {
		char more[200];
		const double maps = L * (4.0 * D * D + 2.0 * D * FF) * T + (double)T * D * V;
		const double full = 2.0 * L * D * T * T, half = L * (double)D * T * (T + 1);
		snprintf(more, sizeof(more), "count: {n_token: %d}\nsweep: {product: {model.causal: [false]}}\n", T);
		assert_true(metric("macs", "mha", more) == maps + full);
		snprintf(more, sizeof(more), "count: {n_token: %d}\n", T);
		assert_true(metric("macs", "mha", more) == maps + half);
		assert_true(metric("flops", "mha", more) >= 2 * (maps + half));
	}
}

static void cache_bytes_follow_type_and_context(void **state UNUSED)
{
	assert_true(metric("cache_bytes_per_token", "mha", "") == 2.0 * L * D * 4);
	assert_true(metric("cache_bytes_per_token", "shared_kv", "cache: {v_dtype: f16}\n") == 1.0 * L * D * 2);
	assert_true(metric("cache_bytes", "mha", "count: {context: 32768}\n") == 2.0 * L * D * 4 * 32768);
	assert_true(metric("cache_bytes", "mha", "") == 2.0 * L * D * 4 * 128);
}

static void more_tokens_than_the_model_has_places_for_are_refused(void **state UNUSED)
{
	struct spec spec;
	struct err err = {0};
	assert_int_equal(load(&spec, &err, "mha", "count: {n_token: 4096}\n"), -1);
	assert_non_null(strstr(err.message, "n_token 4096 is more than n_ctx 2048 (raise model.n_ctx)"));
}

static void counting_takes_no_memory_of_its_size(void **state UNUSED)
{
	struct rusage usage;
	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	assert_true(usage.ru_maxrss < 400 * 1024); // KiB; the weights alone are 1.2 GB
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(parameters_are_those_of_the_shapes),
	        cmocka_unit_test(multiply_adds_are_those_of_the_products),
	        cmocka_unit_test(cache_bytes_follow_type_and_context),
	        cmocka_unit_test(more_tokens_than_the_model_has_places_for_are_refused),
	        cmocka_unit_test(counting_takes_no_memory_of_its_size),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	arena_init(&arena, 1 << 20);
	int failed = cmocka_run_group_tests_name("count", tests, NULL, NULL);
	arena_release(&arena);
	unlink(path);
	rmdir(folder);
	return failed != 0;
}
