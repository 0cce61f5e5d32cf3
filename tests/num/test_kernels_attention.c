// SPDX-License-Identifier: MIT
// The attention slots, forward and backward, against plain double-precision loops that hold the whole T x S matrix.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/guard.h"
#include "tests/test.h"

// Beside the rounding of sums: exp is good to 2 ulp, and a score's rounding becomes a relative error of its weight.
static const double ATTENTION_ROUNDING = 8, GRADIENT_ROUNDING = 16;

static struct rig rig;

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	return 0;
}

// Everything about one call. Arrays of the reference are without gaps: (B * T, n_head * d_v) and so on.
struct call {
	struct attention_shape s;
	struct guarded q, k, v, dout, out, lse, dq, dk, dv;
	struct guarded bias, dbias; // (n_bias, S); n_bias 0: none
	int n_bias;
	double *weight;     // (B, n_head, T, S)
	double *score_size; // (B, n_head, T): largest sum of |q k| scale in the row
	double *out_ref, *out_size, *lse_ref, *lse_size;
	double *dq_ref, *dq_size, *dk_ref, *dk_size, *dv_ref, *dv_size, *dbias_ref, *dbias_size;
};

static double *numbers(long n)
{
	return arena_zalloc(&rig.memory, (size_t)n * sizeof(double));
}

static struct call make(const struct attention_shape *shape, int gap, int accumulate, int n_bias)
{
	struct call c = {.s = *shape, .n_bias = n_bias};
	struct attention_shape *s = &c.s;
	const int q = s->n_head * s->d_qk, k = s->n_k_head * s->d_qk, v = s->n_v_head * s->d_v, o = s->n_head * s->d_v;
	const int rows = s->B * s->T, positions = s->B * s->S;
	c.q = guarded_operand(&rig, rows, q, q + gap);
	c.k = guarded_operand(&rig, positions, k, k + 2 * gap);
	c.v = guarded_operand(&rig, positions, v, v + gap);
	c.dout = guarded_operand(&rig, rows, o, o + gap);
	c.out = guarded_output(&rig, rows, o, o + 3 * gap, 0);
	c.lse = guarded_output(&rig, s->B * s->n_head, s->T, s->T, 0);
	c.dq = guarded_output(&rig, rows, q, q + gap, accumulate);
	c.dk = guarded_output(&rig, positions, k, k + gap, accumulate);
	c.dv = guarded_output(&rig, positions, v, v + gap, accumulate);
	const long pairs = (long)s->B * s->n_head * s->T * s->S;
	c.weight = numbers(pairs), c.score_size = numbers((long)s->B * s->n_head * s->T);
	c.out_ref = numbers((long)rows * o), c.out_size = numbers((long)rows * o);
	c.lse_ref = numbers((long)rows * s->n_head), c.lse_size = numbers((long)rows * s->n_head);
	c.dq_ref = numbers((long)rows * q), c.dq_size = numbers((long)rows * q);
	c.dk_ref = numbers((long)positions * k), c.dk_size = numbers((long)positions * k);
	c.dv_ref = numbers((long)positions * v), c.dv_size = numbers((long)positions * v);
	if (n_bias) {
		c.bias = guarded_operand(&rig, n_bias, s->S, s->S + gap);
		c.dbias = guarded_output(&rig, n_bias, s->S, s->S + gap, 1);
		c.dbias_ref = numbers((long)n_bias * s->S), c.dbias_size = numbers((long)n_bias * s->S);
		s->key_bias = c.bias.x, s->d_key_bias = c.dbias.x;
		s->key_bias_stride = n_bias > 1 ? c.bias.stride : 0;
	}
	return c;
}

static int visible(const struct attention_shape *s, int i)
{
	const int n = s->q_position + i + 1;
	return s->causal && n < s->S ? n : s->S;
}

