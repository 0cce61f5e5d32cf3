// SPDX-License-Identifier: MIT
// Counting: every op's FLOPs and bytes against formulas typed here, and a whole training step against a closed form
// that knows nothing of ops. A multiply-add is two FLOPs; conventions for the rest are those of each op's file.
#include <stdio.h>

#include "harness/run/trainer.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

RIG_FIXTURE;

enum { B = 3, T = 5, C = 6, ROWS = B * T, N = ROWS * C, F = sizeof(real) };

// Counts from here on; nothing has data.
static struct tape *counting(void)
{
	arena_reset(&rig.step);
	tape_begin(&rig.tape, TAPE_COUNT);
	return &rig.tape;
}

static struct tensor *shape(int b, int t, int c)
{
	struct tensor *x = tensor_new(&rig.tape, b, t, c);
	assert_null(x->x);
	assert_null(x->dx);
	return x;
}

static void assert_tally(struct tally t, double flops, double read_bytes, double write_bytes)
{
	assert_true(t.flops == flops);
	assert_true(t.read_bytes == read_bytes);
	assert_true(t.write_bytes == write_bytes);
}

static void assert_macs(const struct tape *tape, double forward, double backward)
{
	assert_true(tape->forward.macs == forward);
	assert_true(tape->backward.macs == backward);
}

static void test_linear(void **state UNUSED)
{
	struct tape *tape = counting();
	enum { OUT = 7 };
	op_linear(tape, shape(B, T, C), shape(1, OUT, C), NULL);
	assert_tally(tape->forward, 2 * ROWS * OUT * C, F * (ROWS * C + OUT * C), F * ROWS * OUT);
	// dx and dw: twice the product.
	assert_tally(tape->backward, 4 * ROWS * OUT * C, F * (2 * ROWS * OUT + ROWS * C + OUT * C),
	        F * (ROWS * C + OUT * C));
	tape = counting();
	op_linear(tape, shape(B, T, C), shape(1, OUT, C), shape(1, 1, OUT));
	assert_true(tape->forward.flops == 2 * ROWS * OUT * C + ROWS * OUT);
	assert_true(tape->backward.flops == 4 * ROWS * OUT * C + ROWS * OUT);
	assert_macs(tape, ROWS * OUT * C, 2 * ROWS * OUT * C); // a bias is no product

	tape = counting();
	struct tensor *x = shape(B, T, C), *some = shape(B, 2, C), *y[2];
	const struct linear_map map[] = {{x, shape(1, OUT, C), NULL}, {some, shape(1, 4, C), NULL}};
	op_linear_many(tape, 2, map, y);
	assert_true(tape->forward.flops == 2 * ROWS * OUT * C + 2 * (B * 2) * 4 * C);
	assert_int_equal(y[0]->T, T);
	assert_int_equal(y[1]->T, 2);
	assert_int_equal(y[1]->C, 4);
}

static void test_embed_and_norms(void **state UNUSED)
{
	struct tape *tape = counting();
	op_embed(tape, NULL, B, T, shape(1, 11, C), NULL, 0);
	assert_tally(tape->forward, 0, F * N, F * N);
	assert_true(tape->backward.flops == N);
	tape = counting();
	op_embed(tape, NULL, B, T, shape(1, 11, C), shape(1, 9, C), 2);
	assert_tally(tape->forward, N, F * 2 * N, F * N);
	assert_true(tape->backward.flops == 2 * N);
	tape = counting();
	op_layernorm(tape, shape(B, T, C), shape(1, 1, C), shape(1, 1, C), 1e-5);
	assert_tally(tape->forward, 8 * N, F * (N + 2 * C), F * N);
	assert_tally(tape->backward, 14 * N, F * (2 * N + C), F * (N + 2 * C));
	tape = counting();
	op_rmsnorm(tape, shape(B, T, C), shape(1, 1, C), 1e-5);
	assert_tally(tape->forward, 4 * N, F * (N + C), F * N);
	assert_tally(tape->backward, 10 * N, F * (2 * N + C), F * (N + C));
}

