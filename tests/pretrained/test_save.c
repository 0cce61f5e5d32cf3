// SPDX-License-Identifier: MIT
// A model written back as a Hugging Face folder is the same model, bit for bit; what such a folder cannot say is said
// in a section of our own.
#include <stdlib.h>
#include <string.h>

#include "harness/pretrained/pretrained.h"
#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/test.h"
#include "tests/variants/settings.h"
#include "tests/weights/files.h"

#define FAMILIES "tests/fixtures/families/"

ARENA_FIXTURE(arena, 1 << 20);

static void load(struct pretrained *p, const char *path)
{
	struct err err = {0};
	if (model_load(p, path, PRETRAINED_TO_READ, &arena, &err))
		fail_msg("%s", err.message);
}

static void expect_same(const struct pretrained *a, const struct pretrained *b)
{
	assert_ptr_equal(a->family, b->family);
	assert_ptr_equal(a->model.variant, b->model.variant);
	for (const struct option *o = model_options; o->key; o++) {
		if (!option_equal(o, &a->model.config, &b->model.config))
			fail_msg("%s differs", o->key);
	}
	assert_int_equal(a->model.n_param, b->model.n_param);
	for (int i = 0; i < a->model.n_param; i++) {
		const struct tensor *x = &a->model.param[i].tensor, *y = &b->model.param[i].tensor;
		assert_int_equal(x->T * x->C, y->T * y->C);
		assert_memory_equal(x->x, y->x, (size_t)x->T * (size_t)x->C * sizeof(real));
	}
}

static void what_is_saved_loads_as_it_was(void **state UNUSED)
{
	static const char *const folders[] = {"gpt2", "gpt2_untied", "pythia", "pythia_sequential", "qwen2",
	        "qwen2_untied", "llama", "llama_biases", "llama_plain", "mistral", "llama2c", "gguf"};
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		struct err err = {0};
		struct pretrained first, again;
		char *folder = folder_make();
		load(&first, arena_printf(&arena, FAMILIES "%s", folders[i]));
		if (model_save(&first.model, first.family, folder, &err))
			fail_msg("%s: %s", folders[i], err.message);
		load(&again, folder);
		expect_same(&first, &again);
		pretrained_close(&first);
		pretrained_close(&again);
		folder_remove(folder);
	}
}

// The file that `transformers` wrote and ours of the model read from it: the same tensors, names and all.
static void names_and_numbers_are_the_packages(void **state UNUSED)
{
	static const char *const folders[] = {"gpt2_untied", "pythia", "qwen2_untied", "llama_biases"};
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		struct err err = {0};
		struct pretrained p;
		struct weights *saved;
		char *folder = folder_make();
		load(&p, arena_printf(&arena, FAMILIES "%s", folders[i]));
		if (model_save(&p.model, p.family, folder, &err) || weights_open(&saved, folder, &err))
			fail_msg("%s", err.message);
		assert_int_equal(saved->n_tensor, p.weights->n_tensor);
		for (long j = 0; j < saved->n_tensor; j++) {
			const struct weights_tensor *t = &saved->tensor[j],
			                            *its = weights_expect(p.weights, t->name, t->n_dim, t->dim, &err);
			if (!its)
				fail_msg("%s", err.message);
			assert_int_equal(t->bytes, its->bytes);
			assert_memory_equal(t->data, its->data, t->bytes);
		}
		weights_close(saved);
		pretrained_close(&p);
		folder_remove(folder);
	}
}

// Spelled so that the package reads the same model: GPT-NeoX has its own names for the rotary part.
static const char *const pythia_config =
        "{\n  \"architectures\": [\"GPTNeoXForCausalLM\"],\n  \"model_type\": \"gpt_neox\",\n"
        "  \"hidden_size\": 16,\n  \"num_hidden_layers\": 2,\n  \"num_attention_heads\": 2,\n"
        "  \"intermediate_size\": 24,\n  \"vocab_size\": 31,\n  \"max_position_embeddings\": 32,\n"
        "  \"hidden_act\": \"gelu\",\n  \"layer_norm_eps\": 1e-05,\n"
        "  \"tie_word_embeddings\": true,\n  \"use_parallel_residual\": false,\n"
        "  \"attention_bias\": false,\n  \"rotary_pct\": 1,\n  \"rotary_emb_base\": 30,\n"
        "  \"rope_scaling\": {\n    \"rope_type\": \"linear\",\n    \"factor\": 2\n  },\n"
        "  \"torch_dtype\": \"float32\"\n}\n";

