// SPDX-License-Identifier: MIT
// Procedure recover: at full rank nothing changes; a lower rank costs, and tuning wins some of it back; the same bits
// for any number of threads, for a base model trained now or kept, and after a stop; the dense product is tuned and cut
// again.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/run/run.h"
#include "harness/spec/spec.h"
#include "tests/test.h"

static struct arena arena;
static char folder[] = "/tmp/kvlab_recover_XXXXXX";
static char spec_path[sizeof(folder) + 16];

static const char gpt2[] = "family: gpt2, d_model: 16, d_ff: 32, n_head: 4";
static const char llama[] = "family: llama, d_model: 32, d_ff: 32, n_head: 4, n_kv_head: 2, tied_head: true";

static int base_steps = 400;

// base: the folder of base models below ours.
static const struct setup *load(const char *model, const char *base, const char *variant, const char *more)
{
	struct spec *spec = arena_alloc(&arena, sizeof(*spec));
	struct err err = {0};
	FILE *out = fopen(spec_path, "w");
	assert_non_null(out);
	fprintf(out,
	        "experiment: t\nquestion: does it?\nprocedure: recover\nseeds: [1]\n"
	        "model: {%s, n_layer: 2, n_vocab: 0, n_ctx: 0}\nvariant: {%s}\n"
	        "task: {name: text, corpus: file, path: %s/text, length: 16}\n"
	        "recover: {base_folder: %s/%s, base_steps: %d, base_batch: 8, base_warmup: %d, base_lr: 0.01, n_test: "
	        "40,\n"
	        "  n_calibration: 16, n_validation: 16, batch: 4, lr: 0.001, lr_floor: 0.0001%s}\n",
	        model, variant, folder, folder, base, base_steps, base_steps / 20, more);
	assert_int_equal(fclose(out), 0);
	if (spec_load(spec, spec_path, "small", 0, &arena, &err))
		fail_msg("%s", err.message);
	return &spec->point[0].setup;
}

static void run(struct run_log *log, const struct setup *setup, int n_thread)
{
	struct err err = {0};
	run_log_init(log);
	if (setup->procedure->run(setup, 7, n_thread, log, &err))
		fail_msg("%s", err.message);
}

static double at(const struct run_log *log, const char *name, const char *split, long step)
{
	for (long i = 0; i < log->n_metric; i++) {
		const struct metric *m = &log->metric[i];
		if (!strcmp(m->name, name) && !strcmp(m->split, split) && m->step == step)
			return m->value;
	}
	fail_msg("there is no %s of %s at %ld", name, split, step);
	return NAN;
}

static void assert_same(const struct run_log *a, const struct run_log *b)
{
	assert_int_equal(a->n_metric, b->n_metric);
	for (long i = 0; i < a->n_metric; i++) {
		const struct metric *m = &a->metric[i], *its = &b->metric[i];
		assert_string_equal(m->name, its->name);
		assert_string_equal(m->split, its->split);
		if (strcmp(m->split, "time") && !(m->value == its->value))
			fail_msg("%s of %s is %.17g and %.17g", m->name, m->split, m->value, its->value);
	}
}

