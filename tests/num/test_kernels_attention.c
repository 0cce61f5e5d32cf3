// SPDX-License-Identifier: MIT
// The attention slots, forward and backward, against plain double-precision loops that hold the whole T x S matrix.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/attention_call.h"
#include "tests/test.h"

// Beside the rounding of sums: exp is good to 2 ulp, and a score's rounding becomes a relative error of its weight.
static const double ATTENTION_ROUNDING = 8, GRADIENT_ROUNDING = 16;

RIG_FIXTURE;

// n_bias: no key bias, one row of it for all heads, or a row for each.
static void try_biased(struct attention_shape s, int gap, int accumulate, int n_bias)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	s.scale = s.scale ? s.scale : 1 / sqrt(s.d_qk);
	struct attention_call c = attention_call_make(&rig, &s, gap, accumulate, n_bias);
	s = c.s;
	attention_call_reference(&c);
	backend_cpu.attention(rig_exec(&rig), guarded_to(&c.out, s.T, 0), c.lse.x, guarded_in(&c.q, s.T),
	        guarded_in(&c.k, s.S), guarded_in(&c.v, s.S), &s);
	char what[160];
	const int n = snprintf(what, sizeof(what),
	        "attention B %d T %d S %d heads %d/%d/%d of %d, %d%s from %d gap %d bias %d: ", s.B, s.T, s.S, s.n_head,
	        s.n_k_head, s.n_v_head, s.d_qk, s.d_v, s.causal ? " causal" : "", s.q_position, gap, n_bias);
	char *part = what + n;
	const size_t left = sizeof(what) - (size_t)n;
	snprintf(part, left, "out");
	assert_near(what, &c.out, c.out_ref, c.out_size, ATTENTION_ROUNDING);
	snprintf(part, left, "lse");
	assert_near(what, &c.lse, c.lse_ref, c.lse_size, ATTENTION_ROUNDING);
	backend_cpu.attention_backward(rig_exec(&rig), guarded_to(&c.dq, s.T, accumulate),
	        guarded_to(&c.dk, s.S, accumulate), guarded_to(&c.dv, s.S, accumulate), guarded_in(&c.dout, s.T),
	        guarded_in(&c.out, s.T), c.lse.x, guarded_in(&c.q, s.T), guarded_in(&c.k, s.S), guarded_in(&c.v, s.S),
	        &s);
	snprintf(part, left, "dq");
	assert_near(what, &c.dq, c.dq_ref, c.dq_size, GRADIENT_ROUNDING);
	snprintf(part, left, "dk");
	assert_near(what, &c.dk, c.dk_ref, c.dk_size, GRADIENT_ROUNDING);
	snprintf(part, left, "dv");
	assert_near(what, &c.dv, c.dv_ref, c.dv_size, GRADIENT_ROUNDING);
	if (n_bias) {
		snprintf(part, left, "dbias");
		assert_near(what, &c.dbias, c.dbias_ref, c.dbias_size, GRADIENT_ROUNDING);
		assert_untouched(what, &c.bias);
	}
	assert_untouched(what, &c.q);
	assert_untouched(what, &c.k);
	assert_untouched(what, &c.v);
	assert_untouched(what, &c.dout);
	arena_rewind(&rig.memory, mark);
}

static void try_attention(struct attention_shape s, int gap, int accumulate)
{
	try_biased(s, gap, accumulate, 0);
}

static void test_around_block_sizes(void **state UNUSED)
{
	static const int positions[] = {1, 15, 127, 128, 129, 255, 256, 257, 600}, queries[] = {1, 23, 24, 25, 49};
	for (int i = 0; i < 9; i++)
		for (int j = 0; j < 5; j++) {
			const struct attention_shape s =
			        attention_call_edge(queries[j], positions[i], (i + j) % 3 != 0);
			try_attention(s, i % 2 * 3, j % 2);
		}
}

static void test_random_shapes(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	static const int heads[][3] = {{1, 1, 1}, {2, 2, 2}, {4, 2, 1}, {4, 1, 4}, {6, 2, 3}, {6, 6, 2}};
	for (int i = 0; i < 60; i++) {
		const int *h = heads[rng_below(&rng, 6)];
		struct attention_shape s = {.B = rig_int(&rng, 1, 3),
		        .T = rig_int(&rng, 1, 40),
		        .S = rig_int(&rng, 1, 70),
		        .n_head = h[0],
		        .n_k_head = h[1],
		        .n_v_head = h[2],
		        .d_qk = rig_int(&rng, 1, 40),
		        .d_v = rig_int(&rng, 1, 40),
		        .causal = i % 2};
		s.q_position = rig_int(&rng, 0, s.S - 1);
		try_attention(s, rig_int(&rng, 0, 9), rig_int(&rng, 0, 1));
	}
}

// Wide heads, and scores so far apart that most weights vanish: the running maximum must carry them.
static void test_extremes(void **state UNUSED)
{
	try_attention((struct attention_shape){.B = 1,
	                      .T = 20,
	                      .S = 300,
	                      .n_head = 1,
	                      .n_k_head = 1,
	                      .n_v_head = 1,
	                      .d_qk = 128,
	                      .d_v = 64,
	                      .causal = 0,
	                      .scale = 2},
	        0, 0);
	try_attention((struct attention_shape){.B = 2,
	                      .T = 520,
	                      .S = 520,
	                      .n_head = 1,
	                      .n_k_head = 1,
	                      .n_v_head = 1,
	                      .d_qk = 4,
	                      .d_v = 3,
	                      .causal = 1,
	                      .scale = 10},
	        0, 1);
}

