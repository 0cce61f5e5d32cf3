// SPDX-License-Identifier: MIT
// Logits, loss and every gradient of a tiny decoder and two encoders against PyTorch (tests/fixtures/make_parity.py,
// which has the same formulas for weights, tokens and targets).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/fixtures/parity.inc"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

enum { B = 2, T = 5, V = 7 };
// Relative to the largest number compared; the goldens have nine digits, ours are floats.
static const double LOGIT_ERROR = 2e-6, GRADIENT_ERROR = 1e-5;

static struct rig rig;
static double worst_logit, worst_gradient;

static void set_weights(struct model *m)
{
	for (int p = 0; p < m->n_param; p++) {
		const struct tensor *t = &m->param[p].tensor;
		const double more = m->param[p].init == INIT_ONE ? 1 : 0; // gains
		for (int i = 0; i < t->T * t->C; i++)
			t->x[i] = (real)(0.5 * sin(1 + 0.37 * p + 0.71 * i) + more);
	}
}

static void compare_gradients(const struct model *m, const double *expected, int n_expected)
{
	assert_int_equal(2 * m->n_param, n_expected);
	for (int p = 0; p < m->n_param; p++) {
		const struct tensor *t = &m->param[p].tensor;
		const double projection = expected[2 * p], norm = expected[2 * p + 1];
		double got_projection = 0, squares = 0;
		for (int i = 0; i < t->T * t->C; i++) {
			const double g = (double)t->dx[i];
			got_projection += g * cos(i);
			squares += g * g;
		}
		// A key's bias has no gradient: soft-max does not see a shift.
		const double size = fmax(norm, 0.1);
		const double error = fmax(fabs(got_projection - projection), fabs(sqrt(squares) - norm)) / size;
		worst_gradient = fmax(worst_gradient, error);
		if (!(error < GRADIENT_ERROR))
			fail_msg("gradient of '%s': projection %.8g and norm %.8g, PyTorch has %.8g and %.8g",
			        m->param[p].name, got_projection, sqrt(squares), projection, norm);
	}
}

static void compare(const char *family, const char *variant, const char *settings, const double *logits, double loss,
        const double *gradients, int n_gradient)
{
	const struct model_config *config =
	        build_config(family, "n_layer=2 d_model=8 n_head=2 d_ff=12 dropout=0", V, T, &rig.memory);
	struct model *m = build_variant(config, variant, settings, 1, &rig.memory);
	int tokens[B * T], targets[B * T];
	for (int b = 0; b < B; b++)
		for (int t = 0; t < T; t++) {
			tokens[b * T + t] = (3 * b + 2 * t) % V;
			targets[b * T + t] = (b + 5 * t) % V;
		}
	set_weights(m);
	rig_begin(&rig, TAPE_RECORD);
	model_clear_gradients(m);
	struct tensor *y = model_forward(&rig.tape, m, tokens, B, T, 0, T, NULL);
	for (int i = 0; i < B * T * V; i++) {
		const double error = fabs((double)y->x[i] - logits[i]) / 3; // of logits up to 3
		worst_logit = fmax(worst_logit, error);
		if (!(error < LOGIT_ERROR))
			fail_msg("%s: logit %d is %.8g, PyTorch has %.8g", variant, i, (double)y->x[i], logits[i]);
	}
	assert_true(fabs(op_cross_entropy(&rig.tape, y, targets, NULL).mean - loss) < LOGIT_ERROR * loss);
	tape_backward(&rig.tape);
	model_settle_gradients(m);
	compare_gradients(m, gradients, n_gradient);
	// Again, as training does it: logits are never held.
	rig_begin(&rig, TAPE_RECORD);
	model_clear_gradients(m);
	const struct loss told = model_loss(&rig.tape, m, tokens, B, T, 0, T, NULL, targets, NULL);
	assert_true(fabs(told.mean - loss) < LOGIT_ERROR * loss);
	tape_backward(&rig.tape);
	model_settle_gradients(m);
	compare_gradients(m, gradients, n_gradient);
}

#define SIZE(x) ((int)(sizeof(x) / sizeof((x)[0])))

static void mha_agrees_with_pytorch(void **state UNUSED)
{
	compare("decoder", "mha", "", mha_logits, mha_loss[0], mha_gradients, SIZE(mha_gradients));
}

static void thin_keys_agree_with_pytorch(void **state UNUSED)
{
	compare("decoder", "thin_keys", "d_select=2", thin_keys_logits, thin_keys_loss[0], thin_keys_gradients,
	        SIZE(thin_keys_gradients));
}

static void the_encoder_of_paper_d_agrees_with_pytorch(void **state UNUSED)
{
	compare("encoder", "mha", "", encoder_logits, encoder_loss[0], encoder_gradients, SIZE(encoder_gradients));
}

static void the_encoder_of_paper_c_agrees_with_pytorch(void **state UNUSED)
{
	compare("encoder_pre", "mha", "", encoder_pre_logits, encoder_pre_loss[0], encoder_pre_gradients,
	        SIZE(encoder_pre_gradients));
}

// What evaluation and goldens do not see: how many dropouts a step draws, and that each family has its own.
static void dropout_stands_where_the_papers_have_it(void **state UNUSED)
{
	static const struct {
		const char *family, *settings;
		int n_site;
	} rows[] = {{"decoder", "dropout=0.5", 1 + 2 * 3}, // embeddings, two branches a layer
	        {"encoder", "", 3 * 3 + 1},                // branches and hidden numbers, none on embeddings; the head
	        {"encoder_pre", "", 0}};
	for (int r = 0; r < SIZE(rows); r++) {
		char text[64];
		snprintf(text, sizeof(text), "n_layer=3 d_model=8 n_head=2 d_ff=12 %s", rows[r].settings);
		struct model *m =
		        build_variant(build_config(rows[r].family, text, V, T, &rig.memory), "mha", "", 1, &rig.memory);
		const int *tokens = rig_tokens(&rig, B * T, V);
		rig_begin(&rig, TAPE_RECORD);
		model_forward(&rig.tape, m, tokens, B, T, 0, T, NULL);
		assert_int_equal(rig.tape.dropout_site, rows[r].n_site);
	}
}

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	printf("# against PyTorch: logits off by %.1e of the largest, gradients by %.1e\n", worst_logit,
	        worst_gradient);
	rig_release(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(mha_agrees_with_pytorch),
	        cmocka_unit_test(thin_keys_agree_with_pytorch),
	        cmocka_unit_test(the_encoder_of_paper_d_agrees_with_pytorch),
	        cmocka_unit_test(the_encoder_of_paper_c_agrees_with_pytorch),
	        cmocka_unit_test(dropout_stands_where_the_papers_have_it),
	};
	return cmocka_run_group_tests_name("parity", tests, setup, teardown);
}
