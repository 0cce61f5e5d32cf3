// SPDX-License-Identifier: MIT
// The CUDA backend's attention slots against plain loops in double: shapes about block sizes, any heads and widths,
// gaps, biases, values that are a view of the keys. On tensor cores operands are rounded to bf16: here they are such
// numbers already, and what is left is the rounding of weights.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/attention_call.h"
#include "tests/num/cuda_rig.h"
#include "tests/test.h"

// As for the CPU; sums are in another order.
static const double FORWARD = 12;
static const double BACKWARD = 24;
static const double WEIGHTS = 0x1p-9 / FLT_EPSILON; // half a unit of bf16; in backward that of p, ds and out

static const double NORM[] = {0.4, 1.5}; // of all numbers together, in those units; exact: of f32's
static double worst[2];

static struct cuda_rig rig;
static struct rng rng;

static int setup(void **state UNUSED)
{
	rng = rig_rng(&rig.host);
	return 0;
}

static void round_numbers(const struct guarded *g)
{
	for (int i = 0; i < g->rows; i++)
		for (int j = 0; j < g->columns; j++) {
			unsigned char bytes[2];
			real *x = g->x + i * g->stride + j;
			dtype_write(DTYPE_BF16, bytes, x, 1);
			dtype_read(DTYPE_BF16, x, bytes, 1);
		}
	memcpy(g->before, g->memory, g->n_memory * sizeof(real));
}

// Errors of rounding go either way: together they stay far below the worst case that assert_near allows each of them.
static void assert_norm(
        const char *what, const struct guarded *g, const double *expected, const double *size, int is_exact)
{
	double off = 0, whole = 0;
	for (int i = 0; i < g->rows * g->columns; i++) {
		const int r = i / g->columns, c = i % g->columns;
		const double d = (double)g->x[r * g->stride + c] - guarded_before(g, r, c) - expected[i];
		const double magnitude = size[i] + fabs(guarded_before(g, r, c));
		off += d * d, whole += magnitude * magnitude;
	}
	const double units = sqrt(off / whole) / FLT_EPSILON / (is_exact ? 1 : WEIGHTS);
	worst[is_exact] = fmax(worst[is_exact], units);
	if (!(units <= NORM[is_exact]))
		fail_msg("%s: in all off by %.2f units of rounding of the magnitudes, allowed %.2f", what, units,
		        NORM[is_exact]);
}

static struct strided on_device(const struct guarded *g, int rows)
{
	return (struct strided){cuda_mirror(&rig, g), rows * g->stride, g->stride};
}

static const char *name_of(const struct attention_shape *s, const struct backend *backend, const char *more)
{
	return arena_printf(&rig.host.memory, "%s: attention B %d T %d S %d heads %d/%d/%d of %d, %d%s from %d%s",
	        backend->name, s->B, s->T, s->S, s->n_head, s->n_k_head, s->n_v_head, s->d_qk, s->d_v,
	        s->causal ? " causal" : "", s->q_position, more);
}

// Rounds operands for the rounded table, and lays values into keys from v_in_k on.
static void prepare(struct attention_call *c, const struct guarded *const *operand, int n, int is_exact, int v_in_k)
{
	for (int i = 0; i < n && !is_exact; i++)
		round_numbers(operand[i]);
	if (v_in_k >= 0) {
		c->v = c->k;
		c->v.x += v_in_k, c->v.columns = c->s.n_v_head * c->s.d_v;
	}
}

// v_in_k: values are the keys' row from that number on; -1: rows of their own.
static void try_attention(struct attention_shape s, int is_exact, int gap, int n_bias, int v_in_k)
{
	const struct arena_mark mark = arena_mark(&rig.host.memory);
	const struct backend *backend = is_exact ? rig.exact : rig.rounded;
	const char *what = name_of(&s, backend, n_bias ? ", biased" : v_in_k >= 0 ? ", v in k" : "");
	s.scale = s.scale ? s.scale : 1 / sqrt(s.d_qk);
	struct attention_call c = attention_call_make(&rig.host, &s, gap, 0, n_bias);
	const struct guarded *operand[] = {&c.q, &c.k, &c.v};
	prepare(&c, operand, 3, is_exact, v_in_k);
	s = c.s;
	cuda_begin(&rig);
	const struct strided q = on_device(&c.q, s.T), k = on_device(&c.k, s.S);
	const struct strided v =
	        v_in_k >= 0 ? (struct strided){k.x + v_in_k, k.b_stride, k.t_stride} : on_device(&c.v, s.S);
	if (n_bias)
		s.key_bias = cuda_mirror(&rig, &c.bias);
	const struct strided_out out = {cuda_mirror(&rig, &c.out), s.T * c.out.stride, c.out.stride, 0};
	real *lse = cuda_mirror(&rig, &c.lse);
	backend->attention(cuda_exec(&rig), out, lse, q, k, v, &s);
	cuda_fetch(&rig);
	attention_call_reference(&c);
	assert_near(what, &c.out, c.out_ref, c.out_size, FORWARD + (is_exact ? 0 : WEIGHTS));
	assert_norm(what, &c.out, c.out_ref, c.out_size, is_exact);
	assert_near(what, &c.lse, c.lse_ref, c.lse_size, FORWARD);
	assert_untouched(what, &c.q);
	assert_untouched(what, &c.k);
	real *keep = arena_alloc(&rig.host.memory, c.out.n_memory * sizeof(real));
	memcpy(keep, c.out.memory, c.out.n_memory * sizeof(real));
	backend->attention(cuda_exec(&rig), out, NULL, q, k, v, &s);
	cuda_fetch(&rig);
	if (memcmp(keep, c.out.memory, c.out.n_memory * sizeof(real)))
		fail_msg("%s: other bits the second time, without lse", what);
	arena_rewind(&rig.host.memory, mark);
}

