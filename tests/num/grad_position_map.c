// SPDX-License-Identifier: MIT
// The 2D position map as gain and key bias against its definition: whole score matrices, S' = S sum(w) + sum_c w_c
// P_ijc + b with P laid out as the papers do, mask, softmax, average. Both give the same output, and the map's
// gradients are those of the definition by central differences (where the definition has terms of the query alone,
// which cancel).
#include <math.h>
#include <stdio.h>

#include "tests/num/gradient.h"
#include "tests/test.h"

#define MOST_ERROR 1e-6
#define MOST_ROUNDING 1e-11
enum { B = 2, H = 4, D = 3, D_V = 2, MOST_T = 40 };

static struct rig rig;
static double worst_of_all;

struct call {
	struct tensor *in[5]; // q, k, v, w, b
	enum map_cut cut;
	int causal;
};

static double sinusoid(int position, int number, int width)
{
	const double angle = position * pow(10000, -2.0 * (number / 2) / width);
	return number % 2 ? cos(angle) : sin(angle);
}

// P_ij, number c of m. PE: (e(i), e(j)) of 2 ceil(m / 4) each, cut to m. Halves: m / 2 of each.
static double position_number(enum map_cut cut, int i, int j, int c, int m)
{
	const int half = m / 2, width = cut == MAP_CUT_PE ? 2 * (int)ceil(m / 4.0) : half;
	if (cut == MAP_CUT_PE)
		return c < width ? sinusoid(i, c, width) : sinusoid(j, c - width, width);
	return c < half ? sinusoid(i, c, half) : sinusoid(j, c - half, m - half);
}

static double at(const struct tensor *t, int b, int i, int c)
{
	return (double)t->x[b * t->b_stride + i * t->t_stride + c];
}

// By definition; the projection is that of gradient_project on (B, T, H * D_V).
static double literal(const struct call *c)
{
	const struct tensor *q = c->in[0], *k = c->in[1], *v = c->in[2], *w = c->in[3], *bias = c->in[4];
	const int T = q->T, m = w->C;
	struct tensor *out = rig_tensor(&rig, B, T, H * D_V);
	double score[MOST_T];
	for (int row = 0; row < B * H * T; row++) {
		const int b = row / (H * T), h = row / T % H, i = row % T, map = w->T == 1 ? 0 : h;
		const int seen = c->causal ? i + 1 : T;
		double sum_w = 0, total = 0;
		for (int n = 0; n < m; n++)
			sum_w += at(w, 0, map, n);
		for (int j = 0; j < seen; j++) {
			double s = 0, plus = bias ? at(bias, 0, 0, map) : 0;
			for (int d = 0; d < D; d++)
				s += at(q, b, i, h * D + d) * at(k, b, j, h * D + d);
			for (int n = 0; n < m; n++)
				plus += at(w, 0, map, n) * position_number(c->cut, i, j, n, m);
			total += score[j] = exp(s / sqrt(D) * sum_w + plus);
		}
		for (int d = 0; d < D_V; d++) {
			double sum = 0;
			for (int j = 0; j < seen; j++)
				sum += score[j] / total * at(v, b, j, h * D_V + d);
			out->x[(b * T + i) * H * D_V + h * D_V + d] = (real)sum;
		}
	}
	struct tape plain = {.mode = TAPE_RUN};
	return gradient_project(&plain, out, 0);
}

static double mapped(struct tape *tape, void *context)
{
	const struct call *c = context;
	const struct attention_shape shape = {.n_head = H,
	        .n_k_head = H,
	        .n_v_head = H,
	        .d_qk = D,
	        .d_v = D_V,
	        .causal = c->causal,
	        .scale = 1 / sqrt(D)};
	struct tensor *w = c->in[3], *q = op_map_gain(tape, c->in[0], w, H);
	struct tensor *key_bias = op_map_bias(tape, w, c->in[4], c->in[1]->T, c->in[1]->T, c->cut);
	return gradient_project(tape, op_attention_biased(tape, q, c->in[1], c->in[2], key_bias, shape), 0);
}