static void test_elementwise(void **state UNUSED)
{
	struct tape *tape = counting();
	op_unary(tape, shape(B, T, C), UNARY_GELU);
	assert_tally(tape->forward, 8 * N, F * N, F * N);
	assert_tally(tape->backward, 12 * N, F * 2 * N, F * N);
	tape = counting();
	op_unary(tape, shape(B, T, C), UNARY_RELU);
	assert_tally(tape->forward, N, F * N, F * N);
	assert_tally(tape->backward, N, F * 2 * N, F * N);
	tape = counting();
	op_swiglu(tape, shape(B, T, 2 * C));
	assert_tally(tape->forward, 6 * N, F * 2 * N, F * N);
	assert_tally(tape->backward, 12 * N, F * 3 * N, F * 2 * N);
	tape = counting();
	op_add(tape, shape(B, T, C), shape(B, T, C));
	assert_tally(tape->forward, N, F * 2 * N, F * N);
	assert_true(tape->backward.flops == 0);
	tape = counting();
	op_dropout(tape, shape(B, T, C), 0.1);
	assert_tally(tape->forward, N, F * N, F * N);
	tape = counting();
	struct tensor *x = shape(B, T, C);
	assert_ptr_equal(op_dropout(tape, x, 0), x);
	assert_ptr_equal(op_rows(tape, x, 0, T), x);
	assert_true(tape->forward.write_bytes == 0);
	op_rows(tape, x, 1, 2);
	assert_tally(tape->forward, 0, F * B * 2 * C, F * B * 2 * C);
	tape = counting();
	const struct rope rope = {.n_head = 1, .n_rotary = 4, .n_ladder = 4, .base = 10};
	op_rope(tape, shape(B, T, C), &rope);
	assert_tally(tape->forward, 3 * ROWS * 4, F * N, F * N); // a pair: four products and two sums
}

static void test_loss(void **state UNUSED)
{
	struct tape *tape = counting();
	const struct loss loss = op_cross_entropy(tape, shape(B, T, C), NULL, NULL);
	assert_true(loss.n == 0);
	assert_tally(tape->forward, 5 * N, F * N, 0);
	assert_tally(tape->backward, 2 * N, F * N, F * N);
	// As one op with the map before it: the same work, but logits are no tensor.
	enum { V = 1000 };
	tape = counting();
	op_cross_entropy(tape, op_linear(tape, shape(B, T, C), shape(1, V, C), shape(1, 1, V)), NULL, NULL);
	const struct tally forward = tape->forward, backward = tape->backward;
	const double bytes = tape->tensor_bytes;
	tape = counting();
	op_linear_cross_entropy(tape, shape(B, T, C), shape(1, V, C), shape(1, 1, V), NULL, NULL);
	assert_true(tape->forward.flops == forward.flops && tape->backward.flops == backward.flops);
	assert_true(tape->forward.macs == forward.macs && tape->backward.macs == backward.macs);
	assert_true(tape->forward.read_bytes == F * (N + V * C + V) && tape->forward.write_bytes == 0);
	assert_true(tape->backward.read_bytes == F * (N + V * C));
	assert_true(tape->backward.write_bytes == F * (N + V * C + V));
	assert_true(bytes - tape->tensor_bytes == F * ROWS * V);
}

