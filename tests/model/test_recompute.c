// SPDX-License-Identifier: MIT
// Activation recomputation: models of every variant, trained with each block run again in backward, have the bits of
// models trained without; the tape holds less at once, and what a count says of it is what it holds.
#include <string.h>

#include "harness/model/optimizer.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

enum { B = 2, T = 40, V = 5, STEPS = 2, N_CTX = 64, CHUNK = 1 << 16 };

RIG_FIXTURE;

struct trained {
	double loss[STEPS];
	real *gradients, *weights; // of the last step, after it
	size_t peak_bytes;         // of the tape
};

static void train(struct trained *t, const struct model *from, int recomputes, int q_from)
{
	static const struct optimizer_config adam = {
	        .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 0.5, .warmup = 1, .steps = STEPS};
	struct tape tape;
	struct tape_memory work;
	struct model model;
	struct optimizer o;
	int tokens[B * T], targets[B * T];
	tape_open(&tape, &work, &backend_cpu, 1, CHUNK);
	tape.dropout_seed = 3;
	model_upload(&model, from, &backend_cpu, 1, &rig.memory, &rig.memory);
	model.recomputes = recomputes;
	optimizer_init(&o, &adam, &model, &rig.memory);
	for (int i = 0; i < B * T; i++)
		tokens[i] = i * i % V, targets[i] = i % 7 ? (i * 3 + 1) % V : -1;
	for (int step = 0; step < STEPS; step++) {
		tape_restart(&tape, TAPE_RECORD);
		tape.dropout_step = (unsigned long long)step;
		model_clear_gradients(&model);
		t->loss[step] = model_loss(&tape, &model, tokens, B, T, q_from, T - q_from, NULL, targets, NULL).mean;
		tape_backward(&tape);
		model_settle_gradients(&model);
		const struct exec exec = op_exec(&tape);
		optimizer_step(&o, &model, step + 1, &exec, &backend_cpu);
	}
	t->gradients = model.dx;
	t->weights = model.x;
	t->peak_bytes = work.step.peak_bytes;
	tape_close(&work);
}

static void check(const struct model *m, const char *name, int q_from)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	struct trained without, with;
	const size_t bytes = (size_t)m->n_padded * sizeof(real);
	train(&without, m, 0, q_from);
	train(&with, m, 1, q_from);
	if (memcmp(without.loss, with.loss, sizeof(with.loss)) ||
	        memcmp(without.gradients, with.gradients, (size_t)m->n_trained * sizeof(real)) ||
	        memcmp(without.weights, with.weights, bytes))
		fail_msg("%s: recomputation changes bits", name);
	// One block's memory is needed at once, and what enters the others.
	if (m->config.n_layer > 2 && !(with.peak_bytes < without.peak_bytes))
		fail_msg("%s: %zu bytes with recomputation, %zu without", name, with.peak_bytes, without.peak_bytes);
	arena_rewind(&rig.memory, mark);
}

static void check_variant(struct model *m, const char *name, int i)
{
	check(m, name, i % 2 ? 0 : T - 3);
}

static void every_variant_has_the_same_bits(void **state UNUSED)
{
	assert_true(variant_cases_each(check_variant, N_CTX, &rig.memory) > 100);
}

static void check_block(struct model *m, const char *name, int i)
{
	check(m, name, i % 2 ? T - 1 : 0);
}

static void every_kind_of_block_has_the_same_bits(void **state UNUSED)
{
	block_cases_each(check_block, "n_layer=4 d_model=16 n_head=2 d_head=8 d_ff=32", N_CTX, &rig.memory);
}

// With parameters frozen above and below, gradients end where they did.
static void a_frozen_model_has_the_same_bits(void **state UNUSED)
{
	struct err err = {0};
	const struct model_config *config =
	        build_config("decoder", "n_layer=3 d_model=16 n_head=2", V, N_CTX, &rig.memory);
	struct model *m = build_variant(config, "mha", "", 1, &rig.memory);
	assert_int_equal(model_train_only(m, "w_q w_k", &err), 0);
	check(m, "w_q w_k alone", 0);
}

// Bytes of tensors that a count gives are half of what the tape held: values, and gradients with them.
static void the_count_is_what_is_held(void **state UNUSED)
{
	struct trained t;
	const struct model_config *config =
	        build_config("decoder", "n_layer=6 d_model=64 n_head=2 d_ff=256", V, N_CTX, &rig.memory);
	struct model *m = build_variant(config, "mha", "", 1, &rig.memory);
	const struct model_cost plain = model_count(m, B, T, 0, T, NULL, 1);
	m->recomputes = 1;
	const struct model_cost again = model_count(m, B, T, 0, T, NULL, 1);
	assert_true(again.forward.flops == plain.forward.flops);
	assert_true(again.backward.flops > plain.backward.flops);
	assert_true(again.backward.flops < plain.backward.flops + plain.forward.flops);
	for (int recomputes = 0; recomputes < 2; recomputes++) {
		const double counted =
		        2 * (recomputes ? again : plain).tensor_bytes + (recomputes ? again : plain).saved_bytes;
		train(&t, m, recomputes, 0);
		printf("# recomputes %d: %zu held, %.0f counted\n", recomputes, t.peak_bytes, counted);
		assert_true((double)t.peak_bytes >= 0.99 * counted && (double)t.peak_bytes <= 1.03 * counted);
	}
	assert_true(again.tensor_bytes < 0.4 * plain.tensor_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_variant_has_the_same_bits),
	        cmocka_unit_test(every_kind_of_block_has_the_same_bits),
	        cmocka_unit_test(a_frozen_model_has_the_same_bits),
	        cmocka_unit_test(the_count_is_what_is_held),
	};
	return cmocka_run_group_tests_name("recomputation", tests, setup, teardown);
}
