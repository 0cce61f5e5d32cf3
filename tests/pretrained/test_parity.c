// SPDX-License-Identifier: MIT
// Models of each family against the package `transformers` (tests/fixtures/families/make.py): logits through one
// prefill, and through the cache token by token.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/pretrained/pretrained.h"
#include "tests/model/build.h"
#include "tests/test.h"

#define FAMILIES "tests/fixtures/families/"
#define MOST_ERROR 1e-5 // of the range of the logits: the two forms of GELU differ by less than 1e-4
enum { T = 20, VOCAB = 31, SETTINGS = 6, CHUNK = 1 << 20 };

static struct arena arena, step, scratch;
static double worst_of_all;

// Each setting, put into the loaded model's options, must be seen in its logits: what the fixture is there to show.
static const struct {
	const char *folder, *golden, *variant, *seen[SETTINGS];
} models[] = {
        {"gpt2", "gpt2", "mha", {"activation=gelu", "norm_eps=0.1", "final_norm=false"}},
        {"gpt2_untied", "gpt2_untied", "mha", {"activation=gelu_new", "norm_eps=1e-05"}},
        {"pythia", "pythia", "mha",
                {"residual=sequential", "activation=gelu_new", "rope_fraction=1", "rope_pairs=neighbours",
                        "rope_base=10000"}},
        {"pythia_sequential", "pythia_sequential", "mha", {"residual=parallel", "rope_scaling=none", "rope_base=100"}},
        {"qwen2", "qwen2", "gqa", {"rope_base=10000", "norm_eps=1e-06"}},
        {"qwen2_untied", "qwen2_untied", "mqa", {"rope_base=100"}},
        {"llama", "llama", "gqa",
                {"rope_scaling=none", "rope_scaling=linear", "rope_low=0", "rope_high=3", "rope_factor=4",
                        "rope_original_ctx=32"}},
        {"llama_biases", "llama_biases", "mha", {"rope_scaling=none", "rope_pairs=neighbours"}},
        {"llama_plain", "llama_plain", "gqa", {"rope_base=100"}},
        {"mistral", "mistral", "gqa", {"rope_base=100"}},
        {"llama2c", "llama_plain", "gqa", {"rope_pairs=neighbours"}},
        {"gguf", "llama_plain", "gqa", {"rope_pairs=neighbours"}},
        {"gguf_q4_1", "gguf_q4_1", "gqa", {"rope_pairs=neighbours"}},
};
enum { N_MODEL = sizeof(models) / sizeof(models[0]) };

static void load(struct pretrained *p, const char *folder, enum pretrained_use use)
{
	struct err err = {0};
	char path[200];
	snprintf(path, sizeof(path), FAMILIES "%s", folder);
	if (model_load(p, path, use, &arena, &err))
		fail_msg("%s", err.message);
}

struct golden {
	int ids[T];
	float logits[T][VOCAB], range;
};

static void read_golden(struct golden *g, const char *name)
{
	struct err err = {0};
	struct weights *w;
	char path[200];
	real ids[T], logits[T * VOCAB];
	snprintf(path, sizeof(path), FAMILIES "%s.golden.safetensors", name);
	if (weights_open(&w, path, &err))
		fail_msg("%s", err.message);
	const struct weights_tensor *i = weights_expect(w, "ids", 1, (const long[]){T}, &err),
	                            *l = weights_expect(w, "logits", 2, (const long[]){T, VOCAB}, &err);
	if (!i || !l)
		fail_msg("%s", err.message);
	weights_read(i, 0, 1, ids);
	weights_read(l, 0, T, logits);
	float least = INFINITY, most = -INFINITY;
	for (int t = 0; t < T; t++) {
		g->ids[t] = (int)ids[t];
		for (int j = 0; j < VOCAB; j++) {
			g->logits[t][j] = (float)logits[t * VOCAB + j];
			least = fminf(least, g->logits[t][j]);
			most = fmaxf(most, g->logits[t][j]);
		}
	}
	g->range = most - least;
	assert_true(g->range > 1);
	weights_close(w);
}

// Logits of n tokens from number `from` on; the tape's memory is taken back by the next call.
static const struct tensor *forward(struct model *m, const int *ids, int from, int n, struct cache *cache)
{
	arena_reset(&step);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &step, .scratch = &scratch};
	tape_begin(&tape, TAPE_RUN);
	return model_forward(&tape, m, ids + from, 1, n, 0, n, cache);
}

static double worst(const struct tensor *logits, const struct golden *g, int from)
{
	double most = 0;
	for (int t = 0; t < logits->T; t++)
		for (int j = 0; j < VOCAB; j++) {
			const double off =
			        fabs((double)logits->x[t * logits->t_stride + j] - (double)g->logits[from + t][j]);
			most = isnan(off) ? INFINITY : fmax(most, off);
		}
	return most / (double)g->range;
}