static void test_attention(void **state UNUSED)
{
	enum { H = 4, HK = 2, HV = 1, QK = 3, V = 5, S = 7, FIRST = 2 };
	struct attention_shape s = {.n_head = H, .n_k_head = HK, .n_v_head = HV, .d_qk = QK, .d_v = V};
	struct tape *tape = counting();
	op_attention(tape, shape(B, T, H * QK), shape(B, S, HK * QK), shape(B, S, HV * V), s);
	const double q = B * T * H * QK, k = B * S * HK * QK, v = B * S * HV * V, out = B * T * H * V;
	double pairs = B * H * T * S;
	assert_tally(tape->forward, pairs * (2 * QK + 2 * V + 5), F * (q + k + v), F * out);
	// Scores again, dv, dp, dq, dk: five products of which two are d_v wide.
	assert_tally(tape->backward, pairs * (6 * QK + 4 * V + 9), F * (q + k + v + 2 * out), F * (q + k + v));
	tape = counting();
	s.causal = 1, s.q_position = FIRST;
	op_attention(tape, shape(B, T, H * QK), shape(B, S, HK * QK), shape(B, S, HV * V), s);
	pairs = B * H * (3 + 4 + 5 + 6 + 7); // query row i sees FIRST + i + 1 positions
	assert_true(tape->forward.flops == pairs * (2 * QK + 2 * V + 5));
	assert_true(tape->backward.flops == pairs * (6 * QK + 4 * V + 9));
	assert_macs(tape, pairs * (QK + V), pairs * (3 * QK + 2 * V));
	// A bias: read with the rest, one addition a score; in backward two, and its gradient written.
	for (int rows = 1; rows <= H; rows += H - 1) {
		tape = counting();
		op_attention_biased(
		        tape, shape(B, T, H * QK), shape(B, S, HK * QK), shape(B, S, HV * V), shape(1, rows, S), s);
		assert_tally(tape->forward, pairs * (2 * QK + 2 * V + 6), F * (q + k + v + rows * S), F * out);
		assert_tally(tape->backward, pairs * (6 * QK + 4 * V + 11), F * (q + k + v + 2 * out + rows * S),
		        F * (q + k + v + rows * S));
		assert_macs(tape, pairs * (QK + V), pairs * (3 * QK + 2 * V));
	}
}

static void test_heads(void **state UNUSED)
{
	enum { H = 4, M = 2, IN = 3, OUT = 5, W = M * OUT * IN };
	for (int transposed = 0; transposed < 2; transposed++) {
		struct tape *tape = counting();
		const int from = transposed ? OUT : IN, to = transposed ? IN : OUT;
		struct tensor *y =
		        op_linear_heads(tape, shape(B, T, H * from), shape(1, M * OUT, IN), H, M, transposed);
		assert_int_equal(y->C, H * to);
		const double macs = ROWS * H * IN * OUT;
		assert_tally(tape->forward, 2 * macs, F * (ROWS * H * from + W), F * ROWS * H * to);
		assert_tally(tape->backward, 4 * macs, F * (2 * ROWS * H * to + ROWS * H * from + W),
		        F * (ROWS * H * from + W));
		assert_macs(tape, macs, 2 * macs);
	}
	struct tape *tape = counting();
	struct tensor *y = op_join(tape, shape(B, T, H * 3), shape(B, T, 2), H, 1);
	assert_int_equal(y->C, H * 5);
	assert_tally(tape->forward, 0, F * ROWS * H * 5, F * ROWS * H * 5);
	// Its own part of the gradient is moved, the shared part added up over heads: all of it by convention.
	assert_tally(tape->backward, ROWS * H * 5, F * ROWS * H * 5, F * ROWS * (H * 3 + 2));
	tape = counting();
	static const int index[] = {5, 0, 1, 1};
	y = op_columns(tape, shape(B, T, C), 4, index);
	assert_int_equal(y->C, 4);
	assert_tally(tape->forward, 0, F * ROWS * 4, F * ROWS * 4);
	assert_tally(tape->backward, ROWS * 4, F * ROWS * 4, F * N);
	assert_macs(tape, 0, 0);
}

