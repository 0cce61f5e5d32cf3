// SPDX-License-Identifier: MIT
// The gradient of every op but attention (grad_attention.c), each operand at odd shapes, used once, twice, as a view.
#include <math.h>
#include <stdio.h>

#include "tests/num/gradient.h"
#include "tests/test.h"

#define MOST_ERROR 1e-6
enum { INPUTS = 8 };

static struct rig rig;
static double worst_of_all;

struct operands {
	struct tensor *in[INPUTS]; // ends with NULL
	const int *tokens;
	int first, n;
	double p;
	struct rope rope;
};

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	printf("# worst relative error of an op's gradient: %.2e\n", worst_of_all);
	rig_release(&rig);
	return 0;
}

static void expect_right(const char *what, double (*value)(struct tape *, void *), struct operands *o)
{
	struct gradient_check check = {.value = value, .context = o, .input = o->in};
	while (check.n_input < INPUTS && o->in[check.n_input])
		check.n_input++;
	const double error = gradient_error(&rig, &check);
	worst_of_all = fmax(worst_of_all, error);
	if (!(error < MOST_ERROR))
		fail_msg("gradient of %s: relative error %.3g", what, error);
}

// --- linear --------------------------------------------------------------------------------------------------------
static double linear(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, op_linear(tape, o->in[0], o->in[1], o->in[2]), 0);
}

static void test_linear(void **state UNUSED)
{
	static const int shape[][4] = {{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 11, 17, 9}, {1, 13, 8, 33}};
	for (int i = 0; i < 4; i++) {
		const int *s = shape[i];
		struct operands o = {{rig_tensor(&rig, s[0], s[1], s[2]), rig_tensor(&rig, 1, s[3], s[2])}};
		expect_right("linear without bias", linear, &o);
		o.in[2] = rig_tensor(&rig, 1, 1, s[3]);
		expect_right("linear", linear, &o);
	}
}

// n matrices (rows, columns) that follow each other in memory, as a model's parameters do.
static void neighbours(struct tensor **t, int n, const int *rows, int columns)
{
	int all = 0;
	for (int i = 0; i < n; i++)
		all += rows[i];
	struct tensor *block = rig_tensor(&rig, 1, all, columns);
	for (int i = 0, at = 0; i < n; at += rows[i++] * columns) {
		t[i] = arena_alloc(&rig.memory, sizeof(*t[i]));
		*t[i] = (struct tensor){
		        .B = 1, .T = rows[i], .C = columns, .b_stride = rows[i] * columns, .t_stride = columns};
		t[i]->x = block->x + at, t[i]->dx = block->dx + at;
	}
}

// in: x, w0, w1, w2, b0, b2 (w1 has none). Every output is used.
static double linear_three(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *y[3], *x = o->in[0];
	const struct linear_map map[] = {{x, o->in[1], o->in[4]}, {x, o->in[2], NULL}, {x, o->in[3], o->in[5]}};
	op_linear_many(tape, 3, map, y);
	double sum = 0;
	for (int i = 0; i < 3; i++)
		sum += gradient_project(tape, y[i], (uint64_t)i);
	return sum;
}

// The middle output is not used, and w1 is used again by a product of its own.
static double linear_gaps(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *y[3], *x = o->in[0];
	const struct linear_map map[] = {{x, o->in[1], o->in[4]}, {x, o->in[2], NULL}, {x, o->in[3], o->in[5]}};
	op_linear_many(tape, 3, map, y);
	double sum = gradient_project(tape, y[0], 0) + gradient_project(tape, y[2], 2);
	return sum + gradient_project(tape, op_linear(tape, x, o->in[2], NULL), 1);
}

// The first map reads another input (as when only some queries are wanted), the others share one; w0 serves twice.
static double linear_inputs(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *y[4], *x = o->in[0], *some = op_rows(tape, x, 1, x->T - 1);
	const struct linear_map map[] = {
	        {some, o->in[1], o->in[4]}, {x, o->in[2], NULL}, {x, o->in[3], o->in[5]}, {some, o->in[1], NULL}};
	op_linear_many(tape, 4, map, y);
	double sum = 0;
	for (int i = 0; i < 4; i++)
		sum += gradient_project(tape, y[i], (uint64_t)i);
	return sum;
}

