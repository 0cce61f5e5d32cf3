// SPDX-License-Identifier: MIT
// A model written back as a Hugging Face folder is the same model, bit for bit; what such a folder cannot say is
// refused.
#include <stdlib.h>
#include <string.h>

#include "harness/pretrained/pretrained.h"
#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/test.h"
#include "tests/weights/files.h"

#define FAMILIES "tests/fixtures/families/"

static struct arena arena;

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

// A preset's model is saved as its family's; with another variant or option it is none of them.
static const struct {
	const char *family, *settings, *variant, *variant_settings, *message; // message NULL: it is saved
} cases[] = {
        {"gpt2-124m", "n_layer=1 d_model=8 n_head=2 d_ff=6 n_ctx=4", "mha", "", NULL},
        {"pythia", "n_layer=1 d_model=16 n_head=2 d_ff=6 n_ctx=4", "mha", "", NULL},
        {"llama-3.2-1b", "n_layer=1 d_model=8 n_head=2 n_kv_head=1 d_ff=6 n_ctx=4", "mqa", "rope=at_read", NULL},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6", "mha", "m1=2",
                "parameter 'layer.0.w_q2' has no place in files of family gpt2"},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6", "thin_keys", "d_select=8",
                "variant 'thin_keys' has no place in files of family gpt2 (mha, gqa and mqa have)"},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6 position=none", "mha", "",
                "files of family gpt2 cannot say position: \"none\" (theirs is \"learned\")"},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6 n_kv_head=1", "mqa", "",
                "files of family gpt2 cannot say n_kv_head: 1 (theirs is 2)"},
        {"gpt2", "n_layer=1 d_model=8 n_head=2 d_ff=6 activation=swiglu", "mha", "",
                "files of family gpt2 cannot say activation: \"swiglu\""},
        {"llama", "n_layer=1 d_model=8 n_head=2 d_ff=6 rope_pairs=neighbours", "mha", "",
                "files of family llama cannot say rope_pairs: \"neighbours\" (theirs is \"halves\")"},
        {"decoder", "n_layer=1 d_model=8 n_head=2 d_ff=6", "mha", "", "models of family decoder have no file format"},
};

static void only_what_the_files_can_say_is_saved(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		struct pretrained p;
		char *folder = folder_make();
		const struct model_config *config = build_config(
		        cases[i].family, arena_printf(&arena, "n_vocab=0 %s", cases[i].settings), 11, 4, &arena);
		const struct model *m = build_variant(config, cases[i].variant, cases[i].variant_settings, 3, &arena);
		const int result = model_save(m, family_find(cases[i].family), folder, &err);
		assert_string_equal(result ? err.message : "", cases[i].message ? cases[i].message : "");
		if (!result) {
			load(&p, folder);
			for (int j = 0; j < m->n_param; j++) {
				const struct tensor *x = &m->param[j].tensor, *y = &p.model.param[j].tensor;
				assert_memory_equal(x->x, y->x, (size_t)x->T * (size_t)x->C * sizeof(real));
			}
			pretrained_close(&p);
		} else { // and nothing is left behind
			struct err none = {0};
			assert_int_equal(model_load(&p, folder, PRETRAINED_TO_READ, &arena, &none), -1);
		}
		folder_remove(folder);
	}
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	return 0;
}

static int teardown(void **state UNUSED)
{
	arena_release(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_saved_loads_as_it_was),
	        cmocka_unit_test(names_and_numbers_are_the_packages),
	        cmocka_unit_test(the_configuration_is_spelled_as_the_package_reads_it),
	        cmocka_unit_test(only_what_the_files_can_say_is_saved),
	};
	return cmocka_run_group_tests_name("models saved", tests, setup, teardown);
}
