// SPDX-License-Identifier: MIT
// Adam and AdamW with clipping and schedules against PyTorch, and the schedules against their definition.
#include "harness/model/optimizer.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/num/rig.h"
#include "tests/test.h"

// Five updates of numbers of size 1 in float; the goldens are of double precision.
static const double TRAINING_ROUNDING = 32;

enum { MATRIX = 6, VECTOR = 4, N = MATRIX + VECTOR, AT_VECTOR = 16, PADDED = 32, STEPS = 5 };

struct golden {
	int schedule;
	double weight_decay, clip, result[N];
};

static const struct golden goldens[] = {
#include "tests/fixtures/optimizer.inc"
};

RIG_FIXTURE;

// A matrix (2, 3) that decays and a vector (4) that does not, in a block like a model's.
struct block {
	struct model model;
	struct model_param param[2];
	real x[PADDED], dx[PADDED];
};

static struct block *make_block(void)
{
	struct block *b = arena_zalloc(&rig.memory, sizeof(*b));
	b->param[0].tensor = (struct tensor){.B = 1, .T = 2, .C = 3, .x = b->x, .dx = b->dx};
	b->param[0].decays = 1;
	b->param[1].tensor = (struct tensor){.B = 1, .T = 1, .C = 4, .x = b->x + AT_VECTOR, .dx = b->dx + AT_VECTOR};
	b->model = (struct model){.home = &backend_cpu,
	        .n_param = 2,
	        .param = b->param,
	        .n_number = N,
	        .n_padded = PADDED,
	        .n_trained = PADDED,
	        .x = b->x,
	        .dx = b->dx};
	for (int i = 0; i < N; i++)
		b->x[i < MATRIX ? i : AT_VECTOR + i - MATRIX] = (real)sin(1.0 + i);
	return b;
}

static double set_gradient(struct block *b, int step)
{
	double squares = 0;
	for (int i = 0; i < N; i++) {
		const double g = 3 * cos(0.7 * step + 1.3 * i);
		b->dx[i < MATRIX ? i : AT_VECTOR + i - MATRIX] = (real)g;
		squares += g * g;
	}
	return sqrt(squares);
}

static void updates_are_those_of_pytorch(void **state UNUSED)
{
	for (size_t g = 0; g < sizeof(goldens) / sizeof(*goldens); g++) {
		const struct golden *golden = &goldens[g];
		const struct optimizer_config config = {.lr = 0.01,
		        .lr_floor = 0.001,
		        .beta1 = 0.9,
		        .beta2 = 0.99,
		        .eps = 1e-6,
		        .weight_decay = golden->weight_decay,
		        .clip = golden->clip,
		        .schedule = golden->schedule,
		        .warmup = 2,
		        .steps = STEPS};
		struct block *b = make_block();
		struct optimizer o;
		optimizer_init(&o, &config, &b->model, &rig.memory);
		for (int step = 1; step <= STEPS; step++) {
			const double norm = set_gradient(b, step);
			const double told = optimizer_step(&o, &b->model, step, rig_exec(&rig), &backend_cpu);
			assert_true(fabs(told - (config.clip > 0 ? norm : 0)) <= 1e-6 * norm); // before clipping
		}
		for (int i = 0; i < N; i++) {
			const double got = (double)b->x[i < MATRIX ? i : AT_VECTOR + i - MATRIX];
			if (!(fabs(got - golden->result[i]) <= TRAINING_ROUNDING * FLT_EPSILON))
				fail_msg("row %zu, number %d: %.9f, PyTorch has %.9f", g, i, got, golden->result[i]);
		}
		for (int i = MATRIX; i < AT_VECTOR; i++) // padding stays what it was
			assert_true(b->x[i] == 0 && b->x[AT_VECTOR + i] == 0);
	}
}