// dk and dv where values are a part of keys: both in one place.
static void add_views(struct attention_call *c, int v_in_k)
{
	const struct attention_shape *s = &c->s;
	const int k_width = s->n_k_head * s->d_qk, v_width = s->n_v_head * s->d_v;
	for (int i = 0; i < s->B * s->S; i++)
		for (int j = 0; j < v_width; j++) {
			c->dk_ref[i * k_width + v_in_k + j] += c->dv_ref[i * v_width + j];
			c->dk_size[i * k_width + v_in_k + j] += c->dv_size[i * v_width + j];
		}
}

static void try_backward(struct attention_shape s, int is_exact, int accumulate, int n_bias, int v_in_k)
{
	const struct arena_mark mark = arena_mark(&rig.host.memory);
	const struct backend *backend = is_exact ? rig.exact : rig.rounded;
	const char *name = name_of(&s, backend, n_bias ? ", biased" : v_in_k >= 0 ? ", v in k" : ""), *what = name;
	const double constant = BACKWARD + (is_exact ? 0 : 3 * WEIGHTS);
	s.scale = s.scale ? s.scale : 1 / sqrt(s.d_qk);
	struct attention_call c = attention_call_make(&rig.host, &s, rig_int(&rng, 0, 5), accumulate, n_bias);
	const struct guarded *operand[] = {&c.q, &c.k, &c.v, &c.dout};
	prepare(&c, operand, 4, is_exact, v_in_k);
	s = c.s;
	cuda_begin(&rig);
	const struct strided q = on_device(&c.q, s.T), k = on_device(&c.k, s.S), dout = on_device(&c.dout, s.T);
	const struct strided v =
	        v_in_k >= 0 ? (struct strided){k.x + v_in_k, k.b_stride, k.t_stride} : on_device(&c.v, s.S);
	const struct strided_out out = {cuda_mirror(&rig, &c.out), s.T * c.out.stride, c.out.stride, 0},
	                         dq = {cuda_mirror(&rig, &c.dq), s.T * c.dq.stride, c.dq.stride, accumulate},
	                         dk = {cuda_mirror(&rig, &c.dk), s.S * c.dk.stride, c.dk.stride, accumulate};
	const struct strided_out dv = v_in_k >= 0 ? (struct strided_out){dk.x + v_in_k, dk.b_stride, dk.t_stride, 1}
	                                          : (struct strided_out){cuda_mirror(&rig, &c.dv), s.S * c.dv.stride,
	                                                    c.dv.stride, accumulate};
	real *lse = cuda_mirror(&rig, &c.lse);
	if (n_bias)
		s.key_bias = cuda_mirror(&rig, &c.bias), s.d_key_bias = cuda_mirror(&rig, &c.dbias);
	backend->attention(cuda_exec(&rig), out, lse, q, k, v, &s);
	backend->attention_backward(cuda_exec(&rig), dq, dk, dv, dout,
	        (struct strided){out.x, out.b_stride, out.t_stride}, lse, q, k, v, &s);
	cuda_fetch(&rig);
	attention_call_reference(&c);
	if (v_in_k >= 0)
		add_views(&c, v_in_k);
	what = arena_printf(&rig.host.memory, "%s: dq", name);
	assert_near(what, &c.dq, c.dq_ref, c.dq_size, constant);
	assert_norm(what, &c.dq, c.dq_ref, c.dq_size, is_exact);
	what = arena_printf(&rig.host.memory, "%s: dk", name);
	assert_near(what, &c.dk, c.dk_ref, c.dk_size, constant);
	assert_norm(what, &c.dk, c.dk_ref, c.dk_size, is_exact);
	what = arena_printf(&rig.host.memory, "%s: dv", name);
	if (v_in_k < 0) {
		assert_near(what, &c.dv, c.dv_ref, c.dv_size, constant);
		assert_norm(what, &c.dv, c.dv_ref, c.dv_size, is_exact);
	}
	what = arena_printf(&rig.host.memory, "%s: bias", name);
	if (n_bias) {
		assert_near(what, &c.dbias, c.dbias_ref, c.dbias_size, constant);
		assert_norm(what, &c.dbias, c.dbias_ref, c.dbias_size, is_exact);
	}
	for (int i = 0; i < 4; i++)
		assert_untouched(name, i == 2 && v_in_k >= 0 ? &c.k : operand[i]);
	arena_rewind(&rig.host.memory, mark);
}

