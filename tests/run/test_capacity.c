// SPDX-License-Identifier: MIT
// Procedure capacity against closed forms written from the published shapes (reference B.2.9, C.4), not from the
// harness: bytes, users and longest context; and that what is allocated is resident, once, and given back.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/memory.h"
#include "harness/run/run.h"
#include "harness/spec/spec.h"
#include "tests/test.h"

static struct arena arena;
static char folder[] = "/tmp/kvlab_capacity_XXXXXX";
static char path[sizeof(folder) + 16];

static void run_spec(struct run_log *log, const char *model, const char *variant, const char *more)
{
	struct spec spec;
	struct err err = {0};
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fprintf(out,
	        "experiment: t\nquestion: how many?\nprocedure: capacity\nseeds: [1]\n"
	        "model: {%s}\ntask: {name: noise, n_vocab: 2, length: 1}\nvariant: {%s}\n%s",
	        model, variant, more);
	assert_int_equal(fclose(out), 0);
	if (spec_load(&spec, path, "small", 0, &arena, &err))
		fail_msg("%s", err.message);
	run_log_init(log);
	if (spec.point[0].setup.procedure->run(&spec.point[0].setup, 1, 1, log, &err))
		fail_msg("%s", err.message);
}

// -1 where it was not reported.
static double metric(const struct run_log *log, const char *name)
{
	for (long i = 0; i < log->n_metric; i++)
		if (!strcmp(log->metric[i].name, name))
			return log->metric[i].value;
	return -1;
}

static double one(const char *name, const char *model, const char *variant, const char *more)
{
	struct run_log log;
	run_spec(&log, model, variant, more);
	const double value = metric(&log, name);
	run_log_release(&log);
	return value;
}

static void llama_7b_as_paper_b_has_it(void **state UNUSED)
{
	static const char model[] = "family: llama-7b", at_128k[] = "capacity: {context: 131072}\n"
	                                                            "cache: {k_dtype: bf16, v_dtype: bf16}\n";
	const double gib = 1073741824;
	assert_true(one("cache_bytes", model, "name: mha", at_128k) == 64 * gib);
	assert_true(one("cache_bytes", model, "name: thin_keys, d_select: 1024", at_128k) == 40 * gib);
	assert_true(one("cache_bytes", "family: llama-7b, n_kv_head: 8", "name: gqa", at_128k) == 16 * gib);
	assert_true(one("cache_bytes", model, "name: mla, d_latent: 512, d_rope: 64", at_128k) == 4.5 * gib);
	assert_true(one("key_bytes_per_token", model, "name: thin_keys, d_select: 1024", at_128k) * 131072 == 8 * gib);
	// 32 layers of 4 d^2 and 3 d f and two norms, two tables of 32,000 rows, one norm
	assert_true(one("n_param", model, "name: mha", at_128k) ==
	            32.0 * (4.0 * 4096 * 4096 + 3.0 * 4096 * 11008 + 2 * 4096) + 2 * 32000.0 * 4096 + 4096);
}

static void users_and_contexts_of_a_memory(void **state UNUSED)
{
	static const char model[] = "family: decoder, n_layer: 2, d_model: 64, n_head: 2, d_ff: 64, n_vocab: 100",
	                  f16[] = "cache: {k_dtype: f16, v_dtype: f16}\n";
	char more[200];
	const double weights = one("weight_bytes", model, "name: mha", "capacity: {weight_dtype: f32}\n");
	assert_true(weights == 4 * one("n_param", model, "name: mha", ""));
	// 2 layers x k and v x 64 numbers x 2 bytes = 512 a token
	snprintf(more, sizeof(more), "%scapacity: {weight_dtype: f32, context: 100, gpu_bytes: %.0f}\n", f16,
	        weights + 7 * 51200 + 51199);
	assert_true(one("n_user", model, "name: mha", more) == 7);
	assert_true(one("longest_context", model, "name: mha", more) == 799);
	snprintf(more, sizeof(more), "%scapacity: {weight_dtype: f32, context: 100, gpu_bytes: %.0f}\n", f16,
	        weights + 8 * 51200);
	assert_true(one("n_user", model, "name: mha", more) == 8);
	assert_true(one("longest_context", model, "name: mha", more) == 800);
	assert_true(one("n_user", model, "name: mha", "capacity: {gpu_bytes: 1000}\n") == 0);
	assert_true(one("longest_context", model, "name: mha", "capacity: {gpu_bytes: 1000}\n") == 0);
	assert_true(one("n_user", model, "name: 'null'", "") == -1); // nothing is cached: no bound
}

// A tail of f32 rows a sequence: it takes from the memory whatever the context.
static void tails_count_once_a_sequence(void **state UNUSED)
{
	static const char model[] = "family: decoder, n_layer: 1, d_model: 64, n_head: 1, d_ff: 64, n_vocab: 100";
	char more[256];
	const double weights = one("weight_bytes", model, "name: mha", ""), tail = 32 * 64 * 4, token = 68 + 256;
	snprintf(more, sizeof(more),
	        "cache: {k_dtype: q8, k_scales: channel}\ncapacity: {context: 64, gpu_bytes: %.0f}\n",
	        weights + tail + 1000 * token);
	assert_true(one("cache_bytes", model, "name: mha", more) == tail + 64 * token);
	assert_true(one("longest_context", model, "name: mha", more) == 1000);
}

static void what_is_allocated_becomes_resident_and_is_given_back(void **state UNUSED)
{
	static const char model[] = "family: decoder, n_layer: 8, d_model: 256, n_head: 4, d_ff: 64",
	                  more[] = "capacity: {context: 16384, allocate: 1e9}\n"; // 8 x 2 x 256 x 4 x 16384 = 256 MiB
	const double mib = 1048576;
	struct run_log log;
	const double before = memory_resident();
	run_spec(&log, model, "name: mha", more);
	assert_true(metric(&log, "cache_bytes") == 256 * mib);
	if (metric(&log, "logical_bytes") < 0) {
		print_message("skipped: less than %g MiB are free\n", 256 / 0.4);
		run_log_release(&log);
		skip();
	}
	assert_true(metric(&log, "logical_bytes") == 256 * mib);
	assert_true(metric(&log, "mapped_bytes") >= 256 * mib && metric(&log, "mapped_bytes") <= 260 * mib);
	assert_true(metric(&log, "physical_bytes") >= 256 * mib && metric(&log, "physical_bytes") <= 262 * mib);
	assert_true(metric(&log, "peak_bytes") >= 256 * mib);
	assert_true(memory_resident() - before < 16 * mib);
	run_log_release(&log);
	// Beyond what is asked for it is only counted.
	assert_true(
	        one("logical_bytes", model, "name: mha", "capacity: {context: 16384, allocate: 268435455}\n") == -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(llama_7b_as_paper_b_has_it),
	        cmocka_unit_test(users_and_contexts_of_a_memory),
	        cmocka_unit_test(tails_count_once_a_sequence),
	        cmocka_unit_test(what_is_allocated_becomes_resident_and_is_given_back),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	arena_init(&arena, 1 << 20);
	int failed = cmocka_run_group_tests_name("capacity", tests, NULL, NULL);
	arena_release(&arena);
	unlink(path);
	rmdir(folder);
	return failed != 0;
}
