// SPDX-License-Identifier: MIT
// Ops that look into the heads of a row: values against plain loops, gradients against central differences. Operands
// are also taken as views, shared between heads and used twice.
#include <math.h>
#include <stdio.h>

#include "tests/num/gradient.h"
#include "tests/test.h"

#define MOST_ERROR 1e-6
#define MOST_ROUNDING 1e-12
enum { INPUTS = 4 };

static struct rig rig;
static double worst_of_all;

struct operands {
	struct tensor *in[INPUTS]; // ends with NULL
	int n_head, n_matrix, is_transposed, is_view;
	const int *index;
	int n;
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

static double at(const struct tensor *t, int b, int i, int c)
{
	return (double)t->x[b * t->b_stride + i * t->t_stride + c];
}

// The operand itself, or, as a variant may hand it over: of a wider tensor the columns after the first two, of a
// longer one the rows after the first.
static struct tensor *as_columns(struct tape *tape, struct tensor *t, int is_view)
{
	return is_view ? tensor_columns(tape, t, 2, t->C - 2) : t;
}

static struct tensor *as_rows(struct tape *tape, struct tensor *t, int is_view)
{
	return is_view ? tensor_rows(tape, t, 1, t->T - 1) : t;
}

// --- a matrix per head ---------------------------------------------------------------------------------------------
static struct tensor *run_linear_heads(struct tape *tape, struct operands *o)
{
	struct tensor *x = as_rows(tape, as_columns(tape, o->in[0], o->is_view), o->is_view > 1);
	return op_linear_heads(tape, x, o->in[1], o->n_head, o->n_matrix, o->is_transposed);
}

static double linear_heads(struct tape *tape, void *context)
{
	return gradient_project(tape, run_linear_heads(tape, context), 0);
}

// The input and the matrices serve again.
static double linear_heads_twice(struct tape *tape, void *context)
{
	struct operands *o = context;
	const double once = linear_heads(tape, context);
	struct tensor *again = op_linear_heads(tape, o->in[2], o->in[1], o->n_head, o->n_matrix, !o->is_transposed);
	return once + gradient_project(tape, again, 1) + gradient_project(tape, o->in[0], 2);
}

static void test_linear_heads_values(struct operands *o)
{
	rig_begin(&rig, TAPE_RUN);
	const struct tensor *y = run_linear_heads(&rig.tape, o), *w = o->in[1];
	const int left = o->is_view ? 2 : 0, top = o->is_view > 1 ? 1 : 0, n_out = w->T / o->n_matrix;
	const int from = o->is_transposed ? n_out : w->C, to = o->is_transposed ? w->C : n_out;
	assert_int_equal(y->C, o->n_head * to);
	for (int b = 0; b < y->B; b++)
		for (int t = 0; t < y->T; t++)
			for (int c = 0; c < y->C; c++) {
				const int h = c / to, first = h / (o->n_head / o->n_matrix) * n_out;
				double sum = 0;
				for (int i = 0; i < from; i++)
					sum += at(o->in[0], b, top + t, left + h * from + i) *
					       (o->is_transposed ? at(w, 0, first + i, c % to)
					                         : at(w, 0, first + c % to, i));
				assert_true(fabs(sum - at(y, b, t, c)) < MOST_ROUNDING * from);
			}
}

static void test_linear_heads(void **state UNUSED)
{
	// heads, matrices, rows and columns of a matrix
	static const int shape[][4] = {{1, 1, 1, 1}, {4, 4, 3, 5}, {4, 2, 5, 3}, {6, 1, 9, 17}, {2, 2, 16, 8}};
	for (int i = 0; i < 5; i++)
		for (int transposed = 0; transposed < 2; transposed++)
			for (int view = 0; view < 3; view++) {
				const int *s = shape[i];
				struct operands o = {.n_head = s[0], .n_matrix = s[1], .is_transposed = transposed};
				const int from = s[0] * (transposed ? s[2] : s[3]),
				          to = s[0] * (transposed ? s[3] : s[2]);
				o.is_view = view;
				o.in[0] = rig_tensor(&rig, 2, 3 + (view > 1), from + (view ? 2 : 0));
				o.in[1] = rig_tensor(&rig, 1, s[1] * s[2], s[3]);
				test_linear_heads_values(&o);
				expect_right("linear_heads", linear_heads, &o);
				o.in[2] = rig_tensor(&rig, 2, 3, to);
				expect_right("linear_heads, used twice", linear_heads_twice, &o);
			}
}

// --- columns -------------------------------------------------------------------------------------------------------
static struct tensor *run_join(struct tape *tape, struct operands *o)
{
	struct tensor *a = as_columns(tape, o->in[0], o->is_view), *b = as_rows(tape, o->in[1], o->is_view);
	return op_join(tape, a, b, o->n_head, o->n);
}

static double join(struct tape *tape, void *context)
{
	return gradient_project(tape, run_join(tape, context), 0);
}

static double join_used_again(struct tape *tape, void *context)
{
	struct operands *o = context;
	return gradient_project(tape, o->in[0], 1) + join(tape, context) + gradient_project(tape, o->in[1], 2);
}

static void test_join(void **state UNUSED)
{
	static const int shape[][3] = {{1, 1, 1}, {3, 4, 2}, {4, 8, 16}, {2, 5, 9}}; // heads, width of a, of b
	for (int i = 0; i < 4; i++)
		for (int way = 0; way < 4; way++) {
			const int H = shape[i][0], d_a = shape[i][1], d_b = shape[i][2], view = way / 2;
			struct operands o = {.n_head = H, .n = way % 2 ? 1 : H, .is_view = view};
			o.in[0] = rig_tensor(&rig, 2, 3, H * d_a + 2 * view);
			o.in[1] = rig_tensor(&rig, 2, 3 + view, o.n * d_b);
			rig_begin(&rig, TAPE_RUN);
			const struct tensor *y = run_join(&rig.tape, &o);
			for (int c = 0; c < y->C; c++)
				for (int row = 0; row < 6; row++) {
					const int b = row / 3, t = row % 3, h = c / (d_a + d_b), j = c % (d_a + d_b);
					const double right =
					        j < d_a ? at(o.in[0], b, t, 2 * view + h * d_a + j)
					                : at(o.in[1], b, t + view, (o.n == 1 ? 0 : h) * d_b + j - d_a);
					assert_true(at(y, b, t, c) == right);
				}
			expect_right("join", join, &o);
			expect_right("join of tensors that are used again", join_used_again, &o);
		}
}

static double columns(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *x = as_rows(tape, as_columns(tape, o->in[0], o->is_view), o->is_view);
	return gradient_project(tape, op_columns(tape, x, o->n, o->index), 0);
}

static void test_columns(void **state UNUSED)
{
	static const int index[] = {4, 5, 6, 0, 6, 6, 2, 1, 0}; // in runs, alone, back and forth, three times
	for (int view = 0; view < 2; view++) {
		struct operands o = {{rig_tensor(&rig, 2, 3 + view, 8 + 2 * view)}};
		o.is_view = view, o.index = index, o.n = 9;
		rig_begin(&rig, TAPE_RUN);
		struct tensor *x = as_rows(&rig.tape, as_columns(&rig.tape, o.in[0], view), view);
		const struct tensor *y = op_columns(&rig.tape, x, 9, index);
		for (int c = 0; c < 9; c++)
			for (int row = 0; row < 6; row++)
				assert_true(at(y, row / 3, row % 3, c) == at(x, row / 3, row % 3, index[c]));
		expect_right("columns", columns, &o);
	}
}

// --- rotary positions of a part of each head -------------------------------------------------------------------------
static double turn_and_back(struct tape *tape, void *context)
{
	struct operands *o = context;
	struct tensor *x = as_columns(tape, o->in[0], o->is_view);
	struct rope turn = {.n_head = 2, .from = 1, .n_rotary = 4, .n_ladder = 10, .base = 100, .first = 3};
	turn.halves = o->n;
	struct tensor *there = op_rope(tape, x, &turn);
	turn.backwards = 1;
	struct tensor *back = op_rope(tape, there, &turn);
	double off = 0;
	for (int row = 0; row < 6; row++)
		for (int c = 0; c < x->C; c++)
			off = fmax(off, fabs(at(back, row / 3, row % 3, c) - at(x, row / 3, row % 3, c)));
	assert_true(off < MOST_ROUNDING);
	return gradient_project(tape, there, 0) + gradient_project(tape, back, 1);
}

static void test_rope(void **state UNUSED)
{
	for (int way = 0; way < 4; way++) {
		struct operands o = {{rig_tensor(&rig, 2, 3, 14 + way / 2 * 2)}};
		o.n = way % 2, o.is_view = way / 2;
		expect_right("rope of a part, there and back", turn_and_back, &o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_linear_heads),
	        cmocka_unit_test(test_join),
	        cmocka_unit_test(test_columns),
	        cmocka_unit_test(test_rope),
	};
	return cmocka_run_group_tests_name("gradients of ops that look into heads", tests, setup, teardown);
}
