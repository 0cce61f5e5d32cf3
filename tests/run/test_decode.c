// SPDX-License-Identifier: MIT
// What procedure decode is made of: bytes and ceilings against figures worked out from published shapes (reference
// peers.md 3.6, paper B's Eq. 10), the reference of a point, weights drawn for inference, repeated contexts, and a gate
// that finds a wrong decode.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/num/stored.h"
#include "harness/run/decode_arm.h"
#include "harness/run/run.h"
#include "harness/spec/spec.h"
#include "tests/test.h"

static struct arena arena;
static char folder[] = "/tmp/kvlab_decode_XXXXXX";
static char path[sizeof(folder) + 16];

static struct spec_point *load(const char *model, const char *variant, const char *more)
{
	struct spec *spec = arena_alloc(&arena, sizeof(*spec));
	struct err err = {0};
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fprintf(out,
	        "experiment: t\nquestion: how fast?\nprocedure: decode\nseeds: [1]\n"
	        "model: {%s}\ntask: {name: noise, n_vocab: 2, length: 1}\nvariant: {%s}\n%s",
	        model, variant, more);
	assert_int_equal(fclose(out), 0);
	if (spec_load(spec, path, "small", 0, &arena, &err))
		fail_msg("%s", err.message);
	return &spec->point[0];
}

static const char f16[] = "cache: {k_dtype: f16, v_dtype: f16}\n";

static void near(double value, double figure, double share)
{
	if (!(fabs(value / figure - 1) <= share))
		fail_msg("%.9g is not %.9g", value, figure);
}

static struct decode_arm arm_of(const char *model, const char *variant, int context, int batch)
{
	struct decode_arm arm;
	const struct decode_point shape = {context, batch, 1, DTYPE_BF16};
	decode_arm_of(&arm, &load(model, variant, f16)->setup, &shape, &arena);
	return arm;
}

static void bytes_are_those_of_the_published_shapes(void **state UNUSED)
{
	// weights read a step and cache bytes a token (peers.md 3.6)
	static const struct {
		const char *model, *variant;
		double weights, token;
	} figures[] = {
	        {"family: gpt2-124m", "name: mha", 249e6, 36864}, {"family: pythia-410m", "name: mha", 708e6, 98304},
	        {"family: llama-3.2-1b", "name: gqa", 2.47e9, 32768},
	        {"family: qwen2-1.5b", "name: gqa", 3.09e9, 28672},
	        {"family: mistral-7b", "name: gqa", 14.2e9, 131072}, // paper B: 14.2 GB
	};
	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++) {
		const struct decode_point shape = {999, 3, 1, DTYPE_BF16};
		const struct decode_arm arm = arm_of(figures[i].model, figures[i].variant, shape.context, shape.batch);
		assert_true(arm.footprint.cache.per_token == figures[i].token);
		assert_true(decode_arm_cache_read_bytes(&arm, &shape) == 3 * 1000 * figures[i].token);
		near(decode_arm_step_bytes(&arm, &shape) - decode_arm_cache_read_bytes(&arm, &shape),
		        figures[i].weights, 0.006);
	}
}

// Paper B, Table 11: (W + b C) / (W' + b C') of ranks 512 and 256 at 4,096 tokens.
static void eq_10_predicts_what_paper_b_prints(void **state UNUSED)
{
	static const int batch[] = {1, 4, 8, 16, 32};
	static const double printed[2][5] = {{1.06, 1.08, 1.10, 1.14, 1.19}, {1.09, 1.12, 1.17, 1.23, 1.31}};
	for (int b = 0; b < 5; b++)
		for (int r = 0; r < 2; r++) {
			const struct decode_point shape = {4095, batch[b], 1, DTYPE_BF16};
			const struct decode_arm base = arm_of("family: mistral-7b", "name: gqa", 4095, batch[b]);
			// The paper thins keys alone; queries of our thin_keys are as thin, so W' is a little less.
			const struct decode_arm thin = arm_of("family: mistral-7b",
			        r ? "name: thin_keys, d_select_per_head: 32" : "name: thin_keys, d_select_per_head: 64",
			        4095, batch[b]);
			near(decode_arm_step_bytes(&base, &shape) / decode_arm_step_bytes(&thin, &shape), printed[r][b],
			        0.025);
		}
}

static void a_point_refers_to_the_heads_of_its_family(void **state UNUSED)
{
	const struct decode_point shape = {64, 1, 1, DTYPE_BF16};
	struct decode_arm reference;
	const struct setup *mqa = &load("family: llama-3.2-1b, n_kv_head: 1", "name: mqa", f16)->setup;
	assert_true(decode_arm_reference(&reference, mqa, &shape, &arena));
	assert_string_equal(reference.setup.variant->name, "gqa");
	assert_int_equal(reference.config.n_kv_head, 8);
	const struct setup *gqa = &load("family: llama-3.2-1b", "name: gqa", f16)->setup;
	assert_false(decode_arm_reference(&reference, gqa, &shape, &arena));
	const struct setup *keyless = &load("family: gpt2-124m", "name: keyless", f16)->setup;
	assert_true(decode_arm_reference(&reference, keyless, &shape, &arena));
	assert_string_equal(reference.setup.variant->name, "mha");
	assert_int_equal(reference.config.n_kv_head, 12);
	// A chain decodes folded: its weights are those of the product.
	struct decode_arm arm;
	decode_arm_of(&arm, keyless, &shape, &arena);
	assert_true(arm.is_folded);
	decode_arm_of(&reference, &load("family: gpt2-124m", "name: shared_kv", f16)->setup, &shape, &arena);
	assert_true(arm.footprint.weight_bytes == reference.footprint.weight_bytes);
}