static void test_around_block_sizes(void **state UNUSED)
{
	static const int positions[] = {1, 31, 33, 63, 64, 65, 130, 513}, queries[] = {1, 16, 17, 63, 65};
	for (int i = 0; i < 8; i++)
		for (int j = 0; j < 5; j++) {
			const struct attention_shape s =
			        attention_call_edge(queries[j], positions[i], (i + j) % 3 != 0);
			try_attention(s, (i + j) % 2, i % 2 * 3, 0, -1);
			try_backward(s, (i + j) % 2, i / 2 % 2, 0, -1);
		}
}

static void test_random_shapes(void **state UNUSED)
{
	static const int heads[][3] = {{1, 1, 1}, {2, 2, 2}, {4, 2, 1}, {4, 1, 4}, {6, 2, 3}, {6, 6, 2}, {12, 2, 2}};
	static const int widths[] = {1, 8, 15, 16, 33, 64, 72};
	for (int i = 0; i < 56; i++) {
		const int *h = heads[i % 7];
		struct attention_shape s = {.B = rig_int(&rng, 1, 2),
		        .T = rig_int(&rng, 1, 90),
		        .S = rig_int(&rng, 1, 140),
		        .n_head = h[0],
		        .n_k_head = h[1],
		        .n_v_head = h[2],
		        .d_qk = widths[rig_int(&rng, 0, 6)],
		        .d_v = widths[rig_int(&rng, 0, 6)],
		        .causal = i / 2 % 2};
		s.q_position = rig_int(&rng, 0, s.S - 1);
		try_attention(s, i / 4 % 2, rig_int(&rng, 0, 5), i % 3 ? 0 : i % 2 ? 1 : h[0], -1);
		try_backward(s, i / 4 % 2, i % 2, i % 3 ? 0 : i % 2 ? 1 : h[0], -1);
	}
}

static void test_wide_heads(void **state UNUSED)
{
	static const int widths[][2] = {{128, 128}, {256, 64}, {64, 256}, {300, 300}, {2000, 8}, {200, 130}};
	for (int i = 0; i < 12; i++)
		try_attention((struct attention_shape){.B = 1,
		                      .T = 66,
		                      .S = 70,
		                      .n_head = 2,
		                      .n_k_head = 1,
		                      .n_v_head = 1,
		                      .d_qk = widths[i / 2][0],
		                      .d_v = widths[i / 2][1],
		                      .causal = 1,
		                      .q_position = 4},
		        i % 2, 0, 0, -1);
}

// Values that are the keys, a part of them, or lie across their heads.
static void test_values_in_keys(void **state UNUSED)
{
	static const int shapes[][5] = {// key heads, value heads, d_qk, d_v, first number
	        {2, 2, 24, 24, 0}, {1, 1, 40, 32, 0}, {1, 1, 40, 16, 24}, {2, 1, 16, 32, 0}, {1, 2, 48, 16, 8}};
	for (int i = 0; i < 20; i++) {
		const int *x = shapes[i % 5];
		try_attention((struct attention_shape){.B = 2,
		                      .T = i % 3 ? 7 : 40,
		                      .S = 75,
		                      .n_head = 4,
		                      .n_k_head = x[0],
		                      .n_v_head = x[1],
		                      .d_qk = x[2],
		                      .d_v = x[3],
		                      .causal = 1,
		                      .q_position = 35},
		        i / 5 % 2, i % 2 * 4, 0, x[4]);
	}
}

// Scores so far apart that most weights vanish: the running maximum must carry them.
static void test_extremes(void **state UNUSED)
{
	for (int i = 0; i < 4; i++)
		try_attention((struct attention_shape){.B = 1,
		                      .T = i / 2 ? 3 : 40,
		                      .S = 300,
		                      .n_head = 1,
		                      .n_k_head = 1,
		                      .n_v_head = 1,
		                      .d_qk = 32,
		                      .d_v = 16,
		                      .causal = 1,
		                      .q_position = 260,
		                      .scale = 6},
		        i % 2, 0, 0, -1);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_around_block_sizes),
	        cmocka_unit_test(test_random_shapes),
	        cmocka_unit_test(test_wide_heads),
	        cmocka_unit_test(test_values_in_keys),
	        cmocka_unit_test(test_extremes),
	};
	const int failed = cmocka_run_group_tests_name("CUDA attention", tests, setup, NULL);
	printf("# in all off by at most %.3f units of rounding of the magnitudes, %.3f of bf16's\n", worst[1],
	        worst[0]);
	return failed;
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