static void test_linear_many(void **state UNUSED)
{
	const int rows[] = {3, 5, 2};
	struct operands o = {{rig_tensor(&rig, 2, 4, 7)}};
	neighbours(&o.in[1], 3, rows, 7);
	o.in[4] = rig_tensor(&rig, 1, 1, 3), o.in[5] = rig_tensor(&rig, 1, 1, 2);
	expect_right("linear_many of neighbours", linear_three, &o);
	expect_right("linear_many with an output that nobody uses", linear_gaps, &o);
	expect_right("linear_many with two inputs", linear_inputs, &o);
	for (int i = 0; i < 3; i++)
		o.in[1 + i] = rig_tensor(&rig, 1, rows[i], 7);
	expect_right("linear_many of strangers", linear_three, &o);
	expect_right("linear_many of strangers, an output unused", linear_gaps, &o);
	struct tensor *bias[3];
	const int ones[] = {1, 1};
	neighbours(&o.in[1], 3, (const int[]){4, 4, 4}, 7);
	neighbours(bias, 2, ones, 4);
	o.in[4] = bias[0], o.in[5] = bias[1];
	expect_right("linear_many with neighbouring biases", linear_three, &o);
}

// Operands without gradient memory: frozen weights, and data as input.
static void test_linear_frozen(void **state UNUSED)
{
	struct operands o = {{rig_tensor(&rig, 2, 3, 5), rig_tensor(&rig, 1, 4, 5)}};
	for (int i = 0; i < 2; i++) {
		const struct gradient_check check = {.value = linear, .context = &o, .input = &o.in[i], .n_input = 1};
		struct tensor *frozen = o.in[1 - i];
		real *dx = frozen->dx;
		frozen->dx = NULL;
		assert_true(gradient_error(&rig, &check) < MOST_ERROR);
		frozen->dx = dx;
	}
}

// --- embeddings, norms, elementwise ----------------------------------------------------------------------------------
static double embed(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, op_embed(tape, o->tokens, 3, 4, o->in[0], o->in[1], o->first), 0);
}

static void test_embed(void **state UNUSED)
{
	// 12 tokens of 5: some repeat. 17 columns: one part of 16 and a rest.
	struct operands o = {{rig_tensor(&rig, 1, 5, 17)}, .tokens = rig_tokens(&rig, 12, 5)};
	expect_right("embed without positions", embed, &o);
	o.in[1] = rig_tensor(&rig, 1, 9, 17);
	o.first = 3;
	expect_right("embed", embed, &o);
}

static double layernorm(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, op_layernorm(tape, o->in[0], o->in[1], o->in[2], 1e-5), 0);
}

static double rmsnorm(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, op_rmsnorm(tape, o->in[0], o->in[1], 1e-5), 0);
}

static void test_norms(void **state UNUSED)
{
	static const int shape[][3] = {{1, 1, 3}, {2, 3, 5}, {1, 70, 9}, {3, 2, 33}}; // 70 rows: two blocks of sums
	for (int i = 0; i < 4; i++) {
		const int *s = shape[i];
		struct operands o = {{rig_tensor(&rig, s[0], s[1], s[2]), rig_tensor(&rig, 1, 1, s[2])}};
		expect_right("rmsnorm", rmsnorm, &o);
		expect_right("layernorm without bias", layernorm, &o);
		o.in[2] = rig_tensor(&rig, 1, 1, s[2]);
		expect_right("layernorm", layernorm, &o);
	}
}

static double gelu(struct tape *tape, void *context)
{
	return gradient_project(tape, op_unary(tape, ((struct operands *)context)->in[0], UNARY_GELU), 0);
}

static double gelu_new(struct tape *tape, void *context)
{
	return gradient_project(tape, op_unary(tape, ((struct operands *)context)->in[0], UNARY_GELU_NEW), 0);
}

static double relu(struct tape *tape, void *context)
{
	return gradient_project(tape, op_unary(tape, ((struct operands *)context)->in[0], UNARY_RELU), 0);
}

static double swiglu(struct tape *tape, void *context)
{
	return gradient_project(tape, op_swiglu(tape, ((struct operands *)context)->in[0]), 0);
}