static const char small[] = "family: llama, n_layer: 2, d_model: 64, n_head: 4, n_kv_head: 2, d_ff: 96, n_vocab: 100, "
                            "n_ctx: 400";

static const struct decode_place place = {&backend_cpu, &arena, &arena, 1, 0};

static struct tape tape_of(void)
{
	struct arena *step = arena_zalloc(&arena, 2 * sizeof(*step));
	arena_init(&step[0], 1 << 20);
	arena_init(&step[1], 1 << 20);
	return (struct tape){.backend = &backend_cpu, .n_thread = 1, .step = &step[0], .scratch = &step[1]};
}

static void tape_free(struct tape *tape)
{
	arena_release(tape->step);
	arena_release(tape->scratch);
}

// Parameters of fewer than 65,537 numbers are drawn whole: the same as drawn in reals and quantised.
static void weights_drawn_for_inference_are_the_quantised_ones(void **state UNUSED)
{
	static const int tokens[] = {3, 1, 4, 1, 5, 9, 2, 6};
	const struct setup *setup = &load(small, "name: gqa", f16)->setup;
	struct tape tape = tape_of();
	for (int dtype = 0; dtype < N_DTYPE; dtype++) {
		struct model a, b;
		model_init(&a, setup->model, setup->variant, setup->variant_config, &arena);
		model_allocate(&a, 0, &arena);
		model_draw_weights(&a, 7);
		model_quantize(&a, (enum dtype)dtype, 1, &arena);
		model_init(&b, setup->model, setup->variant, setup->variant_config, &arena);
		model_draw_for_inference(&b, NULL, 7, (enum dtype)dtype, 2, &arena, &arena);
		tape_begin(&tape, TAPE_RUN);
		const struct tensor *x = model_forward(&tape, &a, tokens, 1, 8, 0, 8, NULL),
		                    *y = model_forward(&tape, &b, tokens, 1, 8, 0, 8, NULL);
		assert_memory_equal(x->x, y->x, 8 * 100 * sizeof(real));
		assert_true(isfinite((double)x->x[0]) && x->x[0] != x->x[1]);
	}
	tape_free(&tape);
}

static void arms_share_what_is_outside_attention(void **state UNUSED)
{
	struct decode_arm arm, reference;
	struct err err = {0};
	const struct decode_point shape = {64, 1, 32, DTYPE_BF16};
	const struct setup *setup = &load(small, "name: shared_kv", f16)->setup;
	decode_arm_of(&arm, setup, &shape, &arena);
	assert_true(decode_arm_reference(&reference, setup, &shape, &arena));
	assert_int_equal(decode_arm_build(&arm, NULL, &shape, 1, &place, &err), 0);
	assert_int_equal(decode_arm_build(&reference, &arm, &shape, 1, &place, &err), 0);
	assert_ptr_equal(arm.model.head->stored, reference.model.head->stored);
	assert_ptr_equal(arm.model.layer[1].ff_in->stored, reference.model.layer[1].ff_in->stored);
	assert_ptr_equal(arm.model.layer[1].norm1_gain->x, reference.model.layer[1].norm1_gain->x);
	assert_ptr_not_equal(arm.model.layer[1].attn[0]->stored, reference.model.layer[1].attn[0]->stored);
}

