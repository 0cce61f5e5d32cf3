// SPDX-License-Identifier: MIT
// The head and its loss in chunks of rows against the two ops that hold all logits: the same bits of loss, hits and
// gradients, below and above a chunk, on any number of threads; and against a plain loop in double.
#include <math.h>
#include <string.h>

#include "tests/num/rig.h"
#include "tests/test.h"

RIG_FIXTURE;

struct subject {
	struct tensor *x, *w, *b;
	int *targets;
	long m;
};

static struct subject subject(int B, int T, int n_vocab, int width, int has_bias)
{
	struct subject s = {.m = (long)B * T};
	s.x = rig_tensor(&rig, B, T, width);
	s.w = rig_tensor(&rig, 1, n_vocab, width);
	s.b = has_bias ? rig_tensor(&rig, 1, 1, n_vocab) : NULL;
	s.targets = rig_tokens(&rig, B * T, n_vocab);
	for (long i = 3; i < s.m; i += 7)
		s.targets[i] = -1;
	return s;
}

struct outcome {
	struct loss loss;
	double *row;
	real *dx, *dw, *db;
	size_t step_bytes, scratch_bytes; // most in use
};

static size_t tensor_bytes(const struct tensor *t)
{
	return (size_t)tensor_n_row(t) * (size_t)t->C * sizeof(real);
}

static real *copy_gradient(const struct tensor *t)
{
	return t ? memcpy(arena_alloc(&rig.memory, tensor_bytes(t)), t->dx, tensor_bytes(t)) : NULL;
}

// live: gradients hold something before, as a tied table's may.
static struct outcome run(struct subject *s, int is_fused, enum tape_mode mode, int n_thread, int live)
{
	struct outcome o = {.row = arena_alloc(&rig.memory, (size_t)s->m * sizeof(double))};
	struct tensor *all[] = {s->x, s->w, s->b};
	rig_begin(&rig, mode);
	rig.step.peak_bytes = rig.scratch.peak_bytes = 0;
	rig.tape.n_thread = n_thread;
	for (int i = 0; i < 3; i++) {
		for (size_t j = 0; all[i] && j < tensor_bytes(all[i]) / sizeof(real); j++)
			all[i]->dx[j] = live ? (real)0.25 : (real)NAN;
		if (all[i])
			all[i]->is_live = live;
	}
	if (is_fused)
		o.loss = op_linear_cross_entropy(&rig.tape, s->x, s->w, s->b, s->targets, o.row);
	else
		o.loss = op_cross_entropy(&rig.tape, op_linear(&rig.tape, s->x, s->w, s->b), s->targets, o.row);
	if (mode == TAPE_RECORD)
		tape_backward(&rig.tape);
	o.dx = copy_gradient(s->x), o.dw = copy_gradient(s->w), o.db = copy_gradient(s->b);
	o.step_bytes = rig.step.peak_bytes, o.scratch_bytes = rig.scratch.peak_bytes;
	assert_int_equal(rig.scratch.used_bytes, 0);
	return o;
}

static void assert_same(const struct subject *s, const struct outcome *a, const struct outcome *b)
{
	assert_memory_equal(&a->loss.mean, &b->loss.mean, sizeof(double));
	assert_true(a->loss.n == b->loss.n && a->loss.hits == b->loss.hits);
	assert_memory_equal(a->row, b->row, (size_t)s->m * sizeof(double));
	assert_memory_equal(a->dx, b->dx, tensor_bytes(s->x));
	assert_memory_equal(a->dw, b->dw, tensor_bytes(s->w));
	if (s->b)
		assert_memory_equal(a->db, b->db, tensor_bytes(s->b));
}

// B, T, n_vocab, width: of one chunk; of a whole number of them; with a short last one; wider than a chunk's limit.
static const int shapes[][4] = {{2, 9, 33, 12}, {8, 64, 5000, 20}, {5, 131, 8200, 17}, {3, 99, 30011, 9}};

static void the_same_bits_as_two_ops(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		for (int live = 0; live < 2; live++) {
			struct subject s = subject(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], live);
			const struct outcome two = run(&s, 0, TAPE_RECORD, 1, live);
			for (int n_thread = 1; n_thread <= 3; n_thread++) {
				const struct outcome one = run(&s, 1, TAPE_RECORD, n_thread, live);
				assert_same(&s, &one, &two);
			}
			const struct outcome alone = run(&s, 1, TAPE_RUN, 2, live);
			assert_memory_equal(&alone.loss.mean, &two.loss.mean, sizeof(double));
			assert_memory_equal(alone.row, two.row, (size_t)s.m * sizeof(double));
			for (size_t j = 0; j < tensor_bytes(s.w) / sizeof(real); j++) // nothing written
				assert_true(live ? alone.dw[j] == (real)0.25 : isnan((double)alone.dw[j]));
		}
}

static void rows_are_those_of_a_plain_loop(void **state UNUSED)
{
	struct subject s = subject(2, 150, 9001, 6, 1);
	const struct outcome o = run(&s, 1, TAPE_RECORD, 2, 0);
	double mean = 0;
	long n = 0, hits = 0;
	double *logit = arena_alloc(&rig.memory, 9001 * sizeof(double));
	for (long i = 0; i < s.m; i++) {
		double sum = 0;
		int best = 0;
		for (int v = 0; v < 9001; v++) {
			logit[v] = (double)s.b->x[v];
			for (int c = 0; c < 6; c++)
				logit[v] += (double)s.x->x[i * 6 + c] * (double)s.w->x[v * 6 + c];
			sum += exp(logit[v]);
			best = logit[v] > logit[best] ? v : best;
		}
		const double expected = s.targets[i] < 0 ? 0 : log(sum) - logit[s.targets[i]];
		assert_true(fabs(o.row[i] - expected) < 1e-5);
		n += s.targets[i] >= 0;
		hits += s.targets[i] == best;
		mean += expected;
	}
	assert_true(o.loss.n == n && o.loss.hits == hits);
	assert_true(fabs(o.loss.mean - mean / (double)n) < 1e-5);
}

static void logits_of_all_rows_are_never_held(void **state UNUSED)
{
	struct subject s = subject(16, 128, 20000, 4, 0);
	const struct outcome two = run(&s, 0, TAPE_RECORD, 2, 0), one = run(&s, 1, TAPE_RECORD, 2, 0);
	const size_t logits = (size_t)s.m * 20000 * sizeof(real);
	assert_true(two.step_bytes > 2 * logits);
	assert_true(one.step_bytes + one.scratch_bytes < logits / 4);
	assert_same(&s, &one, &two);
}

// A NaN in a row is no hit and reaches the loss, wherever it stands.
static void a_nan_reaches_the_loss(void **state UNUSED)
{
	for (int at = 0; at < 40; at += 13) {
		struct subject s = subject(1, 5, 40, 3, 1);
		s.b->x[at] = (real)NAN;
		const struct outcome o = run(&s, 1, TAPE_RUN, 1, 0);
		assert_true(isnan(o.loss.mean) && o.loss.hits == 0 && isnan(o.row[0]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_same_bits_as_two_ops),
	        cmocka_unit_test(rows_are_those_of_a_plain_loop),
	        cmocka_unit_test(logits_of_all_rows_are_never_held),
	        cmocka_unit_test(a_nan_reaches_the_loss),
	};
	return cmocka_run_group_tests_name("loss", tests, setup, teardown);
}