static void test_prefill(void **state UNUSED)
{
	for (int i = 0; i < N_MODEL; i++) {
		struct pretrained p;
		struct golden g;
		read_golden(&g, models[i].golden);
		load(&p, models[i].folder, PRETRAINED_TO_READ);
		assert_string_equal(p.model.variant->name, models[i].variant);
		const double off = worst(forward(&p.model, g.ids, 0, T, NULL), &g, 0);
		worst_of_all = fmax(worst_of_all, off);
		if (!(off < MOST_ERROR))
			fail_msg("%s: off by %.3g of the range", models[i].folder, off);
		pretrained_close(&p);
	}
}

static void test_token_by_token(void **state UNUSED)
{
	for (int i = 0; i < N_MODEL; i++) {
		struct err err = {0};
		struct pretrained p;
		struct golden g;
		struct cache cache;
		read_golden(&g, models[i].golden);
		load(&p, models[i].folder, PRETRAINED_TO_READ);
		const struct model *m = &p.model;
		if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, 1, T, &arena, &err))
			fail_msg("%s", err.message);
		for (int t = 0; t < T; t++) {
			const double off = worst(forward(&p.model, g.ids, t, 1, &cache), &g, t);
			worst_of_all = fmax(worst_of_all, off);
			if (!(off < MOST_ERROR))
				fail_msg("%s: token %d is off by %.3g of the range", models[i].folder, t, off);
		}
		pretrained_close(&p);
	}
}

static void what_a_fixture_shows_is_seen(void **state UNUSED)
{
	for (int i = 0; i < N_MODEL; i++)
		for (int s = 0; s < SETTINGS && models[i].seen[s]; s++) {
			struct pretrained p;
			struct golden g;
			read_golden(&g, models[i].golden);
			load(&p, models[i].folder, PRETRAINED_TO_READ);
			build_options(model_options, &p.model.config, models[i].seen[s]);
			p.model.dims = model_attn_dims(&p.model.config);
			const double off = worst(forward(&p.model, g.ids, 0, T, NULL), &g, 0);
			if (off < 10 * MOST_ERROR)
				fail_msg("%s does not show %s", models[i].folder, models[i].seen[s]);
			pretrained_close(&p);
		}
}

// The same numbers, whether they lie in the file or in a block with gradients; and in place where they can be.
static void loading_to_train_gives_the_same_bits(void **state UNUSED)
{
	for (int i = 0; i < N_MODEL; i++) {
		struct pretrained read, train;
		load(&read, models[i].folder, PRETRAINED_TO_READ);
		load(&train, models[i].folder, PRETRAINED_TO_TRAIN);
		assert_int_equal(read.model.n_param, train.model.n_param);
		int n_in_place = 0;
		for (int j = 0; j < read.model.n_param; j++) {
			const struct tensor *a = &read.model.param[j].tensor, *b = &train.model.param[j].tensor;
			assert_non_null(b->dx);
			assert_memory_equal(a->x, b->x, (size_t)a->T * (size_t)a->C * sizeof(real));
			n_in_place += a->x < read.model.x || a->x >= read.model.x + read.model.n_padded;
		}
		// Of f32 files the token table at least stays where it is, and so do q4_1's norms, which are f32.
		assert_int_equal(n_in_place > 0, strcmp(models[i].folder, "mistral") != 0);
		pretrained_close(&read);
		pretrained_close(&train);
	}
}

// Three routes to one model.
static void neighbouring_pairs_become_halves(void **state UNUSED)
{
	struct pretrained hub, other;
	load(&hub, "llama_plain", PRETRAINED_TO_READ);
	for (int i = 0; i < 2; i++) {
		load(&other, i ? "gguf" : "llama2c", PRETRAINED_TO_READ);
		for (int j = 0; j < hub.model.n_param; j++) {
			const struct tensor *a = &hub.model.param[j].tensor, *b = &other.model.param[j].tensor;
			assert_memory_equal(a->x, b->x, (size_t)a->T * (size_t)a->C * sizeof(real));
		}
		pretrained_close(&other);
	}
	pretrained_close(&hub);
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, CHUNK);
	arena_init(&step, CHUNK);
	arena_init(&scratch, CHUNK);
	return 0;
}

static int teardown(void **state UNUSED)
{
	printf("# worst error of a logit: %.2e of their range\n", worst_of_all);
	arena_release(&arena);
	arena_release(&step);
	arena_release(&scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_prefill),
	        cmocka_unit_test(test_token_by_token),
	        cmocka_unit_test(what_a_fixture_shows_is_seen),
	        cmocka_unit_test(loading_to_train_gives_the_same_bits),
	        cmocka_unit_test(neighbouring_pairs_become_halves),
	};
	return cmocka_run_group_tests_name("parity with transformers", tests, setup, teardown);
}