// Weights, output and log-sum-exp of one query row of one head.
static void forward_row(struct call *c, int b, int h, int i)
{
	const struct attention_shape *s = &c->s;
	const real *q = c->q.x + (b * s->T + i) * c->q.stride + h * s->d_qk;
	const real *k = c->k.x + b * s->S * c->k.stride + h * s->n_k_head / s->n_head * s->d_qk;
	const real *v = c->v.x + b * s->S * c->v.stride + h * s->n_v_head / s->n_head * s->d_v;
	const long row = ((long)b * s->n_head + h) * s->T + i,
	           o = ((long)b * s->T + i) * s->n_head * s->d_v + h * s->d_v;
	double *p = c->weight + row * s->S, most = -INFINITY, sum = 0;
	const int seen = visible(s, i);
	for (int j = 0; j < seen; j++) {
		const double bias = c->n_bias ? (double)c->bias.x[h % c->n_bias * c->bias.stride + j] : 0;
		double size = fabs(bias);
		p[j] = bias;
		for (int d = 0; d < s->d_qk; d++) {
			const double term = (double)q[d] * (double)k[j * c->k.stride + d] * s->scale;
			p[j] += term;
			size += fabs(term);
		}
		most = fmax(most, p[j]);
		c->score_size[row] = fmax(c->score_size[row], size);
	}
	for (int j = 0; j < seen; j++)
		sum += p[j] = exp(p[j] - most);
	c->lse_ref[row] = most + log(sum);
	c->lse_size[row] = 1 + c->score_size[row];
	for (int j = 0; j < seen; j++) {
		p[j] /= sum;
		for (int d = 0; d < s->d_v; d++) {
			const double term = p[j] * (double)v[j * c->v.stride + d];
			c->out_ref[o + d] += term;
			c->out_size[o + d] += fabs(term) * (1 + c->score_size[row]);
		}
	}
}

static void backward_row(struct call *c, int b, int h, int i)
{
	const struct attention_shape *s = &c->s;
	const int k_at = h * s->n_k_head / s->n_head * s->d_qk, v_at = h * s->n_v_head / s->n_head * s->d_v;
	const int q_columns = s->n_head * s->d_qk, k_columns = s->n_k_head * s->d_qk, v_columns = s->n_v_head * s->d_v;
	const long r = (long)b * s->T + i, row = ((long)b * s->n_head + h) * s->T + i;
	const real *q = c->q.x + r * c->q.stride + h * s->d_qk, *dout = c->dout.x + r * c->dout.stride + h * s->d_v;
	const double *out = c->out_ref + r * s->n_head * s->d_v + h * s->d_v, *p = c->weight + row * s->S;
	double delta = 0, delta_size = 0;
	for (int d = 0; d < s->d_v; d++) {
		delta += (double)dout[d] * out[d];
		delta_size += fabs((double)dout[d]) * c->out_size[r * s->n_head * s->d_v + h * s->d_v + d];
	}
	for (int j = 0; j < visible(s, i); j++) {
		const long at = (long)b * s->S + j;
		const real *k = c->k.x + at * c->k.stride + k_at, *v = c->v.x + at * c->v.stride + v_at;
		double dp = 0, dp_size = 0;
		for (int d = 0; d < s->d_v; d++) {
			dp += (double)dout[d] * (double)v[d];
			dp_size += fabs((double)dout[d] * (double)v[d]);
			c->dv_ref[at * v_columns + v_at + d] += p[j] * (double)dout[d];
			c->dv_size[at * v_columns + v_at + d] +=
			        p[j] * fabs((double)dout[d]) * (1 + c->score_size[row]);
		}
		if (c->n_bias) {
			const long to = (long)(h % c->n_bias) * s->S + j;
			c->dbias_ref[to] += p[j] * (dp - delta);
			c->dbias_size[to] += p[j] * (dp_size + delta_size) * (1 + c->score_size[row]);
		}
		const double ds = p[j] * (dp - delta) * s->scale;
		const double ds_size = p[j] * (dp_size + delta_size) * s->scale * (1 + c->score_size[row]);
		for (int d = 0; d < s->d_qk; d++) {
			c->dq_ref[r * q_columns + h * s->d_qk + d] += ds * (double)k[d];
			c->dq_size[r * q_columns + h * s->d_qk + d] += ds_size * fabs((double)k[d]);
			c->dk_ref[at * k_columns + k_at + d] += ds * (double)q[d];
			c->dk_size[at * k_columns + k_at + d] += ds_size * fabs((double)q[d]);
		}
	}
}