static void full_rank_changes_nothing(void **state UNUSED)
{
	static const char *const models[] = {gpt2, llama};
	for (int i = 0; i < 2; i++) {
		struct run_log whole, low;
		run(&whole, load(models[i], "a", "name: factored_keys, d_select: 16", ""), 2);
		const double base = at(&whole, "loss", "base", -1);
		assert_true(fabs(at(&whole, "loss", "converted", -1) - base) < 1e-5);
		assert_true(fabs(at(&whole, "excess", "converted", -1)) < 1e-5);
		assert_true(fabs(at(&whole, "kl", "converted", -1)) < 1e-5);
		assert_true(at(&whole, "agreement", "converted", -1) > 0.999);
		assert_true(base < 0.9 * log(256)); // it has learned something, or ranks could not matter
		run(&low, load(models[i], "a", "name: factored_keys, d_select: 2", ""), 2);
		assert_true(at(&low, "loss", "base", -1) == base);
		assert_true(at(&low, "kl", "converted", -1) > 1e-4);
		// 16 numbers of keys and 16 of values before, 2 and 16 after; two layers of 4 bytes a number
		assert_true(at(&low, "key_bytes_per_token", "base", -1) == 2 * 16 * 4);
		assert_true(at(&low, "key_bytes_per_token", "count", -1) == 2 * 2 * 4);
		assert_true(at(&low, "cache_bytes_per_token", "count", -1) == 2 * 18 * 4);
		// The excess is the difference of the losses on the same tokens, and the end is what was converted.
		assert_true(
		        fabs(at(&low, "excess", "converted", -1) - (at(&low, "loss", "converted", -1) - base)) < 1e-9);
		assert_true(at(&low, "loss", "test", -1) == at(&low, "loss", "converted", -1));
		run_log_release(&whole);
		run_log_release(&low);
	}
}

static void bits_are_the_same_for_threads_and_for_a_kept_base(void **state UNUSED)
{
	static const char how[] = ", factor: key, whiten: true, ranks: fisher, steps: 12, warmup: 2";
	static const char variant[] = "name: factored_keys, d_select: 4";
	struct run_log fresh, kept, other;
	run(&fresh, load(gpt2, "b", variant, how), 1);
	run(&kept, load(gpt2, "b", variant, how), 2);
	run(&other, load(gpt2, "c", variant, how), 2);
	assert_same(&fresh, &kept);
	assert_same(&fresh, &other);
	// The curve begins before the first step and ends with the last, and tuning helps.
	assert_true(at(&fresh, "loss", "validation", 12) < at(&fresh, "loss", "validation", 0));
	assert_true(at(&fresh, "n_tuned_token", "validation", 12) == 12 * 4 * 16);
	assert_true(at(&fresh, "loss", "tuned", -1) < at(&fresh, "loss", "converted", -1));
	assert_true(at(&fresh, "loss", "test", -1) == at(&fresh, "loss", "tuned", -1));
	run_log_release(&fresh);
	run_log_release(&kept);
	run_log_release(&other);
}

static void a_dense_product_is_tuned_and_cut_again(void **state UNUSED)
{
	struct run_log factors, dense;
	run(&factors, load(gpt2, "a", "name: factored_keys, d_select: 2", ", steps: 12, rank_kept: true"), 2);
	run(&dense, load(gpt2, "a", "name: factored_keys, d_select: 2", ", steps: 12, rank_kept: false"), 2);
	// The product of the factors is the same function, until it is tuned.
	const double begins = at(&factors, "loss", "validation", 0);
	assert_true(fabs(at(&dense, "loss", "validation", 0) - begins) < 1e-5);
	assert_true(at(&dense, "loss", "tuned", -1) != at(&dense, "loss", "dense", -1)); // the second cut costs
	assert_true(at(&dense, "kl", "tuned", -1) > 0);
	assert_true(at(&dense, "key_bytes_per_token", "count", -1) == 2 * 2 * 4);
	run_log_release(&factors);
	run_log_release(&dense);
}

static void only_what_is_named_is_tuned(void **state UNUSED)
{
	struct run_log all, some;
	run(&all, load(gpt2, "a", "name: factored_keys, d_select: 4", ", steps: 3"), 1);
	run(&some, load(gpt2, "a", "name: factored_keys, d_select: 4", ", steps: 3, train_only: w_q b_q w_latent w_up"),
	        1);
	const double n = at(&some, "n_param_tuned", "count", -1);
	// Two layers of W_Q, its bias, W_latent and W_up, each padded to whole vectors.
	assert_true(n >= 2 * (16 * 16 + 16 + 4 * 16 + 16 * 4) && n < at(&all, "n_param_tuned", "count", -1) / 2);
	assert_true(at(&some, "loss", "tuned", -1) != at(&all, "loss", "tuned", -1));
	run_log_release(&all);
	run_log_release(&some);
}

