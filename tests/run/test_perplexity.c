// SPDX-License-Identifier: MIT
// Perplexity, KL and agreement against transformers and PyTorch (tests/fixtures/make_perplexity.py), with the same bits
// for any batch and any number of threads; through a typed cache; what cannot be measured is refused.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/pretrained/pretrained.h"
#include "harness/run/perplexity.h"
#include "tests/model/build.h"
#include "tests/test.h"

#define MOST_ERROR 2e-5 // relative; logits are f32 here and doubles there
enum { MOST_TOKENS = 200, VOCAB = 31 };

static const struct golden {
	const char *model, *reference;
	long n_id;
	int context, stride;
	long n_window, n_block, n_token;
	double loss, reference_loss, kl, agreement, accuracy, loss_error, kl_error;
} goldens[] = {
#include "tests/fixtures/perplexity.inc"
};
enum { N_GOLDEN = sizeof(goldens) / sizeof(goldens[0]) };

static struct arena arena;
static int ids[MOST_TOKENS];

static void load(struct pretrained *p, const char *name)
{
	struct err err = {0};
	char path[200];
	snprintf(path, sizeof(path), "tests/fixtures/families/%s", name);
	if (model_load(p, path, PRETRAINED_TO_READ, &arena, &err))
		fail_msg("%s", err.message);
}

static struct perplexity measure(struct model *model, long n_id, const struct perplexity_config *config)
{
	struct perplexity result;
	struct err err = {0};
	if (perplexity_measure(&result, model, ids, n_id, config, &err))
		fail_msg("%s", err.message);
	return result;
}

static void assert_near(double got, double expected)
{
	if (isnan(expected) ? !isnan(got) : !(fabs(got - expected) <= MOST_ERROR * fabs(expected)))
		fail_msg("%.9g is not near %.9g", got, expected);
}

static void numbers_are_those_of_transformers(void **state UNUSED)
{
	for (int i = 0; i < N_GOLDEN; i++) {
		const struct golden *g = &goldens[i];
		struct pretrained model, reference;
		load(&model, g->model);
		load(&reference, g->reference);
		const struct perplexity_config config = {.context = g->context,
		        .stride = g->stride,
		        .n_thread = 1,
		        .reference = &reference.model,
		        .n_byte = 3 * (double)(g->n_id - 2),
		        .n_prefix = 2};
		const struct perplexity r = measure(&model.model, g->n_id, &config);
		assert_int_equal(r.n_window, g->n_window);
		assert_int_equal(r.n_block, g->n_block);
		assert_int_equal(r.n_token, g->n_token);
		assert_near(r.loss.mean, g->loss);
		assert_near(r.loss.standard_error, g->loss_error);
		assert_near(r.reference_loss, g->reference_loss);
		assert_near(r.kl.mean, g->kl);
		assert_near(r.kl.standard_error, g->kl_error);
		assert_near(r.agreement, g->agreement);
		assert_near(r.accuracy, g->accuracy);
		assert_near(r.perplexity.mean, exp(g->loss));
		assert_near(r.perplexity.standard_error, exp(g->loss) * g->loss_error);
		assert_near(r.bits_per_byte, g->loss / log(2) / 3);
		pretrained_close(&model);
		pretrained_close(&reference);
	}
}

static void bits_do_not_depend_on_batch_or_threads(void **state UNUSED)
{
	static const struct cache_config q8 = {DTYPE_Q8, DTYPE_Q8, K_SCALES_TOKEN};
	struct pretrained model, reference;
	load(&model, "llama");
	load(&reference, "llama_biases");
	for (int typed = 0; typed < 2; typed++) {
		struct perplexity_config config = {.context = 16,
		        .stride = 5,
		        .batch = 1,
		        .n_thread = 1,
		        .reference = &reference.model,
		        .cache = typed ? &q8 : NULL};
		const struct perplexity one = measure(&model.model, 200, &config);
		for (int batch = 0; batch < 50; batch += 7) { // 0: its own choice
			config.batch = batch;
			config.n_thread = 1 + batch % 2;
			const struct perplexity r = measure(&model.model, 200, &config);
			assert_true(r.loss.mean == one.loss.mean && r.kl.mean == one.kl.mean);
			assert_true(r.loss.standard_error == one.loss.standard_error &&
			            r.kl.standard_error == one.kl.standard_error);
			assert_true(r.agreement == one.agreement && r.accuracy == one.accuracy);
		}
	}
	pretrained_close(&model);
	pretrained_close(&reference);
}

// Against itself a model has no distance but what its cache rounds away; that in f32 rounds nothing.
static void distance_of_a_rounded_cache(void **state UNUSED)
{
	static const struct cache_config types[] = {
	        {DTYPE_F32, DTYPE_F32, 0}, {DTYPE_F16, DTYPE_F16, 0}, {DTYPE_Q8, DTYPE_Q8, 0}, {DTYPE_Q4, DTYPE_Q4, 0}};
	struct pretrained p;
	load(&p, "llama");
	struct perplexity_config config = {.context = 48, .stride = 24, .n_thread = 1, .reference = &p.model};
	const struct perplexity plain = measure(&p.model, 200, &config);
	assert_true(plain.kl.mean >= 0 && plain.kl.mean < 1e-6);
	assert_true(plain.agreement == 1 && fabs(plain.reference_loss - plain.loss.mean) < 1e-12);
	double before = 0;
	for (int i = 0; i < 4; i++) {
		config.cache = &types[i];
		const struct perplexity r = measure(&p.model, 200, &config);
		if (i == 0)
			assert_true(r.loss.mean == plain.loss.mean && r.kl.mean == plain.kl.mean);
		else
			assert_true(r.kl.mean > 2 * before);
		assert_true(fabs(r.reference_loss - plain.loss.mean) < 1e-12);
		before = r.kl.mean + 1e-12;
	}
	assert_true(before < 1);
	pretrained_close(&p);
}

