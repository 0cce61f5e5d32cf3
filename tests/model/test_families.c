// SPDX-License-Identifier: MIT
// Presets: parameters counted by shapes alone, against the published integers.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/registry.h"
#include "harness/spec/section.h"
#include "tests/model/build.h"
#include "tests/test.h"

ARENA_FIXTURE(arena, 1 << 20);

// exact: as published. Otherwise `rounded` million is, to that many places after the point.
static const struct {
	const char *preset;
	long exact;
	double rounded;
	int places, n_vocab; // n_vocab: of the task, where the preset leaves it open
} published[] = {
        {"gpt2-124m", 124439808},
        {"gpt2-355m", 354823168},
        {"gpt2-774m", 774030080},
        {"gpt2-1.5b", 1557611200},
        {"gpt2-280m", 0, 255.1, 1}, // what the paper's shape comes to; its own 280M is not explained by what it states
        {"gpt2-557m", 0, 557, 0},
        {"gpt2-300m", 305534976},
        {"gpt2-1.2b", 0, 1215, 0},
        {"pythia-70m", 70426624},
        {"pythia-160m", 162322944},
        {"pythia-410m", 405334016},
        {"pythia-1b", 1011781632},
        {"qwen2-0.5b", 494032768},
        {"qwen2-1.5b", 1543714304},
        {"llama-3.2-1b", 1235814400},
        {"llama-3.2-3b", 3212749824},
        {"llama-125m", 0, 101.7, 1, 21800}, // "22K words"
        {"llama-7b", 0, 6740, -1},
        {"mistral-7b", 7241732096},
        {"smollm2-135m", 134515008},
};
enum { N_PUBLISHED = sizeof(published) / sizeof(published[0]) };

static long count(const char *preset, int n_vocab)
{
	const struct model_config *config = build_config(preset, "", n_vocab ? n_vocab : 1, 1, &arena);
	const char *name = config->n_kv_head == config->n_head ? "mha" : config->n_kv_head == 1 ? "mqa" : "gqa";
	const struct variant *variant = variant_find(name);
	void *variant_config = arena_zalloc(&arena, variant->config_bytes);
	struct model model;
	options_init(variant->options, variant_config);
	model_init(&model, config, variant, variant_config, &arena);
	assert_null(model.x); // no memory for its numbers
	return model.n_number;
}

static void presets_have_the_published_size(void **state UNUSED)
{
	for (int i = 0; i < N_PUBLISHED; i++) {
		const long n = count(published[i].preset, published[i].n_vocab);
		const double unit = 1e6 * pow(10, -published[i].places);
		if (published[i].exact ? n != published[i].exact
		                       : round((double)n / unit) != round(published[i].rounded * 1e6 / unit))
			fail_msg("%s has %ld parameters", published[i].preset, n);
		arena_reset(&arena);
	}
}

static void every_preset_is_in_the_table(void **state UNUSED)
{
	const struct family *family;
	int n = 0;
	for (int at = 0; (family = family_at(at)); at++) {
		int is_there = !family->of;
		for (int i = 0; i < N_PUBLISHED; i++)
			is_there |= !strcmp(published[i].preset, family->name);
		if (!is_there)
			fail_msg("%s is not in the table of published sizes", family->name);
		n += family->of != NULL;
		assert_ptr_equal(family_find(family->name), family);
	}
	assert_int_equal(n, N_PUBLISHED);
}

// What its files mean, a family's defaults mean too: a preset and a loaded model of that size are one model.
static void a_preset_is_its_family_at_a_size(void **state UNUSED)
{
	const struct model_config *llama = build_config("llama-3.2-1b", "", 1, 1, &arena);
	assert_int_equal(llama->rope_scaling.kind, ROPE_SCALING_LLAMA3);
	assert_int_equal(llama->norm, NORM_RMS); // the family's
	assert_int_equal(llama->d_head, 64);
	const struct model_config *pythia = build_config("pythia-410m", "", 1, 1, &arena);
	assert_int_equal(model_attn_dims(pythia).n_rotary, 16);
	assert_int_equal(pythia->residual, RESIDUAL_PARALLEL);
	const struct attn_dims qwen = model_attn_dims(build_config("qwen2-0.5b", "", 1, 1, &arena));
	assert_true(qwen.bias && !qwen.bias_out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(presets_have_the_published_size),
	        cmocka_unit_test(every_preset_is_in_the_table),
	        cmocka_unit_test(a_preset_is_its_family_at_a_size),
	};
	return cmocka_run_group_tests_name("model families", tests, setup, teardown);
}