static void reference(struct call *c)
{
	const struct attention_shape *s = &c->s;
	for (int b = 0; b < s->B; b++)
		for (int h = 0; h < s->n_head; h++)
			for (int i = 0; i < s->T; i++) {
				forward_row(c, b, h, i);
				backward_row(c, b, h, i);
			}
}

static struct strided in(const struct guarded *g, int rows)
{
	return (struct strided){g->x, rows * g->stride, g->stride};
}

static struct strided_out to(const struct guarded *g, int rows, int accumulate)
{
	return (struct strided_out){g->x, rows * g->stride, g->stride, accumulate};
}

// n_bias: no key bias, one row of it for all heads, or a row for each.
static void try_biased(struct attention_shape s, int gap, int accumulate, int n_bias)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	s.scale = s.scale ? s.scale : 1 / sqrt(s.d_qk);
	struct call c = make(&s, gap, accumulate, n_bias);
	s = c.s;
	reference(&c);
	backend_cpu.attention(
	        rig_exec(&rig), to(&c.out, s.T, 0), c.lse.x, in(&c.q, s.T), in(&c.k, s.S), in(&c.v, s.S), &s);
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
	backend_cpu.attention_backward(rig_exec(&rig), to(&c.dq, s.T, accumulate), to(&c.dk, s.S, accumulate),
	        to(&c.dv, s.S, accumulate), in(&c.dout, s.T), in(&c.out, s.T), c.lse.x, in(&c.q, s.T), in(&c.k, s.S),
	        in(&c.v, s.S), &s);
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
			struct attention_shape s = {.B = 1,
			        .T = queries[j],
			        .S = positions[i],
			        .n_head = 2,
			        .n_k_head = 1,
			        .n_v_head = 2,
			        .d_qk = 5,
			        .d_v = 9,
			        .causal = (i + j) % 3 != 0};
			s.q_position = s.S > s.T ? s.S - s.T : 0;
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
	struct call c = make(&s, 0, 0, 0);
	reference(&c);
	backend_cpu.attention(
	        rig_exec(&rig), to(&c.out, s.T, 0), NULL, in(&c.q, s.T), in(&c.k, s.S), in(&c.v, s.S), &s);
	assert_near("attention without lse", &c.out, c.out_ref, c.out_size, ATTENTION_ROUNDING);
	backend_cpu.attention(
	        rig_exec(&rig), to(&c.out, s.T, 0), c.lse.x, in(&c.q, s.T), in(&c.k, s.S), in(&c.v, s.S), &s);
	backend_cpu.attention_backward(rig_exec(&rig), (struct strided_out){0}, (struct strided_out){0},
	        to(&c.dv, s.S, 0), in(&c.dout, s.T), in(&c.out, s.T), c.lse.x, in(&c.q, s.T), in(&c.k, s.S),
	        in(&c.v, s.S), &s);
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
	struct call c = make(&s, 0, 0, 2);
	real *keep[4] = {0};
	for (int way = 0; way < 3; way++) {
		struct attention_shape shape = way ? c.s : s;
		memset(c.bias.x, 0, 2 * 70 * sizeof(real));
		if (way == 2)
			shape.d_key_bias = NULL;
		backend_cpu.attention(rig_exec(&rig), to(&c.out, s.T, 0), c.lse.x, in(&c.q, s.T), in(&c.k, s.S),
		        in(&c.v, s.S), &shape);
		backend_cpu.attention_backward(rig_exec(&rig), to(&c.dq, s.T, 0), to(&c.dk, s.S, 0), to(&c.dv, s.S, 0),
		        in(&c.dout, s.T), in(&c.out, s.T), c.lse.x, in(&c.q, s.T), in(&c.k, s.S), in(&c.v, s.S),
		        &shape);
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
