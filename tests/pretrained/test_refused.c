// SPDX-License-Identifier: MIT
// What cannot be computed, and files that are not the model that they say: one sentence that names file and fault.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/pretrained/pretrained.h"
#include "tests/test.h"
#include "tests/weights/files.h"

#define FAMILIES "tests/fixtures/families/"

ARENA_FIXTURE(arena, 1 << 20);

// A fixture with one place of its config.json changed; whole: the text is all there is. NULL: no config.json.
static const struct {
	const char *fixture, *from, *to, *message; // message NULL: it loads
} cases[] = {
        {"gpt2", NULL, NULL, ": there is no config.json beside the weights"},
        {"gpt2", "\"model_type\": \"gpt2\"", "\"model_type\": \"bert\"",
                "/config.json: this model is of none of the types that can be computed: gpt2 llama mistral gpt_neox "
                "qwen2"},
        {"gpt2", "\"model_type\": \"gpt2\",", "", "/config.json: 'model_type' is missing"},
        {"gpt2", "GPT2LMHeadModel", "GPT2DoubleHeadsModel",
                "/config.json: 'architectures' is none of: GPT2LMHeadModel"},
        {"gpt2", "\"gelu_new\"", "\"swish\"",
                "/config.json: 'activation_function' is swish, which cannot be computed (can be: gelu_new, "
                "gelu_pytorch_tanh, gelu, relu)"},
        {"gpt2", "\"n_embd\": 12", "\"n_embd\": \"x\"", "/config.json: 'n_embd': d_model: 'x' is not an integer"},
        {"gpt2", "\"n_embd\": 12", "\"n_embd\": 0", "/config.json: 'n_embd': d_model: 0 is out of range (1 to 65536)"},
        {"gpt2", "\"n_embd\": 12", "\"n_embd\": [12]", "/config.json: 'n_embd': d_model: '[12]' is not an integer"},
        {"gpt2", "\"n_embd\": 12", "\"n_embd\": null", "/config.json: there is no 'n_embd'"},
        {"gpt2", "\"n_positions\": 24", "\"n_positions\": 0",
                "/config.json: says that the model has 31 tokens and 0 positions"},
        {"gpt2", "\"n_head\": 3", "\"n_head\": 5",
                "/config.json: d_model 12 is not divisible by n_head 5 (or give d_head)"},
        {"gpt2", "\"n_embd\": 12", "\"n_embd\": 24", "/model.safetensors: tensor 'wte.weight'"},
        {"gpt2", "\"n_layer\": 2", "\"n_layer\": 3", ": tensor 'h.2.ln_1.weight' is missing"},
        {"gpt2", "\"n_layer\": 2", "\"n_layer\": 1",
                "/model.safetensors: tensor 'h.1.attn.c_attn.bias' and 11 more have no place in this gpt2 model"},
        {"gpt2", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false",
                ": tensor 'lm_head.weight' is missing"},
        {"gpt2", "inverse_layer_idx\": false", "inverse_layer_idx\": true",
                "/config.json: 'scale_attn_by_inverse_layer_idx' is true, which cannot be computed (can be: false)"},
        {"gpt2_untied", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true",
                "/model.safetensors: tensor 'lm_head.weight' differs from 'transformer.wte.weight', which the "
                "configuration says it is"},
        {"pythia", "\"rotary_pct\": 0.5", "\"rotary_pct\": 0.4",
                "/config.json: rope cannot pair the 3 numbers that it turns in a head of 8 (d_head times "
                "rope_fraction)"},
        {"pythia", "\"attention_bias\": true", "\"attention_bias\": false",
                "/model.safetensors: tensor 'gpt_neox.layers.0.attention.dense.bias' and 3 more have no place in this "
                "pythia model"},
        {"pythia", "\"rotary_emb_base\": 100.0",
                "\"rotary_emb_base\": 100.0, \"rope_parameters\": {\"rope_theta\": 10000}",
                "/config.json: 'rotary_emb_base' is 100.0, but 'rope_parameters.rope_theta' is 10000"},
        {"pythia", "\"rotary_emb_base\": 100.0",
                "\"rotary_emb_base\": 100.0, \"rope_parameters\": {\"rope_theta\": 100}", NULL},
        {"qwen2_untied", "\"use_sliding_window\": false", "\"use_sliding_window\": true",
                "/config.json: 'use_sliding_window' is true, which cannot be computed (can be: false)"},
        {"qwen2_untied", "\"full_attention\"\n", "\"sliding_attention\"\n",
                "/config.json: 'layer_types' is sliding_attention, which cannot be computed (can be: full_attention)"},
        {"llama", "\"rope_type\": \"llama3\"", "\"rope_type\": \"yarn\"",
                "/config.json: 'rope_scaling.rope_type' is yarn, which cannot be computed (can be: default, linear, "
                "llama3)"},
        {"llama", "\"high_freq_factor\": 2.0,", "",
                "/config.json: rope_scaling: llama3 needs rope_low below rope_high, not 1 and 0"},
        {"llama", "\"head_dim\": 8", "\"head_dim\": 10",
                "/model.safetensors: tensor 'model.layers.0.self_attn.q_proj.weight'"},
        {"mistral", "\"sliding_window\": null", "\"sliding_window\": 16",
                "/config.json: 'sliding_window' is 16, which cannot be computed (can be: at least 64, the model's "
                "n_ctx)"},
        {"mistral", "\"sliding_window\": null", "\"sliding_window\": 64", NULL},
        {"gpt2", "\"n_layer\": 2", "\"n_layer\": 2, \"kvlab\": {\"variant\": {\"name\": \"thick_keys\"}}",
                "/config.json: kvlab: variant: there is no variant 'thick_keys'"},
        {"gpt2", "\"n_layer\": 2", "\"n_layer\": 2, \"kvlab\": {\"variant\": {}}",
                "/config.json: kvlab: variant: 'name' is missing"},
        {"gpt2", "\"n_layer\": 2", "\"n_layer\": 2, \"kvlab\": {\"variant\": 3}", "/config.json: kvlab: 'variant' is"},
        {"gpt2", "\"n_layer\": 2",
                "\"n_layer\": 2, \"kvlab\": {\"variant\": {\"name\": \"factored_keys\", \"d_select\": 0}}",
                "/config.json: kvlab: d_select must be 1 to n_kv_head * d_head (12), not 0"},
        {"gpt2", "\"n_layer\": 2",
                "\"n_layer\": 2, \"kvlab\": {\"variant\": {\"name\": \"factored_keys\", \"d_select\": \"x\"}}",
                "/config.json: kvlab: variant: d_select: 'x' is not an integer"},
        {"gpt2", "\"n_layer\": 2",
                "\"n_layer\": 2, \"kvlab\": {\"variant\": {\"name\": \"factored_keys\", \"rank\": 4}}",
                "/config.json: kvlab: variant: unknown key 'rank' (did you mean 'ranks'?)"},
        {"gpt2", "\"n_layer\": 2",
                "\"n_layer\": 2, \"kvlab\": {\"variant\": {\"name\": \"factored_keys\", \"d_select\": 4}}",
                ": tensor 'kvlab.layer.0.w_q' is missing"},
        {"gpt2", "\"n_layer\": 2", "\"n_layer\": 2, \"kvlab\": {\"model\": {\"n_heads\": 4}}",
                "/config.json: kvlab: model: unknown key 'n_heads' (did you mean 'n_head'?)"},
        {"mistral", "\"sliding_window\": null", "\"quantization_config\": {\"bits\": 4}",
                "/config.json: 'quantization_config' is {\"bits\":4}, which cannot be computed (can be: null)"},
};