static void the_configuration_is_spelled_as_the_package_reads_it(void **state UNUSED)
{
	struct err err = {0};
	struct pretrained p;
	char *folder = folder_make();
	load(&p, FAMILIES "pythia_sequential");
	if (model_save(&p.model, p.family, folder, &err))
		fail_msg("%s", err.message);
	struct bytes text = bytes_of_file(arena_printf(&arena, "%s/config.json", folder));
	bytes_add(&text, "", 1);
	assert_string_equal((const char *)text.data, pythia_config);
	free(text.data);
	pretrained_close(&p);
	folder_remove(folder);
}

// A preset's model is saved as its family's; with another variant or option it says so in a section of our own.
static const struct {
	const char *family, *settings, *variant, *variant_settings;
	int is_own;
} cases[] = {
        {"gpt2-124m", "n_layer=1 d_model=8 n_head=2 d_ff=6 n_ctx=4", "mha", "", 0},
        {"pythia", "n_layer=1 d_model=16 n_head=2 d_ff=6 n_ctx=4", "mha", "", 0},
        {"llama-3.2-1b", "n_layer=1 d_model=8 n_head=2 n_kv_head=1 d_ff=6 n_ctx=4", "mqa", "rope=at_read", 0},
        {"gpt2", "n_layer=2 d_model=8 n_head=2 d_ff=6", "mha", "m1=2", 1},
        {"gpt2", "n_layer=2 d_model=8 n_head=2 d_ff=6", "thin_keys", "d_select=8", 1},
        {"gpt2", "n_layer=2 d_model=8 n_head=2 d_ff=6", "factored_keys", "d_select=5", 1},
        {"llama", "n_layer=2 d_model=8 n_head=2 n_kv_head=1 d_ff=6", "factored_keys",
                "d_select=2 rope=planes per=head d_rope=2", 1},
        {"pythia", "n_layer=1 d_model=32 n_head=2 d_ff=6", "factored_keys", "d_select=9", 1},
        {"qwen2", "n_layer=2 d_model=8 n_head=2 n_kv_head=1 d_ff=6", "keyless", "m1=2 rope=turned_back", 1},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6 position=none", "mha", "", 1},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6 n_kv_head=1", "mqa", "", 1},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6 activation=swiglu", "mha", "", 1},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6 tied_head=false head_bias=true", "mha", "", 1},
        {"llama", "n_layer=1 d_model=8 n_head=2 d_ff=6 rope_pairs=neighbours", "mha", "", 1},
};

static void any_model_of_a_family_is_saved(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		struct pretrained first = {.family = family_find(cases[i].family)}, again;
		char *folder = folder_make();
		const struct model_config *config = build_config(
		        cases[i].family, arena_printf(&arena, "n_vocab=0 %s", cases[i].settings), 11, 4, &arena);
		const struct model *m = build_variant(config, cases[i].variant, cases[i].variant_settings, 3, &arena);
		if (model_save(m, first.family, folder, &err))
			fail_msg("%s", err.message);
		load(&again, folder);
		first.model = *m;
		first.family = again.family;
		if (!cases[i].is_own && m->variant != again.model.variant)
			fail_msg("%s: loaded as %s", cases[i].settings, again.model.variant->name);
		assert_int_equal(value_find(again.weights->config, "kvlab") != NULL, cases[i].is_own);
		first.model.config.init = again.model.config.init; // options that training alone sees are not kept
		first.model.config.init_std = again.model.config.init_std;
		first.model.config.dropout = again.model.config.dropout;
		expect_same(&first, &again);
		if (cases[i].is_own)
			assert_string_equal(settings_text(m->variant, m->variant_config, &arena),
			        settings_text(m->variant, again.model.variant_config, &arena));
		pretrained_close(&again);
		folder_remove(folder);
	}
}

static void a_family_without_files_is_refused(void **state UNUSED)
{
	struct err err = {0};
	char *folder = folder_make();
	const struct model *m = build_variant(
	        build_config("decoder", "n_layer=1 d_model=8 n_head=2 d_ff=6", 11, 4, &arena), "mha", "", 3, &arena);
	assert_int_equal(model_save(m, family_find("decoder"), folder, &err), -1);
	assert_string_equal(err.message, "models of family decoder have no file format");
	folder_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_saved_loads_as_it_was),
	        cmocka_unit_test(names_and_numbers_are_the_packages),
	        cmocka_unit_test(the_configuration_is_spelled_as_the_package_reads_it),
	        cmocka_unit_test(any_model_of_a_family_is_saved),
	        cmocka_unit_test(a_family_without_files_is_refused),
	};
	return cmocka_run_group_tests_name("models saved", tests, setup, teardown);
}
