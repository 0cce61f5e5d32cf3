// SPDX-License-Identifier: MIT
// The gradient of attention: head counts and widths of q, k and v apart, causal or not, queries that stand in the
// middle, v that is k itself or a part of it, and sizes on both sides of the kernels' blocks.
#include <math.h>
#include <stdio.h>

#include "tests/num/gradient.h"
#include "tests/test.h"

#define MOST_ERROR 1e-6

static struct rig rig;
static double worst_of_all;

enum sharing { APART, V_IS_K, V_IN_K, K_AND_V_IN_ONE, Q_IS_K };

struct call {
	struct tensor *in[4]; // q, then k, v and the key bias where they are there
	struct attention_shape shape;
	enum sharing sharing;
	int n_bias; // rows of the key bias; 0: none
	struct tensor *bias;
};

static double attention(struct tape *tape, void *context)
{
	struct call *c = context;
	const struct attention_shape *s = &c->shape;
	struct tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
	if (c->sharing == V_IS_K) {
		v = k;
	} else if (c->sharing == V_IN_K) {
		v = tensor_columns(tape, k, 0, s->n_v_head * s->d_v);
	} else if (c->sharing == K_AND_V_IN_ONE) {
		struct tensor *one = k;
		k = tensor_columns(tape, one, 0, s->n_k_head * s->d_qk);
		v = tensor_columns(tape, one, s->n_k_head * s->d_qk, s->n_v_head * s->d_v);
	} else if (c->sharing == Q_IS_K) {
		q = k;
	}
	return gradient_project(tape, op_attention_biased(tape, q, k, v, c->bias, *s), 0);
}

// Operands for one call: B sequences, T queries, S positions. Returns how many tensors there are to check.
static int make_operands(struct call *c, int B, int T, int S)
{
	const struct attention_shape *s = &c->shape;
	int n = 0;
	struct tensor *q = rig_tensor(&rig, B, T, s->n_head * s->d_qk), *v = NULL;
	int k_columns = s->n_k_head * s->d_qk;
	if (c->sharing == K_AND_V_IN_ONE)
		k_columns += s->n_v_head * s->d_v;
	struct tensor *k = rig_tensor(&rig, B, S, k_columns);
	if (c->sharing == APART || c->sharing == Q_IS_K)
		v = rig_tensor(&rig, B, S, s->n_v_head * s->d_v);
	c->in[0] = q, c->in[1] = k, c->in[2] = v;
	for (; n < 3 && c->in[n]; n++)
		;
	c->bias = c->n_bias ? rig_tensor(&rig, 1, c->n_bias, S) : NULL;
	if (c->bias)
		c->in[n++] = c->bias;
	return n;
}

static double call_error(struct call *c, int B, int T, int S)
{
	c->shape.scale = 1 / sqrt(c->shape.d_qk);
	const int n = make_operands(c, B, T, S), first = c->sharing == Q_IS_K;
	const struct gradient_check check = {
	        .value = attention, .context = c, .input = c->in + first, .n_input = n - first};
	const double error = gradient_error(&rig, &check);
	worst_of_all = fmax(worst_of_all, error);
	return error;
}

static void expect_right(struct call *c, int B, int T, int S)
{
	const double error = call_error(c, B, T, S);
	const struct attention_shape *s = &c->shape;
	if (!(error < MOST_ERROR))
		fail_msg("%d/%d/%d heads of %d and %d, B %d T %d S %d causal %d from %d, sharing %d, bias %d: relative "
		         "error %.3g",
		        s->n_head, s->n_k_head, s->n_v_head, s->d_qk, s->d_v, B, T, S, s->causal, s->q_position,
		        c->sharing, c->n_bias, error);
}

static void test_heads_and_widths(void **state UNUSED)
{
	static const int heads[][3] = {
	        {1, 1, 1}, {4, 4, 4}, {4, 2, 2}, {4, 1, 4}, {4, 4, 1}, {6, 2, 3}, {6, 3, 1}, {3, 1, 1}};
	static const int widths[][2] = {{1, 1}, {1, 5}, {3, 3}, {5, 2}, {9, 4}};
	for (size_t h = 0; h < sizeof(heads) / sizeof(*heads); h++)
		for (size_t w = 0; w < sizeof(widths) / sizeof(*widths); w++) {
			struct call c = {.sharing = APART};
			c.shape = (struct attention_shape){.n_head = heads[h][0],
			        .n_k_head = heads[h][1],
			        .n_v_head = heads[h][2],
			        .d_qk = widths[w][0],
			        .d_v = widths[w][1],
			        .causal = (int)(h + w) % 2};
			expect_right(&c, 2, 3, 3);
		}
}

static void test_positions(void **state UNUSED)
{
	// T, S, causal, q_position: fewer queries than positions, the last one alone, more positions than are seen.
	static const int place[][4] = {
	        {1, 1, 1, 0}, {3, 7, 1, 4}, {1, 7, 1, 6}, {2, 7, 1, 1}, {2, 7, 0, 0}, {5, 2, 0, 0}, {4, 4, 1, 3}};
	for (size_t i = 0; i < sizeof(place) / sizeof(*place); i++) {
		struct call c = {.sharing = APART};
		c.shape = (struct attention_shape){.n_head = 2, .n_k_head = 2, .n_v_head = 1, .d_qk = 3, .d_v = 2};
		c.shape.causal = place[i][2], c.shape.q_position = place[i][3];
		expect_right(&c, 2, place[i][0], place[i][1]);
	}
}