// Gradients that nobody wants are not written, and no log-sum-exp is kept when nothing is recorded.
static void test_optional_outputs(void **state UNUSED)
{
	const struct attention_shape s = {
	        .B = 2, .T = 3, .S = 4, .n_head = 2, .n_k_head = 2, .n_v_head = 2, .d_qk = 3, .d_v = 2, .scale = 1};
	struct attention_call c = attention_call_make(&rig, &s, 0, 0, 0);
	attention_call_reference(&c);
	backend_cpu.attention(rig_exec(&rig), guarded_to(&c.out, s.T, 0), NULL, guarded_in(&c.q, s.T),
	        guarded_in(&c.k, s.S), guarded_in(&c.v, s.S), &s);
	assert_near("attention without lse", &c.out, c.out_ref, c.out_size, ATTENTION_ROUNDING);
	backend_cpu.attention(rig_exec(&rig), guarded_to(&c.out, s.T, 0), c.lse.x, guarded_in(&c.q, s.T),
	        guarded_in(&c.k, s.S), guarded_in(&c.v, s.S), &s);
	backend_cpu.attention_backward(rig_exec(&rig), (struct strided_out){0}, (struct strided_out){0},
	        guarded_to(&c.dv, s.S, 0), guarded_in(&c.dout, s.T), guarded_in(&c.out, s.T), c.lse.x,
	        guarded_in(&c.q, s.T), guarded_in(&c.k, s.S), guarded_in(&c.v, s.S), &s);
	assert_near("dv alone", &c.dv, c.dv_ref, c.dv_size, GRADIENT_ROUNDING);
}

static void test_key_bias(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	static const int heads[][3] = {{1, 1, 1}, {2, 2, 2}, {4, 2, 1}, {4, 1, 4}, {6, 2, 3}};
	static const int positions[] = {1, 15, 16, 17, 127, 129, 255, 257, 300};
	for (int i = 0; i < 45; i++) {
		const int *h = heads[i % 5];
		struct attention_shape s = {.B = rig_int(&rng, 1, 3),
		        .T = rig_int(&rng, 1, 60),
		        .S = i < 9 ? positions[i] : rig_int(&rng, 1, 90),
		        .n_head = h[0],
		        .n_k_head = h[1],
		        .n_v_head = h[2],
		        .d_qk = rig_int(&rng, 1, 40),
		        .d_v = rig_int(&rng, 1, 40),
		        .causal = i % 2};
		s.q_position = rig_int(&rng, 0, s.S - 1);
		try_biased(s, rig_int(&rng, 0, 9), rig_int(&rng, 0, 1), i % 3 ? h[0] : 1);
	}
}

// A bias of zeros changes no bit, and one whose gradient nobody wants changes no other gradient.
static void a_zero_bias_changes_nothing(void **state UNUSED)
{
	const struct attention_shape s = {.B = 2,
	        .T = 30,
	        .S = 70,
	        .n_head = 2,
	        .n_k_head = 1,
	        .n_v_head = 2,
	        .d_qk = 9,
	        .d_v = 7,
	        .causal = 1,
	        .q_position = 40,
	        .scale = 0.3};
	struct attention_call c = attention_call_make(&rig, &s, 0, 0, 2);
	real *keep[4] = {0};
	for (int way = 0; way < 3; way++) {
		struct attention_shape shape = way ? c.s : s;
		memset(c.bias.x, 0, 2 * 70 * sizeof(real));
		if (way == 2)
			shape.d_key_bias = NULL;
		backend_cpu.attention(rig_exec(&rig), guarded_to(&c.out, s.T, 0), c.lse.x, guarded_in(&c.q, s.T),
		        guarded_in(&c.k, s.S), guarded_in(&c.v, s.S), &shape);
		backend_cpu.attention_backward(rig_exec(&rig), guarded_to(&c.dq, s.T, 0), guarded_to(&c.dk, s.S, 0),
		        guarded_to(&c.dv, s.S, 0), guarded_in(&c.dout, s.T), guarded_in(&c.out, s.T), c.lse.x,
		        guarded_in(&c.q, s.T), guarded_in(&c.k, s.S), guarded_in(&c.v, s.S), &shape);
		const struct guarded *g[] = {&c.out, &c.dq, &c.dk, &c.dv};
		for (int i = 0; i < 4; i++) {
			const size_t bytes = (size_t)g[i]->rows * (size_t)g[i]->stride * sizeof(real);
			keep[i] = way ? keep[i] : arena_alloc(&rig.memory, bytes);
			if (way)
				assert_memory_equal(keep[i], g[i]->x, bytes);
			else
				memcpy(keep[i], g[i]->x, bytes);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_around_block_sizes),
	        cmocka_unit_test(test_random_shapes),
	        cmocka_unit_test(test_extremes),
	        cmocka_unit_test(test_optional_outputs),
	        cmocka_unit_test(test_key_bias),
	        cmocka_unit_test(a_zero_bias_changes_nothing),
	};
	return cmocka_run_group_tests_name("attention kernels", tests, setup, teardown);
}