static void test_activations(void **state UNUSED)
{
	for (int width = 1; width < 12; width += 5) {
		struct operands o = {{rig_tensor(&rig, 2, 3, width)}};
		expect_right("gelu", gelu, &o);
		expect_right("gelu_new", gelu_new, &o);
		for (int i = 0; i < 6 * width; i++)
			o.in[0]->x[i] += o.in[0]->x[i] < 0 ? (real)-0.01 : (real)0.01; // away from the kink
		expect_right("relu", relu, &o);
		o.in[0] = rig_tensor(&rig, 2, 3, 2 * width);
		expect_right("swiglu", swiglu, &o);
	}
}

static double add(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, op_add(tape, o->in[0], o->in[1]), 0);
}

static double dropout(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *once = op_dropout(tape, o->in[0], o->p); // two sites: two masks
	return gradient_project(tape, op_dropout(tape, op_unary(tape, once, UNARY_GELU), o->p), 0);
}

static double rows(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, op_rows(tape, o->in[0], o->first, 2), 0);
}

static void test_add_dropout_rows(void **state UNUSED)
{
	struct operands o = {{rig_tensor(&rig, 2, 3, 7), rig_tensor(&rig, 2, 3, 7)}};
	expect_right("add", add, &o);
	o.in[1] = NULL;
	for (o.p = 0; o.p < 0.9; o.p += 0.4)
		expect_right("dropout", dropout, &o);
	for (o.first = 0; o.first < 2; o.first++)
		expect_right("rows", rows, &o);
}

static double rope(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, op_rope(tape, o->in[0], &o->rope), 0);
}

static void test_rope(void **state UNUSED)
{
	for (int halves = 0; halves < 2; halves++)
		for (int n_rotary = 2; n_rotary <= 6; n_rotary += 2) {
			struct operands o = {{rig_tensor(&rig, 2, 3, 18)}};
			o.rope = (struct rope){.n_head = 3,
			        .n_rotary = n_rotary,
			        .n_ladder = n_rotary,
			        .base = 100,
			        .first = 5,
			        .halves = halves};
			expect_right("rope", rope, &o);
		}
}

static double cross_entropy(struct tape *tape, void *context)
{
	struct operands *o = context;
	return op_cross_entropy(tape, o->in[0], o->tokens, NULL).mean;
}

static double linear_cross_entropy(struct tape *tape, void *context)
{
	struct operands *o = context;
	return op_linear_cross_entropy(tape, o->in[0], o->in[1], o->in[2], o->tokens, NULL).mean;
}

static void test_linear_cross_entropy(void **state UNUSED)
{
	for (int n_vocab = 2; n_vocab < 40; n_vocab += 11)
		for (int has_bias = 0; has_bias < 2; has_bias++) {
			int *target = rig_tokens(&rig, 6, n_vocab);
			struct operands o = {
			        {rig_tensor(&rig, 2, 3, 5), rig_tensor(&rig, 1, n_vocab, 5)}, .tokens = target};
			if (has_bias)
				o.in[2] = rig_tensor(&rig, 1, 1, n_vocab);
			expect_right("linear cross-entropy", linear_cross_entropy, &o);
			target[0] = target[4] = -1;
			expect_right("linear cross-entropy with targets left out", linear_cross_entropy, &o);
		}
}

static void test_cross_entropy(void **state UNUSED)
{
	for (int n_vocab = 2; n_vocab < 40; n_vocab += 11) {
		int *target = rig_tokens(&rig, 6, n_vocab);
		struct operands o = {{rig_tensor(&rig, 2, 3, n_vocab)}, .tokens = target};
		expect_right("cross-entropy", cross_entropy, &o);
		target[0] = target[4] = -1;
		expect_right("cross-entropy with targets left out", cross_entropy, &o);
	}
}

// --- the same tensor in several places -------------------------------------------------------------------------------
// x is read by a product, by the residual, by a norm and by itself; the weight serves two products.
static double used_twice(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *x = o->in[0], *w = o->in[1];
	struct tensor *y =
	        op_add(tape, x, op_linear(tape, op_unary(tape, op_linear(tape, x, w, NULL), UNARY_GELU), w, NULL));
	y = op_add(tape, y, op_rmsnorm(tape, x, o->in[2], 1e-5));
	y = op_add(tape, op_add(tape, y, y), op_rows(tape, x, 0, x->T));
	return gradient_project(tape, y, 0) + gradient_project(tape, op_rows(tape, x, 1, 1), 1) +
	       gradient_project(tape, x, 2);
}

