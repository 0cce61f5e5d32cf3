// SPDX-License-Identifier: MIT
// Initial weights: each rule's distribution, a stream of its own for every parameter, and the sinusoidal table.
#include <math.h>
#include <string.h>

#include "tests/model/build.h"
#include "tests/test.h"

enum { D = 48, FF = 80, VOCAB = 200, T = 30 };
ARENA_FIXTURE(arena, 1 << 20);

static struct model *make(const char *settings, uint64_t seed)
{
	const struct model_config *config = build_config("decoder", settings, VOCAB, T, &arena);
	return build_variant(config, "mha", "", seed, &arena);
}

struct spread {
	double mean, deviation, most;
};

static struct spread spread_of(const struct tensor *t)
{
	const int n = t->T * t->C;
	struct spread s = {0, 0, 0};
	for (int i = 0; i < n; i++) {
		s.mean += (double)t->x[i] / n;
		s.most = fmax(s.most, fabs((double)t->x[i]));
	}
	for (int i = 0; i < n; i++)
		s.deviation += ((double)t->x[i] - s.mean) * ((double)t->x[i] - s.mean) / n;
	s.deviation = sqrt(s.deviation);
	return s;
}

// Mean 0 and the deviation given, within what so many draws allow; uniform ones reach up to their bound and no further.
static void assert_drawn(const struct tensor *t, double deviation, int is_uniform)
{
	const struct spread s = spread_of(t);
	const double n = (double)t->T * t->C, bound = deviation * sqrt(3);
	assert_true(fabs(s.mean) < 5 * deviation / sqrt(n));
	assert_true(fabs(s.deviation / deviation - 1) < 5 / sqrt(2 * n));
	if (is_uniform)
		assert_true(s.most <= bound * (1 + 1e-6) && s.most > bound * (1 - 20 / n));
	else
		assert_true(s.most > 2.4 * deviation); // beyond any uniform's
}

static void assert_all(const struct tensor *t, double value)
{
	for (int i = 0; i < t->T * t->C; i++)
		assert_true((double)t->x[i] == value);
}

static const char shape[] = "n_layer=2 d_model=48 n_head=4 d_ff=80 head_bias=true";

static void assert_norms_are_neutral(const struct model *m)
{
	for (int l = 0; l < 2; l++) {
		assert_all(m->layer[l].norm1_gain, 1);
		assert_all(m->layer[l].norm1_bias, 0);
		assert_all(m->layer[l].norm2_gain, 1);
		assert_all(m->layer[l].norm2_bias, 0);
	}
	assert_all(m->norm_gain, 1);
	assert_all(m->norm_bias, 0);
}

static char *settings_with(const char *init)
{
	return arena_printf(&arena, "%s %s", shape, init);
}

static void test_torch_rule(void **state UNUSED)
{
	const struct model *m = make(settings_with("init=torch"), 3);
	const double narrow = 1 / sqrt(3.0 * D), wide = 1 / sqrt(3.0 * FF); // U(-1/sqrt(n), 1/sqrt(n))
	assert_drawn(m->token, 1, 0);
	assert_drawn(m->position, 1, 0);
	for (int l = 0; l < 2; l++) {
		assert_drawn(m->layer[l].ff_in, narrow, 1);
		assert_drawn(m->layer[l].ff_in_bias, narrow, 1);
		assert_drawn(m->layer[l].ff_out, wide, 1);
		assert_drawn(m->layer[l].ff_out_bias, wide, 1);
		for (int p = 0; p < 8; p++) // of mha: w_q w_k w_v b_q b_k b_v w_o b_o, 48 inputs each
			assert_drawn(m->layer[l].attn[p], narrow, 1);
	}
	assert_drawn(m->head, narrow, 1);
	assert_drawn(m->head_bias, narrow, 1);
	assert_norms_are_neutral(m);
}

static void test_normal_rule(void **state UNUSED)
{
	const struct model *m = make(settings_with("init=normal init_std=0.05"), 3);
	assert_drawn(m->token, 0.05, 0);
	assert_drawn(m->layer[1].ff_out, 0.05, 0);
	assert_drawn(m->layer[0].attn[0], 0.05, 0);
	assert_drawn(m->head, 0.05, 0);
	assert_all(m->layer[0].ff_in_bias, 0);
	assert_all(m->layer[1].attn[3], 0);
	assert_all(m->head_bias, 0);
	assert_norms_are_neutral(m);
}

static void test_xavier_rule(void **state UNUSED)
{
	const struct model *m = make(settings_with("init=xavier"), 3);
	assert_drawn(m->layer[0].ff_in, sqrt(2.0 / (D + FF)), 1);
	assert_drawn(m->layer[0].ff_out, sqrt(2.0 / (D + FF)), 1);
	assert_drawn(m->layer[0].attn[2], sqrt(2.0 / (D + D)), 1);
	assert_drawn(m->head, sqrt(2.0 / (D + VOCAB)), 1);
	assert_drawn(m->token, 1, 0);
	assert_all(m->layer[0].ff_in_bias, 0);
	assert_all(m->layer[0].attn[4], 0);
	assert_norms_are_neutral(m);
}

