// SPDX-License-Identifier: MIT
// Whole models: the gradient of the loss by every parameter against central differences.
#include <math.h>
#include <stdio.h>

#include "tests/model/build.h"
#include "tests/num/gradient.h"
#include "tests/test.h"

#define MOST_ERROR 1e-6
enum { VOCAB = 7, B = 2, T = 5 };

static struct rig rig;
static double worst_of_all;

struct training {
	struct model *model;
	const int *tokens, *targets;
	int q_from;
	struct tensor *spoiled;
};

static double loss(struct tape *tape, void *context)
{
	struct training *t = context;
	if (t->spoiled)
		gradient_spoil(tape, t->spoiled, 0, 1, 1.002);
	struct tensor *logits = model_forward(tape, t->model, t->tokens, B, T, t->q_from, T - t->q_from, NULL);
	return op_cross_entropy(tape, logits, t->targets, NULL).mean;
}

static double model_error(struct training *t, int q_from)
{
	int *targets = rig_tokens(&rig, B * (T - q_from), VOCAB);
	if (q_from < T - 1)
		targets[1] = -1;
	t->targets = targets;
	t->tokens = rig_tokens(&rig, B * T, VOCAB);
	t->q_from = q_from;
	struct tensor **param = arena_alloc(&rig.memory, (size_t)t->model->n_param * sizeof(*param));
	for (int i = 0; i < t->model->n_param; i++)
		param[i] = &t->model->param[i].tensor;
	const struct gradient_check check = {.value = loss, .context = t, .input = param, .n_input = t->model->n_param};
	return gradient_error(&rig, &check);
}

static const struct {
	const char *name, *family, *settings;
} models[] = {
        {"decoder", "decoder", "n_layer=2 d_model=6 n_head=2 d_ff=5"},
        {"decoder without biases", "decoder", "n_layer=1 d_model=6 n_head=3 d_ff=5 bias=false position=none"},
        {"rms, swiglu, tied head", "decoder",
                "n_layer=2 d_model=6 n_head=1 d_ff=4 norm=rms activation=swiglu tied_head=true"},
        {"dropout, head bias", "decoder",
                "n_layer=2 d_model=6 n_head=2 d_ff=5 dropout=0.3 activation=gelu head_bias=true"},
        {"post-norm decoder", "decoder",
                "n_layer=2 d_model=6 n_head=2 d_head=2 d_ff=5 norm_place=post final_norm=false"},
        {"encoder", "encoder", "n_layer=2 d_model=6 n_head=2 d_ff=5 dropout=0.1 activation=gelu"},
        {"rotary positions", "decoder", "n_layer=2 d_model=8 n_head=2 d_ff=5 position=rope rope_fraction=0.5"},
        {"parallel residual, biases of q, k and v alone, llama3 scaling", "decoder",
                "n_layer=2 d_model=8 n_head=2 d_ff=5 residual=parallel bias=false attention_bias=qkv "
                "activation=gelu_new "
                "position=rope rope_base=5 rope_scaling=llama3 rope_factor=4 rope_original_ctx=20 rope_low=1 "
                "rope_high=2"},
        {"parallel residual in the last block, dropout", "decoder",
                "n_layer=1 d_model=6 n_head=2 d_ff=5 residual=parallel dropout=0.3 attention_bias=none"},
        {"pre-norm encoder", "encoder_pre", "n_layer=2 d_model=6 n_head=2 d_ff=5"},
        {"one-hot input without positions, tied", "decoder",
                "n_layer=1 d_model=6 n_head=2 d_ff=5 token_input=one_hot position=none tied_head=true"},
        {"two-layer head, rms, no biases, dropout in every place", "decoder",
                "n_layer=1 d_model=6 n_head=2 d_ff=5 head=mlp norm=rms bias=false dropout=0.3 dropout_hidden=true"},
};

static void test_models(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++) {
		const struct model_config *config =
		        build_config(models[i].family, models[i].settings, VOCAB, T, &rig.memory);
		struct training t = {.model = build_variant(config, "mha", "", test_seed() + i, &rig.memory)};
		for (int q_from = 0; q_from < T; q_from += T - 1) { // all targets; the last position's only
			const double error = model_error(&t, q_from);
			worst_of_all = fmax(worst_of_all, error);
			if (!(error < MOST_ERROR))
				fail_msg("%s, targets from %d: relative error %.3g", models[i].name, q_from, error);
		}
	}
}

// With ReLU as the family has it: a difference could cross its kink, but not at these seeds.
static void an_encoder_with_relu_and_thin_keys(void **state UNUSED)
{
	const struct model_config *config =
	        build_config("encoder", "n_layer=1 d_model=6 n_head=2 d_ff=5 dropout=0", VOCAB, T, &rig.memory);
	struct training t = {.model = build_variant(config, "thin_keys", "d_select=2", test_seed(), &rig.memory)};
	const double error = model_error(&t, 2);
	worst_of_all = fmax(worst_of_all, error);
	assert_true(error < MOST_ERROR);
}

static void a_planted_error_is_caught(void **state UNUSED)
{
	const struct model_config *config =
	        build_config("decoder", "n_layer=2 d_model=6 n_head=2 d_ff=5", VOCAB, T, &rig.memory);
	struct training t = {.model = build_variant(config, "mha", "", test_seed(), &rig.memory)};
	t.spoiled = t.model->layer[0].ff_out;
	assert_true(model_error(&t, 0) > MOST_ERROR);
}

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	printf("# worst relative error of a model's gradient: %.2e\n", worst_of_all);
	rig_release(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_models),
	        cmocka_unit_test(an_encoder_with_relu_and_thin_keys),
	        cmocka_unit_test(a_planted_error_is_caught),
	};
	return cmocka_run_group_tests_name("gradients of models", tests, setup, teardown);
}