static void test_position_map(void **state UNUSED)
{
	enum { MAPS = 2, POSITIONS = 7 };
	struct tape *tape = counting();
	op_map_gain(tape, shape(B, T, C), shape(1, MAPS, 10), MAPS);
	assert_tally(tape->forward, N + MAPS * 10, F * (N + MAPS * 10), F * N);
	assert_tally(tape->backward, 3 * N + MAPS * 10, F * 2 * N, F * (N + MAPS * 10));
	static const int cut[][3] = {{10, MAP_CUT_PE, 4}, {10, MAP_CUT_HALVES, 5}, {2, MAP_CUT_PE, 0}};
	for (int i = 0; i < 3; i++) {
		tape = counting();
		const int n_key = cut[i][2];
		op_map_bias(tape, shape(1, MAPS, cut[i][0]), shape(1, 1, MAPS), POSITIONS, POSITIONS,
		        (enum map_cut)cut[i][1]);
		const double macs = MAPS * POSITIONS * n_key, out = MAPS * POSITIONS;
		assert_tally(tape->forward, 2 * macs + out, F * (POSITIONS * n_key + MAPS * n_key + MAPS), F * out);
		assert_tally(tape->backward, 2 * macs + out, F * (out + POSITIONS * n_key), F * (MAPS * n_key + MAPS));
		assert_macs(tape, macs, macs);
	}
}

// FLOPs of a whole step of a pre-norm decoder with thin keys, typed from the model's equations. n_q of n_t positions
// are wanted: the last layer computes queries, output projection and feed-forward for those only.
struct shape_of_model {
	double n_layer, d, n_head, d_qk, d_v, d_ff, vocab;
};

static double gemm(double rows, double in, double out, int bias)
{
	return 2 * rows * in * out + (bias ? rows * out : 0);
}

static double products_of_layer(const struct shape_of_model *m, double batch, double n_t, double n_q)
{
	const double kq = m->n_head * m->d_qk, wide = m->n_head * m->d_v;
	return gemm(batch * n_q, m->d, kq, 1) + gemm(batch * n_t, m->d, kq, 1) + gemm(batch * n_t, m->d, wide, 1) +
	       gemm(batch * n_q, wide, m->d, 1) + gemm(batch * n_q, m->d, m->d_ff, 1) +
	       gemm(batch * n_q, m->d_ff, m->d, 1);
}

static double bias_sums(const struct shape_of_model *m, double batch, double n_t, double n_q)
{
	const double kq = m->n_head * m->d_qk, wide = m->n_head * m->d_v;
	return batch * (n_q * kq + n_t * kq + n_t * wide + n_q * m->d + n_q * m->d_ff + n_q * m->d);
}

static void assert_step(const struct shape_of_model *m, const struct setup *setup, double batch, double n_t, double n_q)
{
	double forward = batch * n_t * m->d, backward = 2 * batch * n_t * m->d; // token + position
	double macs = batch * n_q * m->d * m->vocab, backward_macs = 2 * macs;
	for (int layer = 0; layer < (int)m->n_layer; layer++) {
		const double rows_q = layer == (int)m->n_layer - 1 ? n_q : n_t;
		// Causal: query position i (the last rows_q of n_t) sees i + 1 positions.
		double pairs = 0;
		for (double i = n_t - rows_q; i < n_t; i++)
			pairs += i + 1;
		pairs *= batch * m->n_head;
		const double products = products_of_layer(m, batch, n_t, rows_q),
		             sums = bias_sums(m, batch, n_t, rows_q);
		const double first_norm = batch * n_t * m->d, rest = batch * rows_q * m->d,
		             hidden = batch * rows_q * m->d_ff;
		macs += (products - sums) / 2 + pairs * (m->d_qk + m->d_v);
		backward_macs += products - sums + pairs * (3 * m->d_qk + 2 * m->d_v);
		forward += products + pairs * (2 * m->d_qk + 2 * m->d_v + 5) + 8 * (first_norm + rest) + 8 * hidden +
		           2 * rest;
		backward += 2 * (products - sums) + sums + pairs * (6 * m->d_qk + 4 * m->d_v + 9) +
		            14 * (first_norm + rest) + 12 * hidden;
	}
	const double logits = batch * n_q * m->vocab;
	forward += 8 * batch * n_q * m->d + gemm(batch * n_q, m->d, m->vocab, 0) + 5 * logits;
	backward += 14 * batch * n_q * m->d + 2 * gemm(batch * n_q, m->d, m->vocab, 0) + 2 * logits;
	const struct step_cost cost = trainer_count(setup, (int)batch, 0);
	assert_true(cost.forward.flops == forward);
	assert_true(cost.backward.flops == backward);
	// Of which products: all but softmax, norms, activations, biases and sums.
	assert_true(cost.forward.macs == macs && cost.backward.macs == backward_macs);
}