static int stop_at_once(void *context UNUSED, double fraction)
{
	return fraction > 0;
}

static void a_stop_is_gone_on_from(void **state UNUSED)
{
	const struct setup *setup = load(gpt2, "a", "name: factored_keys, d_select: 4", ", steps: 12");
	char checkpoint[sizeof(folder) + 16];
	struct err err = {0};
	struct run_log through, stopped;
	snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint", folder);
	run(&through, setup, 1);
	run_log_init(&stopped);
	stopped.checkpoint_path = checkpoint;
	stopped.tick = stop_at_once;
	assert_int_equal(setup->procedure->run(setup, 7, 1, &stopped, &err), 2);
	run_log_release(&stopped);
	assert_int_equal(access(checkpoint, R_OK), 0);
	run_log_init(&stopped);
	stopped.checkpoint_path = checkpoint;
	assert_int_equal(setup->procedure->run(setup, 7, 2, &stopped, &err), 0);
	assert_same(&through, &stopped);
	run_log_release(&through);
	run_log_release(&stopped);
}

static int stop_now(void *context UNUSED, double fraction UNUSED)
{
	return 1;
}

// The base model's own training is stopped after each of its three steps: it ends, since each time it goes on from its
// own checkpoint, with the bits of one that was not stopped.
static void a_base_model_is_gone_on_with(void **state UNUSED)
{
	char checkpoint[sizeof(folder) + 16], command[sizeof(folder) + 64];
	struct err err = {0};
	struct run_log through, stopped;
	base_steps = 3;
	const struct setup *setup = load(gpt2, "stopped", "name: factored_keys, d_select: 4", "");
	snprintf(checkpoint, sizeof(checkpoint), "%s/run", folder);
	snprintf(command, sizeof(command), "test -s %s/stopped/*.checkpoint", folder);
	for (int step = 1; step <= 4; step++) {
		run_log_init(&stopped);
		stopped.checkpoint_path = checkpoint;
		stopped.tick = stop_now;
		const int status = setup->procedure->run(setup, 7, 1, &stopped, &err);
		assert_int_equal(status, step <= 3 ? 2 : 0);
		assert_int_equal(system(command) == 0, step <= 3);
		if (step <= 3)
			run_log_release(&stopped);
	}
	run(&through, load(gpt2, "through", "name: factored_keys, d_select: 4", ""), 1);
	assert_same(&through, &stopped);
	run_log_release(&through);
	run_log_release(&stopped);
	base_steps = 400;
}

static int make_text(void **state UNUSED)
{
	static const char *const word[] = {"the", "cat", "sat", "on", "a", "mat", "dog", "ran", "home", "again"};
	char path[sizeof(folder) + 8];
	arena_init(&arena, 1 << 16);
	if (!mkdtemp(folder))
		return -1;
	snprintf(spec_path, sizeof(spec_path), "%s/t.yaml", folder);
	snprintf(path, sizeof(path), "%s/text", folder);
	FILE *out = fopen(path, "w");
	uint32_t draw = 1;
	for (int i = 0; out && i < 5000; i++) {
		draw = draw * 1664525 + 1013904223;
		fprintf(out, "%s%s", word[(draw >> 16) % 10], i % 8 == 7 ? "\n" : " ");
	}
	return out ? fclose(out) : -1;
}

static int remove_folder(void **state UNUSED)
{
	char command[sizeof(folder) + 16];
	arena_release(&arena);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(full_rank_changes_nothing),
	        cmocka_unit_test(bits_are_the_same_for_threads_and_for_a_kept_base),
	        cmocka_unit_test(a_dense_product_is_tuned_and_cut_again),
	        cmocka_unit_test(only_what_is_named_is_tuned),
	        cmocka_unit_test(a_stop_is_gone_on_from),
	        cmocka_unit_test(a_base_model_is_gone_on_with),
	};
	return cmocka_run_group_tests(tests, make_text, remove_folder);
}