static char *path_in(const char *folder, const char *name)
{
	return arena_printf(&arena, "%s/%s", folder, name);
}

// The fixture in a folder of its own, its configuration changed as the case says.
static void make_case(const char *folder, size_t i)
{
	const struct bytes weights = bytes_of_file(path_in(path_in(FAMILIES, cases[i].fixture), "model.safetensors"));
	struct bytes config = bytes_of_file(path_in(path_in(FAMILIES, cases[i].fixture), "config.json"));
	file_write(path_in(folder, "model.safetensors"), &weights);
	free(weights.data);
	bytes_add(&config, "", 1);
	const char *text = (const char *)config.data, *from = cases[i].from;
	if (from) {
		const char *at = strstr(text, from);
		if (!at)
			fail_msg("case %zu: '%s' is not in the configuration", i, from);
		struct bytes changed = {0};
		bytes_add(&changed, text, (size_t)(at - text));
		bytes_add(&changed, cases[i].to, strlen(cases[i].to));
		bytes_add(&changed, at + strlen(from), strlen(at + strlen(from)));
		file_write(path_in(folder, "config.json"), &changed);
		free(changed.data);
	}
	free(config.data);
}

static void every_case_is_one_sentence(void **state UNUSED)
{
	int n_wrong = 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		struct pretrained p;
		char *folder = folder_make();
		make_case(folder, i);
		const int result = model_load(&p, folder, PRETRAINED_TO_READ, &arena, &err);
		const char *said = result ? err.message : "",
		           *after = strncmp(said, folder, strlen(folder)) ? said : said + strlen(folder);
		const char *wanted = cases[i].message ? cases[i].message : "";
		if (strncmp(after, wanted, strlen(wanted)) || err.is_fault || (!cases[i].message && result)) {
			print_error("case %zu: said    %s\n          not     %s\n", i, said, wanted);
			n_wrong++;
		}
		if (!result)
			pretrained_close(&p);
		folder_remove(folder);
		arena_reset(&arena);
	}
	assert_int_equal(n_wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_case_is_one_sentence)};
	return cmocka_run_group_tests_name("models that are refused", tests, setup, teardown);
}