struct progress_seen {
	long calls, done, total;
};

static void tick(void *context, long done, long total)
{
	struct progress_seen *seen = context;
	assert_true(done > seen->done && done <= total);
	*seen = (struct progress_seen){seen->calls + 1, done, total};
}

static void progress_is_told(void **state UNUSED)
{
	struct pretrained p;
	struct progress_seen seen = {0, 0, 0};
	load(&p, "llama");
	const struct perplexity_config config = {
	        .context = 16, .stride = 5, .batch = 4, .n_thread = 1, .tick = tick, .tick_context = &seen};
	const struct perplexity r = measure(&p.model, 200, &config);
	assert_true(seen.calls == 11 && seen.done == r.n_token && seen.total == r.n_token); // 1, 36 and 1 windows
	assert_true(isnan(r.kl.mean) && isnan(r.agreement) && isnan(r.reference_loss) && isnan(r.bits_per_byte));
	pretrained_close(&p);
}

static void assert_refused(struct model *m, long n_id, struct perplexity_config config, const char *sentence)
{
	struct perplexity result;
	struct err err = {0};
	assert_int_equal(perplexity_measure(&result, m, ids, n_id, &config, &err), -1);
	assert_string_equal(err.message, sentence);
	assert_false(err.is_fault);
}

static void what_cannot_be_measured_is_refused(void **state UNUSED)
{
	static const struct cache_config channel = {DTYPE_Q8, DTYPE_Q8, K_SCALES_CHANNEL},
	                                 senseless = {DTYPE_F16, DTYPE_F16, K_SCALES_CHANNEL};
	struct pretrained p;
	load(&p, "llama"); // 64 positions
	struct model *m = &p.model, other = *m;
	const struct perplexity_config config = {.context = 16, .stride = 16, .n_thread = 1};
	struct perplexity_config c = config;
	assert_refused(m, 1, c, "a text of fewer than 2 tokens has none to predict (give a longer one)");
	c.context = 65;
	assert_refused(m, 200, c, "context 65 is beyond the 64 positions of the model");
	c.context = 1;
	assert_refused(m, 200, c, "context 1 leaves nothing to predict from (give at least 2)");
	c = config;
	c.stride = 17;
	assert_refused(m, 200, c, "stride 17 is not within 1 and the context of 16");
	c = config;
	c.cache = &channel;
	assert_refused(m, 200, c,
	        "k_scales: channel rounds no key of 15 tokens: a block of a channel has 32 (give a longer context)");
	c.cache = &senseless;
	assert_refused(m, 200, c, "k_scales: channel needs k_dtype q8 or q4, not f16 (or set k_scales: token)");
	c = config;
	c.reference = &other;
	other.config.n_vocab = 32;
	assert_refused(m, 200, c, "the reference has a vocabulary of 32, the model one of 31: nothing to compare");
	other = *m;
	other.config.n_ctx = 8;
	assert_refused(m, 200, c, "context 16 is beyond the 8 positions of the reference");
	other.config.causal = 0;
	assert_refused(
	        &other, 200, config, "the model sees the tokens that it would have to predict (set causal: true)");
	const int kept = ids[7];
	ids[7] = VOCAB;
	assert_refused(m, 200, config,
	        "token 8 of the text has the id 31, and the model a vocabulary of 31 (is this its tokenizer?)");
	ids[7] = kept;
	pretrained_close(&p);
}

static size_t bytes_of_a_pass(const char *settings)
{
	enum { B = 4, T = 64 };
	static int tokens[B * T];
	struct arena step, scratch;
	struct model *m = build_variant(build_config("decoder", settings, VOCAB, T, &arena), "mha", "", 1, &arena);
	arena_init(&step, 1 << 16);
	arena_init(&scratch, 1 << 16);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &step, .scratch = &scratch};
	tape_begin(&tape, TAPE_RUN);
	model_forward(&tape, m, tokens, B, T, 0, T, NULL);
	const size_t bytes = step.peak_bytes;
	arena_release(&step);
	arena_release(&scratch);
	return bytes;
}

static void a_pass_takes_the_memory_of_one_block(void **state UNUSED)
{
	const size_t two = bytes_of_a_pass("n_layer=2 d_model=32 n_head=2 d_ff=128"),
	             twelve = bytes_of_a_pass("n_layer=12 d_model=32 n_head=2 d_ff=128");
	const size_t output = 4 * 64 * 32 * sizeof(real);
	assert_true(twelve <= two + 10 * (output + 1024));
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	for (int i = 0; i < MOST_TOKENS; i++)
		ids[i] = (i * i + 3 * i + i / 8) % VOCAB;
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
	        cmocka_unit_test(numbers_are_those_of_transformers),
	        cmocka_unit_test(bits_do_not_depend_on_batch_or_threads),
	        cmocka_unit_test(distance_of_a_rounded_cache),
	        cmocka_unit_test(progress_is_told),
	        cmocka_unit_test(what_cannot_be_measured_is_refused),
	        cmocka_unit_test(a_pass_takes_the_memory_of_one_block),
	};
	return cmocka_run_group_tests_name("perplexity", tests, setup, teardown);
}