// Parts of one product's output go different ways: a rotated part, a part with an activation, the whole.
static double column_views(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *whole = op_linear(tape, o->in[0], o->in[1], NULL); // 10 columns
	struct tensor *a = tensor_columns(tape, whole, 0, 4), *b = tensor_columns(tape, whole, 4, 6);
	struct tensor *inner = tensor_columns(tape, b, 1, 3);
	const struct rope turn = {.n_head = 1, .n_rotary = 4, .n_ladder = 4, .base = 10};
	double sum = gradient_project(tape, op_rope(tape, a, &turn), 0);
	sum += gradient_project(tape, op_unary(tape, b, UNARY_GELU), 1);
	sum += gradient_project(tape, op_linear(tape, inner, o->in[2], NULL), 2);
	return sum + gradient_project(tape, op_rmsnorm(tape, whole, o->in[3], 1e-5), 3);
}

static double row_views(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *whole = op_linear(tape, o->in[0], o->in[1], NULL);                            // (2, 5, 4)
	struct tensor *top = tensor_rows(tape, whole, 0, 3), *rest = tensor_rows(tape, whole, 2, 3); // they overlap
	const struct rope turn = {.n_head = 2, .n_rotary = 2, .n_ladder = 2, .base = 10, .halves = 1};
	double sum = gradient_project(tape, op_add(tape, top, rest), 0);
	sum += gradient_project(tape, op_rope(tape, rest, &turn), 1);
	return sum + gradient_project(tape, op_rows(tape, top, 1, 2), 2) + gradient_project(tape, whole, 3);
}

static void test_sharing_and_views(void **state UNUSED)
{
	struct operands twice = {{rig_tensor(&rig, 2, 3, 6), rig_tensor(&rig, 1, 6, 6), rig_tensor(&rig, 1, 1, 6)}};
	expect_right("a graph that uses its inputs twice", used_twice, &twice);
	struct operands columns = {{rig_tensor(&rig, 2, 3, 5), rig_tensor(&rig, 1, 10, 5), rig_tensor(&rig, 1, 4, 3),
	        rig_tensor(&rig, 1, 1, 10)}};
	expect_right("column views", column_views, &columns);
	struct operands rows_of = {{rig_tensor(&rig, 2, 5, 3), rig_tensor(&rig, 1, 4, 3)}};
	expect_right("row views", row_views, &rows_of);
}

// --- the check itself ------------------------------------------------------------------------------------------------
static double spoiled(struct tape *tape, void *context)
{
	struct operands *o = context;
	gradient_spoil(tape, o->in[o->first], 0, o->n, o->p);
	return linear(tape, context);
}

static void planted_errors_are_caught(void **state UNUSED)
{
	struct operands o = {{rig_tensor(&rig, 2, 3, 5), rig_tensor(&rig, 1, 7, 5), rig_tensor(&rig, 1, 1, 7)}};
	const struct gradient_check check = {.value = spoiled, .context = &o, .input = o.in, .n_input = 3};
	o.p = 1;
	assert_true(gradient_error(&rig, &check) < MOST_ERROR);
	const int size[] = {30, 35, 7};
	for (o.first = 0; o.first < 3; o.first++) {
		o.p = 1.002;
		o.n = size[o.first]; // the whole gradient 0.2 % too long: the error is just that
		assert_true(fabs(gradient_error(&rig, &check) - 0.002) < 1e-4);
		o.n = 1; // one number of it
		assert_true(gradient_error(&rig, &check) > MOST_ERROR);
	}
	o.first = 1, o.n = 1, o.p = NAN;
	assert_true(isinf(gradient_error(&rig, &check)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_linear),
	        cmocka_unit_test(test_linear_many),
	        cmocka_unit_test(test_linear_frozen),
	        cmocka_unit_test(test_embed),
	        cmocka_unit_test(test_norms),
	        cmocka_unit_test(test_activations),
	        cmocka_unit_test(test_add_dropout_rows),
	        cmocka_unit_test(test_rope),
	        cmocka_unit_test(test_cross_entropy),
	        cmocka_unit_test(test_linear_cross_entropy),
	        cmocka_unit_test(test_sharing_and_views),
	        cmocka_unit_test(planted_errors_are_caught),
	};
	return cmocka_run_group_tests_name("gradients of ops", tests, setup, teardown);
}