static void a_training_step_counts_as_the_closed_form(void **state UNUSED)
{
	const struct shape_of_model m = {
	        .n_layer = 3, .d = 12, .n_head = 2, .d_qk = 3, .d_v = 6, .d_ff = 20, .vocab = 9};
	const char *model = "decoder n_layer=3 d_model=12 n_head=2 d_ff=20", *variant = "thin_keys d_select_per_head=3";
	// 10 tokens, the answer at the last one.
	assert_step(&m, build_setup(model, variant, "retrieval n_key=4 n_value=4", "", &rig.memory), 5, 10, 1);
	// 15 inputs, 13 of them scored.
	assert_step(
	        &m, build_setup(model, variant, "copy_back n_symbol=9 lag=3 length=16", "", &rig.memory), 2, 15, 13);
}

// What the loss does not need is not computed: with one target, the last layer's cost does not grow with its rows.
static void only_wanted_positions_cost_in_the_last_layer(void **state UNUSED)
{
	const struct model_config *config =
	        build_config("decoder", "n_layer=1 d_model=16 n_head=2 d_ff=64", 8, 32, &rig.memory);
	struct model *model = build_variant(config, "mha", "", 1, &rig.memory);
	double flops[2];
	for (int all = 0; all < 2; all++) {
		struct tape *tape = counting();
		model_forward(tape, model, NULL, 4, 32, all ? 0 : 31, all ? 32 : 1, NULL);
		flops[all] = tape->forward.flops;
	}
	// Of a layer's 2 * rows * (4 d^2 + 2 d d_ff) only keys and values, 2 d^2, are needed everywhere.
	const double everywhere = 2.0 * 4 * 32 * 2 * 16 * 16, most = 2.0 * 4 * 32 * (4 * 16 * 16 + 2 * 16 * 64);
	assert_true(flops[1] > most);
	assert_true(flops[0] > everywhere && flops[0] < 1.5 * everywhere);
}

// The counted tensors are those that a real step makes.
static void counted_memory_is_that_of_a_real_step(void **state UNUSED)
{
	const struct setup *setup = build_setup(
	        "decoder n_layer=2 d_model=12 n_head=2 d_ff=20", "mha", "retrieval n_key=4", "", &rig.memory);
	const struct optimizer_config optimizer = {.lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
	struct trainer trainer;
	trainer_init(&trainer, setup, &optimizer, 4, 1, 1);
	trainer_step(&trainer, 1);
	assert_true(trainer.tape.tensor_bytes == trainer_count(setup, 4, 0).tensor_bytes);
	trainer_release(&trainer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_linear),
	        cmocka_unit_test(test_embed_and_norms),
	        cmocka_unit_test(test_elementwise),
	        cmocka_unit_test(test_loss),
	        cmocka_unit_test(test_attention),
	        cmocka_unit_test(test_heads),
	        cmocka_unit_test(test_position_map),
	        cmocka_unit_test(a_training_step_counts_as_the_closed_form),
	        cmocka_unit_test(only_wanted_positions_cost_in_the_last_layer),
	        cmocka_unit_test(counted_memory_is_that_of_a_real_step),
	};
	return cmocka_run_group_tests_name("counts", tests, setup, teardown);
}
