// SPDX-License-Identifier: MIT
// The update in a captured step: what is decided on the device against what the host decides of the same numbers, the
// bits of slots called one by one, and nothing touched where a loss or the norm is not finite.
#include <math.h>
#include <string.h>

#include "tests/num/cuda_rig.h"
#include "tests/test.h"

enum { ROWS = 3, VOCAB = 5, N = 700, HALF = 300, STEPS = 4 };
enum { X, M, V, N_STATE };
static struct cuda_rig rig;
static struct rng rng;

// Weights and moments; the first HALF numbers decay.
struct state {
	real *at[N_STATE];
};

static struct state state_new(void)
{
	struct state s;
	for (int i = 0; i < N_STATE; i++) {
		real made[N];
		for (int j = 0; j < N; j++)
			made[j] = (real)(i == V ? rng_uniform(&rng) : rng_normal(&rng));
		s.at[i] = cuda_bytes(&rig, made, sizeof(made));
	}
	return s;
}

static struct state state_copy(const struct state *of)
{
	struct state s;
	for (int i = 0; i < N_STATE; i++) {
		s.at[i] = arena_alloc(&rig.memory, N * sizeof(real));
		rig.exact->move(cuda_exec(&rig), s.at[i], of->at[i], N * sizeof(real));
	}
	return s;
}

static int is_same(const struct state *a, const struct state *b)
{
	for (int i = 0; i < N_STATE; i++) {
		real x[N], y[N];
		rig.exact->download(cuda_exec(&rig), x, a->at[i], sizeof(x));
		rig.exact->download(cuda_exec(&rig), y, b->at[i], sizeof(y));
		if (memcmp(x, y, sizeof(x)))
			return 0;
	}
	return 1;
}

static void adam_of(const struct state *s, const real *dx, struct adam a)
{
	rig.exact->adam(cuda_exec(&rig), s->at[X], s->at[M], s->at[V], dx, HALF, &a);
	a.weight_decay = 0;
	rig.exact->adam(cuda_exec(&rig), s->at[X] + HALF, s->at[M] + HALF, s->at[V] + HALF, dx + HALF, N - HALF, &a);
}

static const struct adam settings = {
        .lr = 1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .step = 1, .grad_scale = 1};

// What a step finds; `bad` is put into the logits or into the gradient.
static const struct situation {
	const char *what;
	double clip;
	real bad_logit, bad_gradient;
	int is_skipped;
} situations[] = {
        {"no clipping", 0, 0, 0, 0},
        {"clipped", 0.5, 0, 0, 0},
        {"below clip", 1e6, 0, 0, 0},
        {"NaN in the logits", 0, NAN, 0, 1},
        {"NaN in the logits, clipped", 0.5, NAN, 0, 1},
        {"a gradient of infinity", 0.5, 0, INFINITY, 1},
        {"a gradient that is NaN", 1e6, 0, NAN, 1},
};

static void check(const struct situation *how)
{
	const struct graph_slots *slots = rig.exact->graph;
	const struct exec *exec = cuda_exec(&rig);
	static const int targets[ROWS] = {1, -1, 4};
	real logits[ROWS * VOCAB], gradient[N];
	double loss[ROWS], norm = 0;
	int hit[ROWS];
	struct err err = {0};
	cuda_begin(&rig);
	for (int i = 0; i < ROWS * VOCAB; i++)
		logits[i] = (real)rng_normal(&rng);
	logits[VOCAB - 1] += how->bad_logit;
	real *logits_at = cuda_bytes(&rig, logits, sizeof(logits)), *dx = arena_alloc(&rig.memory, N * sizeof(real));
	const struct state played = state_new(), called = state_copy(&played), begin = state_copy(&played);
	slots->begin(exec);
	rig.exact->cross_entropy(exec, loss, hit, NULL, logits_at, targets, ROWS, VOCAB, 0.5);
	if (how->clip > 0)
		assert_true(rig.exact->sum_squares(exec, dx, N) == 0);
	adam_of(&played, dx, settings);
	struct graph *graph = slots->end(exec, &err);
	if (!graph)
		fail_msg("%s: %s", how->what, err.message);
	assert_true(is_same(&played, &begin)); // it was taken down, not run
	for (long step = 5; step < 5 + STEPS; step++) {
		double squares = 0;
		struct adam adam = settings;
		for (int i = 0; i < N; i++)
			gradient[i] = (real)rng_normal(&rng);
		gradient[N - 1] += how->bad_gradient;
		for (int i = 0; i < N; i++)
			squares += (double)gradient[i] * (double)gradient[i];
		rig.exact->upload(exec, dx, gradient, sizeof(gradient));
		const struct graph_training what = {.targets = targets,
		        .n_target = ROWS,
		        .lr = 0.01 / (double)step,
		        .clip = how->clip,
		        .step = step,
		        .loss = loss,
		        .hit = hit,
		        .norm = &norm};
		slots->play_training(exec, graph, &what);
		if (how->clip > 0 && isfinite(squares))
			assert_true(fabs(norm - sqrt(squares)) <= 1e-12 * norm);
		assert_int_equal(isfinite(norm), !how->clip || isfinite(squares));
		assert_int_equal(isfinite(loss[0]), isfinite(how->bad_logit));
		adam.lr = what.lr, adam.step = step;
		if (how->clip > 0 && norm > how->clip)
			adam.grad_scale = how->clip / norm;
		if (!how->is_skipped)
			adam_of(&called, dx, adam);
		if (!is_same(&played, &called))
			fail_msg("%s: step %ld played has other bits than its slots", how->what, step);
		assert_int_equal(is_same(&played, &begin), how->is_skipped);
	}
	slots->release(graph);
}

static void test_it_decides_as_the_host_does(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(situations) / sizeof(*situations); i++)
		check(&situations[i]);
}

static void test_what_it_cannot_take_is_refused(void **state UNUSED)
{
	const struct graph_slots *slots = rig.exact->graph;
	const struct exec *exec = cuda_exec(&rig);
	struct err err = {0};
	cuda_begin(&rig);
	const struct state s = state_new();
	struct adam a = settings;
	slots->begin(exec);
	for (int i = 0; i < 9; i++, a.weight_decay += 0.1)
		rig.exact->adam(exec, s.at[X], s.at[M], s.at[V], s.at[X], N, &a);
	assert_null(slots->end(exec, &err));
	assert_non_null(strstr(err.message, "cannot be part of a graph"));
	err = (struct err){0};
	slots->begin(exec);
	rig.exact->sum_squares(exec, s.at[X], N);
	rig.exact->sum_squares(exec, s.at[M], N);
	assert_null(slots->end(exec, &err));
	assert_true(rig.exact->sum_squares(exec, s.at[X], N) > 0); // and slots are as they were
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_it_decides_as_the_host_does),
	        cmocka_unit_test(test_what_it_cannot_take_is_refused),
	};
	rng = rig_rng(&rig.host);
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