// Papers C and D: q, k and v are one matrix of three times the rows, the output map is its own; outside attention the
// library's rule, and a linear map of one-hot vectors is drawn as what it is: a map of n_vocab inputs.
static void test_torch_xavier_rule(void **state UNUSED)
{
	static const char *const variants[] = {"init=torch_xavier", "init=torch_xavier bias=false"};
	for (int without_bias = 0; without_bias < 2; without_bias++) {
		const struct model *m = make(
		        arena_printf(&arena, "%s head=mlp token_input=one_hot %s", shape, variants[without_bias]), 3);
		for (int l = 0; l < 2; l++) {
			for (int p = 0; p < 3; p++)
				assert_drawn(m->layer[l].attn[p], sqrt(2.0 / (D + 3 * D)), 1);
			assert_drawn(m->layer[l].attn[6], sqrt(2.0 / (D + D)), 1);
			for (int p = 3; p < 8; p++)
				if (p != 6 && !without_bias)
					assert_all(m->layer[l].attn[p], 0);
			assert_drawn(m->layer[l].ff_out, 1 / sqrt(3.0 * FF), 1);
		}
		assert_drawn(m->head_in, 1 / sqrt(3.0 * D), 1);
		assert_drawn(m->head, 1 / sqrt(3.0 * D), 1);
		assert_drawn(m->token, 1 / sqrt(3.0 * VOCAB), 1);
		assert_drawn(m->token_bias, 1 / sqrt(3.0 * VOCAB), 1);
		assert_all(m->head_norm_gain, 1);
		if (without_bias)
			assert_null(m->head_norm_bias);
		else
			assert_all(m->head_norm_bias, 0);
	}
	const struct model *m = make(arena_printf(&arena, "%s token_input=one_hot init=xavier", shape), 3);
	assert_drawn(m->token, sqrt(2.0 / (VOCAB + D)), 1);
	assert_all(m->token_bias, 0);
}

static void rope_adds_nothing_to_embeddings(void **state UNUSED)
{
	const struct model *m = make("n_layer=1 d_model=8 n_head=2 position=rope", 1);
	assert_null(m->position);
	assert_null(m->sinusoid);
	assert_int_equal(m->dims.n_rotary, 4);
}

// No two parameters share their numbers, in one model or between seeds; the same seed gives the same ones, and a
// parameter's do not depend on how many numbers those before it take.
static void every_parameter_has_a_stream_of_its_own(void **state UNUSED)
{
	const struct model *m = make(shape, 7), *again = make(shape, 7), *other = make(shape, 8);
	for (int i = 0; i < m->n_param; i++) {
		const struct model_param *p = &m->param[i];
		const size_t bytes = (size_t)p->tensor.T * (size_t)p->tensor.C * sizeof(real);
		assert_memory_equal(p->tensor.x, again->param[i].tensor.x, bytes);
		if (p->init == INIT_ONE || p->init == INIT_ZERO)
			continue;
		assert_memory_not_equal(p->tensor.x, other->param[i].tensor.x, bytes);
		for (int j = 0; j < i; j++) {
			const struct model_param *q = &m->param[j];
			if (q->init == INIT_ONE || q->init == INIT_ZERO || q->fan_in != p->fan_in)
				continue;
			int n_same = 0;
			for (int k = 0; k < D; k++)
				n_same += p->tensor.x[k] == q->tensor.x[k];
			assert_true(n_same < 3);
		}
	}
	struct model_config *wider = build_config("decoder", shape, 2 * VOCAB, T, &arena);
	const struct model *more = build_variant(wider, "mha", "", 7, &arena);
	assert_memory_equal(more->layer[1].ff_in->x, m->layer[1].ff_in->x, FF * D * sizeof(real));
}

static void the_sinusoid_is_that_of_the_paper(void **state UNUSED)
{
	const struct model *m = make("n_layer=1 d_model=6 n_head=1 position=sinusoidal", 1);
	assert_null(m->position);
	for (int t = 0; t < T; t++)
		for (int i = 0; i < 3; i++) {
			const double angle = t / pow(10000, 2.0 * i / 6);
			assert_true(fabs((double)m->sinusoid[t * 6 + 2 * i] - sin(angle)) < 1e-6);
			assert_true(fabs((double)m->sinusoid[t * 6 + 2 * i + 1] - cos(angle)) < 1e-6);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_torch_rule),
	        cmocka_unit_test(test_normal_rule),
	        cmocka_unit_test(test_xavier_rule),
	        cmocka_unit_test(test_torch_xavier_rule),
	        cmocka_unit_test(rope_adds_nothing_to_embeddings),
	        cmocka_unit_test(every_parameter_has_a_stream_of_its_own),
	        cmocka_unit_test(the_sinusoid_is_that_of_the_paper),
	};
	return cmocka_run_group_tests_name("initial weights", tests, setup, teardown);
}