// Every copy of every sequence holds the bytes of the prompt, whatever their type.
static void a_filled_context_repeats_the_prompt(void **state UNUSED)
{
	enum { PROMPT = 32, COPIES = 3, B = 2 };
	static const char *const types[] = {
	        "", "cache: {k_dtype: f16, v_dtype: q8}\n", "cache: {k_dtype: q4, v_dtype: f16, k_scales: channel}\n"};
	const struct decode_point shape = {COPIES * PROMPT, B, PROMPT, DTYPE_F32};
	struct tape tape = tape_of();
	for (int i = 0; i < 3; i++) {
		struct decode_arm arm;
		struct err err = {0};
		int tokens[PROMPT];
		for (int t = 0; t < PROMPT; t++)
			tokens[t] = (7 * t + t * t) % 100;
		decode_arm_of(&arm, &load(small, "name: gqa", types[i])->setup, &shape, &arena);
		assert_int_equal(decode_arm_build(&arm, NULL, &shape, 1, &place, &err), 0);
		assert_true(decode_arm_prefill(&arm, &tape, tokens, PROMPT) > 0);
		decode_arm_fill(&arm, &tape, COPIES * PROMPT);
		assert_int_equal(arm.cache.length, COPIES * PROMPT);
		for (int s = 0; s < arm.cache.n_stream; s++) {
			// f32 rows of 32 numbers; f16; q8; q4 with scales per channel, whose 97 positions are 3 units
			const size_t capacity = COPIES * PROMPT + 1,
			             row = s == 0 ? (i == 0          ? 128
			                                    : i == 1 ? 64
			                                             : 20)
			                          : (i == 0          ? 128
			                                    : i == 1 ? 34
			                                             : 64),
			             sequence = i == 2 && s == 0 ? row * COPIES * PROMPT : row * capacity;
			for (int b = 0; b < B; b++)
				for (int copy = 0; copy < COPIES; copy++)
					assert_memory_equal(arm.cache.layer[1].stream[s] + (size_t)b * sequence +
					                            (size_t)copy * PROMPT * row,
					        arm.prompt.layer[1].stream[s], PROMPT * row);
		}
		const int next[B] = {5, 5};
		assert_true(decode_arm_step(&arm, &tape, next) > 0);
		assert_int_equal(arm.cache.length, COPIES * PROMPT); // as before
	}
	tape_free(&tape);
}

static struct tensor *wrong_decode(struct attn *a)
{
	return a->x_q;
}

static void the_gate_finds_a_wrong_decode(void **state UNUSED)
{
	const struct decode_point shape = {64, 1, 32, DTYPE_BF16};
	struct tape tape = tape_of();
	for (int i = 0; i < 2; i++) {
		struct decode_arm arm;
		struct err err = {0};
		struct setup setup = load(small, "name: gqa", f16)->setup;
		struct variant variant = *setup.variant;
		if (i)
			variant.decode = wrong_decode;
		setup.variant = &variant;
		decode_arm_of(&arm, &setup, &shape, &arena);
		assert_int_equal(decode_arm_build(&arm, NULL, &shape, 1, &place, &err), 0);
		const double error = decode_arm_gate(&arm, &tape, 1, &place);
		assert_true((error <= decode_arm_tolerance(&arm, 0)) == !i);
	}
	tape_free(&tape);
}

static double metric(const struct run_log *log, const char *name)
{
	for (long i = 0; i < log->n_metric; i++)
		if (!strcmp(log->metric[i].name, name))
			return log->metric[i].value;
	fail_msg("no metric %s", name);
	return 0;
}

static void what_is_reported_fits_together(void **state UNUSED)
{
	struct run_log log;
	struct err err = {0};
	const struct setup *setup = &load(small, "name: keyless",
	        "cache: {k_dtype: f16, v_dtype: f16}\n"
	        "decode: {context: 100, batch: 3, prompt: 40, prompt_rounds: 2, warm_s: 0.01, most_s: 0.05}\n")
	                                     ->setup;
	run_log_init(&log);
	if (setup->procedure->run(setup, 1, 1, &log, &err))
		fail_msg("%s", err.message);
	near(metric(&log, "tok_s") * metric(&log, "step_s"), 3, 1e-12);
	near(metric(&log, "bandwidth_share"),
	        metric(&log, "step_bytes") / metric(&log, "step_s") / metric(&log, "bandwidth_bytes_s"), 1e-12);
	near(metric(&log, "gain"), metric(&log, "reference_s") / metric(&log, "step_s"), 1e-12);
	// keyless caches half of what grouped queries do
	const double cache = metric(&log, "cache_read_bytes");
	assert_true(cache == 3 * 101 * 2 * 32 * 2);
	assert_true(metric(&log, "ceiling") > 1 && metric(&log, "n_prompt") == 40);
	assert_true(metric(&log, "step_s_lo") <= metric(&log, "step_s") &&
	            metric(&log, "step_s") <= metric(&log, "step_s_hi"));
	long n_step = 0, n_prefill = 0;
	for (long i = 0; i < log.n_sample; i++) {
		assert_true(log.sample[i].value > 0);
		n_step += !strcmp(log.sample[i].name, "decode");
		n_prefill += !strcmp(log.sample[i].name, "prefill");
	}
	assert_true(n_step == (long)metric(&log, "n_sample") && n_step >= 6 && n_prefill == 2);
	run_log_release(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(bytes_are_those_of_the_published_shapes),
	        cmocka_unit_test(eq_10_predicts_what_paper_b_prints),
	        cmocka_unit_test(a_point_refers_to_the_heads_of_its_family),
	        cmocka_unit_test(weights_drawn_for_inference_are_the_quantised_ones),
	        cmocka_unit_test(arms_share_what_is_outside_attention),
	        cmocka_unit_test(a_filled_context_repeats_the_prompt),
	        cmocka_unit_test(the_gate_finds_a_wrong_decode),
	        cmocka_unit_test(what_is_reported_fits_together),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	arena_init(&arena, 1 << 20);
	int failed = cmocka_run_group_tests_name("decode", tests, NULL, NULL);
	arena_release(&arena);
	unlink(path);
	rmdir(folder);
	return failed != 0;
}