// Blocks of the double build's forward are 24 rows and 256 positions, of backward 48 and 128: each side of them.
static void test_block_edges(void **state UNUSED)
{
	static const int size[][2] = {{25, 25}, {49, 49}, {1, 129}, {2, 257}};
	for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++) {
		struct call c = {.sharing = APART};
		c.shape = (struct attention_shape){
		        .n_head = 2, .n_k_head = 1, .n_v_head = 1, .d_qk = 1, .d_v = 1, .causal = 1};
		c.shape.q_position = size[i][1] - size[i][0];
		expect_right(&c, 1, size[i][0], size[i][1]);
	}
}

static void test_sharing(void **state UNUSED)
{
	for (int causal = 0; causal < 2; causal++) {
		struct call c = {.sharing = V_IS_K};
		c.shape = (struct attention_shape){
		        .n_head = 4, .n_k_head = 2, .n_v_head = 2, .d_qk = 3, .d_v = 3, .causal = causal};
		expect_right(&c, 2, 4, 4);
		c.sharing = K_AND_V_IN_ONE;
		c.shape.d_v = 5, c.shape.n_v_head = 4;
		expect_right(&c, 2, 4, 4);
		// A latent cache: one head of keys, its first columns are the values.
		c.sharing = V_IN_K;
		c.shape.n_k_head = c.shape.n_v_head = 1, c.shape.d_qk = 6, c.shape.d_v = 4;
		expect_right(&c, 2, 4, 4);
		// Two heads of values that cut those columns elsewhere than the two heads of keys: threads must not
		// meet.
		c.shape.n_k_head = c.shape.n_v_head = 2, c.shape.d_qk = 24, c.shape.d_v = 8;
		rig.tape.n_thread = 2;
		expect_right(&c, 1, 12, 12);
		rig.tape.n_thread = 1;
		c.sharing = Q_IS_K;
		c.shape.n_k_head = 4, c.shape.n_v_head = 2, c.shape.d_qk = 3, c.shape.d_v = 2;
		expect_right(&c, 2, 4, 4);
	}
}

// Every sharing and head count again, with one row of key bias and with one per head.
static void test_key_bias(void **state UNUSED)
{
	static const int heads[][3] = {{1, 1, 1}, {4, 4, 4}, {4, 2, 1}, {4, 1, 4}};
	for (int i = 0; i < 16; i++) {
		const int *h = heads[i % 4];
		struct call c = {.sharing = APART, .n_bias = i < 8 ? 1 : h[0]};
		c.shape = (struct attention_shape){
		        .n_head = h[0], .n_k_head = h[1], .n_v_head = h[2], .d_qk = 3, .d_v = 2, .causal = i % 2};
		c.shape.q_position = i / 4 % 2 * 2;
		expect_right(&c, 2, 3, 5);
	}
	for (int i = 0; i < 8; i++) {
		struct call c = {.sharing = i < 4 ? V_IS_K : V_IN_K, .n_bias = i % 2 ? 4 : 1};
		c.shape = (struct attention_shape){
		        .n_head = 4, .n_k_head = 2, .n_v_head = 2, .d_qk = 3, .d_v = 3, .causal = i / 2 % 2};
		if (c.sharing == V_IN_K)
			c.shape.n_k_head = c.shape.n_v_head = 1, c.shape.d_qk = 5;
		expect_right(&c, 2, 4, 4);
		c.sharing = Q_IS_K;
		c.shape.n_k_head = 4, c.shape.d_qk = 3;
		c.shape.n_v_head = 2;
		expect_right(&c, 2, 4, 4);
	}
	struct call c = {.sharing = APART, .n_bias = 2};
	c.shape = (struct attention_shape){.n_head = 2, .n_k_head = 1, .n_v_head = 1, .d_qk = 1, .d_v = 1, .causal = 1};
	c.shape.q_position = 129 - 50; // both sides of backward's blocks
	expect_right(&c, 1, 50, 129);
}

// Two errors that a float check lets pass: the scale of dk, and dv of one position only.
struct spoiled_call {
	struct call call;
	int operand, n;
	double factor;
};

static double spoiled(struct tape *tape, void *context)
{
	struct spoiled_call *s = context;
	gradient_spoil(tape, s->call.in[s->operand], 0, s->n, s->factor);
	return attention(tape, &s->call);
}

static void planted_errors_are_caught(void **state UNUSED)
{
	struct spoiled_call s = {.call = {.sharing = APART}, .factor = 1};
	s.call.shape = (struct attention_shape){
	        .n_head = 2, .n_k_head = 2, .n_v_head = 2, .d_qk = 3, .d_v = 3, .causal = 1, .scale = 0.5};
	make_operands(&s.call, 2, 5, 5);
	const struct gradient_check check = {.value = spoiled, .context = &s, .input = s.call.in, .n_input = 3};
	s.operand = 1, s.n = 60;
	assert_true(gradient_error(&rig, &check) < MOST_ERROR);
	s.factor = 1.002;
	assert_true(gradient_error(&rig, &check) > MOST_ERROR);
	s.operand = 2, s.n = 6; // position 0 of the first sequence
	assert_true(gradient_error(&rig, &check) > MOST_ERROR);
}

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	printf("# worst relative error of an attention gradient: %.2e\n", worst_of_all);
	rig_release(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_heads_and_widths),
	        cmocka_unit_test(test_positions),
	        cmocka_unit_test(test_block_edges),
	        cmocka_unit_test(test_sharing),
	        cmocka_unit_test(test_key_bias),
	        cmocka_unit_test(planted_errors_are_caught),
	};
	return cmocka_run_group_tests_name("gradients of attention", tests, setup, teardown);
}