static struct call make(int T, int m, int n_map, enum map_cut cut, int causal, int with_bias)
{
	struct call c = {{rig_tensor(&rig, B, T, H * D), rig_tensor(&rig, B, T, H * D), rig_tensor(&rig, B, T, H * D_V),
	                         rig_tensor(&rig, 1, n_map, m)},
	        .cut = cut, .causal = causal};
	c.in[4] = with_bias ? rig_tensor(&rig, 1, 1, n_map) : NULL;
	return c;
}

static void test_against_the_definition(void **state UNUSED)
{
	static const int m[] = {1, 2, 3, 10, 20, 50};
	for (int way = 0; way < 6 * 8; way++) {
		const enum map_cut cut = way / 8 % 2 ? MAP_CUT_HALVES : MAP_CUT_PE;
		const int n_map = way & 1 ? H : 1, causal = way >> 1 & 1, with_bias = way >> 2 & 1;
		struct call c = make(way % 3 ? 7 : 37, m[way / 8], n_map, cut, causal, with_bias);
		rig_begin(&rig, TAPE_RUN);
		const double fast = mapped(&rig.tape, &c), slow = literal(&c);
		if (!(fabs(fast - slow) < MOST_ROUNDING * (1 + fabs(slow))))
			fail_msg("m %d, %d maps, cut %d, causal %d: %.12g, by definition %.12g", m[way / 8], n_map, cut,
			        causal, fast, slow);
	}
}

// By one number of an operand.
static double definition_difference(struct call *c, real *x)
{
	const double step = 1e-5;
	const real before = *x;
	const struct arena_mark mark = arena_mark(&rig.memory);
	*x = before + (real)step;
	const double above = literal(c);
	*x = before - (real)step;
	const double below = literal(c);
	*x = before;
	arena_rewind(&rig.memory, mark);
	return (above - below) / (2 * step);
}

static void test_gradients_of_the_definition(void **state UNUSED)
{
	for (int way = 0; way < 16; way++) {
		const enum map_cut cut = way & 1 ? MAP_CUT_HALVES : MAP_CUT_PE;
		struct call c = make(6, 10, way & 4 ? H : 1, cut, way >> 1 & 1, way < 8);
		const int n_input = c.in[4] ? 5 : 4;
		rig_begin(&rig, TAPE_RECORD);
		mapped(&rig.tape, &c);
		tape_backward(&rig.tape);
		double wrong = 0, size = 0;
		for (int i = 0; i < n_input; i++)
			for (long n = 0; n < tensor_n_row(c.in[i]) * c.in[i]->C; n++) {
				const double numeric = definition_difference(&c, c.in[i]->x + n);
				wrong += pow((double)c.in[i]->dx[n] - numeric, 2), size += numeric * numeric;
			}
		const double error = sqrt(wrong / size);
		worst_of_all = fmax(worst_of_all, error);
		if (!(error < MOST_ERROR))
			fail_msg("the map's gradient, way %d: relative error %.3g", way, error);
		// And with every operand alone, the sum over the others being no cover for it.
		const struct gradient_check check = {.value = mapped, .context = &c, .input = c.in, .n_input = n_input};
		assert_true(gradient_error(&rig, &check) < MOST_ERROR);
	}
}

// b moves all scores of a row alike, and so do the numbers of the query's position: no gradient but through the gain.
static void what_cancels_has_no_gradient(void **state UNUSED)
{
	struct call c = make(6, 10, H, MAP_CUT_PE, 1, 1);
	rig_begin(&rig, TAPE_RECORD);
	mapped(&rig.tape, &c);
	tape_backward(&rig.tape);
	const struct tensor *w = c.in[3], *b = c.in[4];
	for (int h = 0; h < H; h++) {
		assert_true(fabs((double)b->dx[h]) < MOST_ROUNDING);
		for (int n = 1; n < 6; n++) // six numbers of the query: all as the gain's
			assert_true((double)w->dx[h * 10 + n] == (double)w->dx[h * 10]);
		assert_true(fabs((double)(w->dx[h * 10] - w->dx[h * 10 + 6])) > 1e-6);
	}
}

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	printf("# worst relative error of a map's gradient: %.2e\n", worst_of_all);
	rig_release(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_against_the_definition),
	        cmocka_unit_test(test_gradients_of_the_definition),
	        cmocka_unit_test(what_cancels_has_no_gradient),
	};
	return cmocka_run_group_tests_name("gradients of the 2D position map", tests, setup, teardown);
}