static void clipping_leaves_short_gradients_alone(void **state UNUSED)
{
	struct block *with = make_block(), *without = make_block();
	struct optimizer_config config = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-6};
	struct optimizer a, b;
	optimizer_init(&a, &config, &without->model, &rig.memory);
	config.clip = set_gradient(without, 1) * 1.001;
	set_gradient(with, 1);
	optimizer_init(&b, &config, &with->model, &rig.memory);
	optimizer_step(&a, &without->model, 1, rig_exec(&rig), &backend_cpu);
	optimizer_step(&b, &with->model, 1, rig_exec(&rig), &backend_cpu);
	assert_memory_equal(with->x, without->x, sizeof(with->x));
}

static void a_norm_that_is_not_finite_updates_nothing(void **state UNUSED)
{
	const struct optimizer_config config = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-6, .clip = 1};
	struct block *b = make_block(), *before = make_block();
	struct optimizer o;
	optimizer_init(&o, &config, &b->model, &rig.memory);
	set_gradient(b, 1);
	b->model.dx[0] = INFINITY;
	assert_false(isfinite(optimizer_step(&o, &b->model, 1, rig_exec(&rig), &backend_cpu)));
	assert_memory_equal(b->x, before->x, sizeof(b->x));
	for (long i = 0; i < o.n_moment; i++)
		assert_true(o.m[i] == 0 && o.v[i] == 0);
}

static void assert_lr(const struct optimizer_config *c, long step, double lr)
{
	assert_true(fabs(optimizer_lr(c, step) - lr) < 1e-15);
}

static void test_schedules(void **state UNUSED)
{
	struct optimizer_config c = {
	        .lr = 0.5, .lr_floor = 0.1, .warmup = 10, .steps = 110, .schedule = SCHEDULE_CONSTANT};
	for (int schedule = SCHEDULE_CONSTANT; schedule <= SCHEDULE_COSINE; schedule++) {
		c.schedule = schedule;
		assert_lr(&c, 1, 0.05);
		assert_lr(&c, 5, 0.25);
		assert_lr(&c, 10, 0.5);
		// Half way, and at the end.
		assert_lr(&c, 60, schedule == SCHEDULE_CONSTANT ? 0.5 : 0.3);
		assert_lr(&c, 110, schedule == SCHEDULE_CONSTANT ? 0.5 : 0.1);
		for (long step = 11; step <= 110; step++)
			assert_true(optimizer_lr(&c, step) <= optimizer_lr(&c, step - 1));
	}
	c.schedule = SCHEDULE_LINEAR;
	assert_lr(&c, 35, 0.4);
	c.schedule = SCHEDULE_COSINE;
	assert_lr(&c, 35, 0.1 + 0.4 * 0.5 * (1 + sqrt(0.5)));
	c.warmup = 0;
	c.schedule = SCHEDULE_CONSTANT;
	assert_lr(&c, 1, 0.5);
	c.warmup = c.steps = 4; // nothing but warm-up
	c.schedule = SCHEDULE_LINEAR;
	assert_lr(&c, 4, 0.5);
}

// Papers C and D: lr/2 (1 + cos(pi t / steps)) times t / warmup up to t = warmup, t from 0 (reference D.2).
static void a_cosine_of_all_steps_times_the_warm_up(void **state UNUSED)
{
	struct optimizer_config c = {.lr = 0.5, .warmup = 5, .steps = 100, .schedule = SCHEDULE_COSINE_PRODUCT};
	const double pi = acos(-1);
	assert_lr(&c, 1, 0);
	assert_lr(&c, 2, 0.25 * (1 + cos(pi / 100)) / 5);
	assert_lr(&c, 5, 0.25 * (1 + cos(pi * 0.04)) * 0.8);
	assert_lr(&c, 6, 0.25 * (1 + cos(pi * 0.05)));
	assert_lr(&c, 51, 0.25);
	assert_lr(&c, 100, 0.25 * (1 + cos(pi * 0.99)));
	c.warmup = 0;
	assert_lr(&c, 1, 0.5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(updates_are_those_of_pytorch),
	        cmocka_unit_test(clipping_leaves_short_gradients_alone),
	        cmocka_unit_test(a_norm_that_is_not_finite_updates_nothing),
	        cmocka_unit_test(test_schedules),
	        cmocka_unit_test(a_cosine_of_all_steps_times_the_warm_up),
	};
	return cmocka_run_group_tests_name("optimizer", tests, setup, teardown);
}
