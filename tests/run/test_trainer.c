// SPDX-License-Identifier: MIT
// Training: it learns, it takes no memory after its first step, and a run that was stopped anywhere ends with the bits
// of one that was not.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/run/run.h"
#include "harness/run/trainer.h"
#include "tests/model/build.h"
#include "tests/num/apart.h"
#include "tests/test.h"

// --- counting the C library's allocations
// ------------------------------------------------------------------------------
static unsigned long n_malloc;

#ifndef __SANITIZE_ADDRESS__ // which brings its own
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);

void *malloc(size_t bytes)
{
	__atomic_add_fetch(&n_malloc, 1, __ATOMIC_RELAXED);
	return __libc_malloc(bytes);
}
void *calloc(size_t n, size_t bytes)
{
	__atomic_add_fetch(&n_malloc, 1, __ATOMIC_RELAXED);
	return __libc_calloc(n, bytes);
}
void *realloc(void *memory, size_t bytes)
{
	__atomic_add_fetch(&n_malloc, 1, __ATOMIC_RELAXED);
	return __libc_realloc(memory, bytes);
}
#endif

static struct arena arena;
static char folder[] = "/tmp/kvlab_trainer_XXXXXX";
static char path[sizeof(folder) + 16];

static const struct optimizer_config adam = {.lr = 0.003, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};

static void no_step_allocates_after_the_first(void **state UNUSED)
{
	static const char *const models[] = {"decoder n_layer=2 d_model=32 n_head=4 d_ff=64 dropout=0.1",
	        "encoder n_layer=1 d_model=24 n_head=2 d_ff=32"};
	for (int i = 0; i < 2; i++)
		for (int n_thread = 1; n_thread <= 2; n_thread++) {
			const struct setup *setup =
			        build_setup(models[i], i ? "mha" : "thin_keys d_select=8", "retrieval", "", &arena);
			struct trainer t;
			trainer_init(&t, setup, &adam, 32, 1, n_thread);
			trainer_step(&t, 1);
			trainer_evaluate(&t, RNG_VALIDATION, 40, NULL);
			const unsigned long run = t.run.n_grow, step = t.work.step.n_grow,
			                    scratch = t.work.scratch.n_grow, used = n_malloc;
			const size_t run_bytes = t.run.used_bytes;
			for (int s = 2; s < 12; s++)
				trainer_step(&t, s);
			trainer_evaluate(&t, RNG_VALIDATION, 40, NULL);
			assert_int_equal(t.run.n_grow, run);
			assert_int_equal(t.work.step.n_grow, step);
			assert_int_equal(t.work.scratch.n_grow, scratch);
			assert_int_equal(t.run.used_bytes, run_bytes);
			assert_int_equal(t.work.scratch.used_bytes, 0);
			assert_int_equal(n_malloc, used);
			trainer_release(&t);
		}
#ifndef __SANITIZE_ADDRESS__
	assert_true(n_malloc > 0); // the count counts
#endif
}

static void a_tiny_task_is_learnt(void **state UNUSED)
{
	const struct setup *setup = build_setup("decoder n_layer=2 d_model=32 n_head=2 d_ff=64", "mha",
	        "copy_back length=17 n_symbol=4 lag=3", "", &arena);
	struct trainer t;
	trainer_init(&t, setup, &adam, 16, 1, 1);
	const struct loss before = trainer_evaluate(&t, RNG_TEST, 100, NULL).loss;
	double first = 0, last = 0;
	for (int step = 1; step <= 200; step++) {
		const double loss = trainer_step(&t, step).mean;
		first += step <= 10 ? loss / 10 : 0;
		last += step > 190 ? loss / 10 : 0;
	}
	const struct loss after = trainer_evaluate(&t, RNG_TEST, 100, NULL).loss;
	assert_true(first > 1 && last < 0.1 * first);
	assert_int_equal(after.n, 100 * 14);
	assert_true(after.mean < 0.1 * before.mean);
	assert_true((double)after.hits > 0.97 * (double)after.n);
	assert_true((double)before.hits < 0.5 * (double)before.n);
	trainer_release(&t);
}

static void assert_batch(const struct trainer *t, enum rng_purpose purpose, uint64_t first, int n)
{
	int token[64], target[64];
	for (int i = 0; i < n; i++) {
		t->data.task->draw(t->data.config, t->seed, purpose, first + (uint64_t)i, token, target);
		assert_memory_equal(t->tokens + i * t->shape.T, token, (size_t)t->shape.T * sizeof(int));
		assert_memory_equal(
		        t->targets + i * t->shape.n_target, target, (size_t)t->shape.n_target * sizeof(int));
	}
}

// Fresh data at every step, and evaluations from streams of their own.
static void every_batch_is_the_next_piece_of_its_stream(void **state UNUSED)
{
	const struct setup *setup =
	        build_setup("decoder n_layer=1 d_model=16 n_head=2 d_ff=16", "mha", "retrieval", "", &arena);
	struct trainer t;
	trainer_init(&t, setup, &adam, 6, 3, 1);
	for (long step = 1; step < 5; step++) {
		trainer_step(&t, step);
		assert_batch(&t, RNG_TRAIN, (uint64_t)(step - 1) * 6, 6);
		assert_int_equal(t.tape.dropout_step, step); // and its own dropout masks
	}
	trainer_evaluate(&t, RNG_VALIDATION, 6, NULL);
	assert_batch(&t, RNG_VALIDATION, 0, 6);
	trainer_evaluate(&t, RNG_TEST, 10, NULL);
	assert_batch(&t, RNG_TEST, 6, 4);
	trainer_release(&t);
}

// Where memory is not the host's, a step takes what was planned, with and without recomputation.
static void a_device_gives_what_was_planned(void **state UNUSED)
{
	const struct setup *setup = build_setup("decoder n_layer=4 d_model=96 n_head=2 d_ff=384", "mha",
	        "copy_back length=65 n_symbol=4 lag=3", "", &arena);
	for (int recomputes = 0; recomputes < 2; recomputes++) {
		const struct step_cost cost = trainer_count(setup, 16, recomputes);
		const double planned = 2 * cost.tensor_bytes + cost.saved_bytes;
		struct trainer t;
		struct err err = {0};
		assert_int_equal(trainer_init_on(&t, &backend_apart, setup, &adam, 16, 1, 1, NULL, NULL, &err), 0);
		t.model.recomputes = recomputes;
		trainer_evaluate(&t, RNG_VALIDATION, 20, NULL);
		trainer_step(&t, 1);
		trainer_step(&t, 2);
		assert_int_equal(t.work.values.n_grow, 1);
		assert_true((double)t.work.values.peak_bytes > 0.98 * planned);
		assert_true((double)t.work.values.allocated_bytes < 1.1 * planned);
		trainer_release(&t);
	}
}

// An evaluation draws no dropout, changes nothing, and does not depend on how its sequences are cut into batches.
static void an_evaluation_is_a_pure_function_of_the_weights(void **state UNUSED)
{
	const struct setup *setup = build_setup(
	        "decoder n_layer=1 d_model=32 n_head=2 d_ff=64 dropout=0.5", "mha", "retrieval n_key=4", "", &arena);
	struct trainer small, large;
	trainer_init(&small, setup, &adam, 21, 1, 1);
	trainer_init(&large, setup, &adam, 100, 1, 2);
	const struct loss a = trainer_evaluate(&small, RNG_TEST, 50, NULL).loss,
	                  b = trainer_evaluate(&large, RNG_TEST, 50, NULL).loss;
	const struct loss again = trainer_evaluate(&small, RNG_TEST, 50, NULL).loss;
	assert_memory_equal(&a, &again, sizeof(a));
	assert_int_equal(a.n, 50);
	assert_int_equal(a.hits, b.hits);
	assert_true(fabs(a.mean - b.mean) < 1e-12);
	assert_memory_equal(small.model.x, large.model.x, (size_t)small.model.n_padded * sizeof(real));
	trainer_release(&small);
	trainer_release(&large);
}

static void a_step_with_a_loss_that_is_not_finite_updates_nothing(void **state UNUSED)
{
	const struct setup *setup =
	        build_setup("decoder n_layer=1 d_model=16 n_head=2 d_ff=16", "mha", "retrieval n_key=4", "", &arena);
	struct trainer t;
	trainer_init(&t, setup, &adam, 4, 1, 1);
	trainer_step(&t, 1);
	t.model.head->x[0] = NAN;
	const size_t bytes = (size_t)t.model.n_padded * sizeof(real);
	real *x = arena_alloc(&arena, bytes), *m = arena_alloc(&arena, bytes);
	memcpy(x, t.model.x, bytes);
	memcpy(m, t.optimizer.m, bytes);
	assert_false(isfinite(trainer_step(&t, 2).mean));
	assert_memory_equal(x, t.model.x, bytes);
	assert_memory_equal(m, t.optimizer.m, bytes);
	trainer_release(&t);
}

// --- procedure train -------------------------------------------------------------------------------------------------
enum { STEPS = 24 };
static const char train_settings[] =
        "steps=24 eval_every=5 n_validation=40 n_test=60 batch=16 lr=0.01 schedule=cosine warmup=3 clip=1 "
        "optimizer=adamw weight_decay=0.01";

static const struct setup *make_setup(const char *more)
{
	char text[512];
	snprintf(text, sizeof(text), "%s %s", train_settings, more);
	return build_setup("decoder n_layer=1 d_model=16 n_head=2 d_ff=16 dropout=0.1", "thin_keys d_select=4",
	        "retrieval n_key=4 n_value=4", text, &arena);
}

static int stop_at_once(void *context, double fraction)
{
	*(double *)context = fraction;
	return 1;
}

static int run(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log)
{
	struct err err = {0};
	const int status = setup->procedure->run(setup, seed, n_thread, log, &err);
	if (status < 0)
		fail_msg("%s", err.message);
	return status;
}

static double metric_of(const struct run_log *log, const char *name, const char *split)
{
	for (long i = log->n_metric; i-- > 0;)
		if (!strcmp(log->metric[i].name, name) && !strcmp(log->metric[i].split, split))
			return log->metric[i].value;
	return -1e300;
}

static void assert_same_metrics(const struct run_log *a, const struct run_log *b)
{
	assert_int_equal(a->n_metric, b->n_metric);
	for (long i = 0; i < a->n_metric; i++) {
		const struct metric *x = &a->metric[i], *y = &b->metric[i];
		if (strcmp(x->name, y->name) || strcmp(x->split, y->split) || x->step != y->step ||
		        memcmp(&x->value, &y->value, sizeof(double)))
			fail_msg("%s %s at step %ld: %.17g, not %.17g", x->split, x->name, x->step, x->value, y->value);
	}
}

// Stopped after every step, and going on with another number of threads each time.
static void stop_everywhere(const struct setup *setup)
{
	struct run_log whole, log;
	run_log_init(&whole);
	assert_int_equal(run(setup, 5, 1, &whole), 0);
	assert_true(metric_of(&whole, "steps", "train") == STEPS);
	assert_true(metric_of(&whole, "accuracy", "test") >= 0);
	unlink(path);
	for (int stops = 1;; stops++) {
		double fraction = -1;
		run_log_init(&log);
		log.checkpoint_path = path;
		log.tick = stop_at_once;
		log.context = &fraction;
		const int status = run(setup, 5, 1 + stops % 3, &log);
		if (status == 0)
			break;
		assert_int_equal(status, 2);
		assert_true(fabs(fraction - (double)stops / STEPS) < 1e-9);
		assert_true(stops <= STEPS);
		run_log_release(&log);
	}
	assert_same_metrics(&log, &whole);
	run_log_release(&log);

	// The last checkpoint has everything: run again, nothing is trained, and the report is the same.
	run_log_init(&log);
	log.checkpoint_path = path;
	assert_int_equal(run(setup, 5, 2, &log), 0);
	assert_same_metrics(&log, &whole);
	run_log_release(&log);
	run_log_release(&whole);
}

static void a_run_stopped_anywhere_ends_with_the_same_bits(void **state UNUSED)
{
	stop_everywhere(make_setup(""));
	stop_everywhere(make_setup("n_train=40")); // epochs of two batches: stopped in their middle, too
	stop_everywhere(make_setup("n_train=56 split=content"));
}

static void another_runs_or_a_damaged_checkpoint_starts_over(void **state UNUSED)
{
	const struct setup *setup = make_setup("");
	struct run_log whole, log;
	double fraction;
	for (int damaged = 0; damaged < 2; damaged++) {
		unlink(path);
		run_log_init(&log);
		log.checkpoint_path = path;
		log.tick = stop_at_once;
		log.context = &fraction;
		assert_int_equal(run(setup, damaged ? 6 : 5, 1, &log), 2);
		run_log_release(&log);
		if (damaged)
			assert_int_equal(truncate(path, 1000), 0);
		run_log_init(&whole);
		run_log_init(&log);
		assert_int_equal(run(setup, 6, 1, &whole), 0);
		log.checkpoint_path = path;
		assert_int_equal(run(setup, 6, 1, &log), 0);
		assert_same_metrics(&log, &whole);
		run_log_release(&log);
		run_log_release(&whole);
	}
}

static void a_checkpoint_that_cannot_be_written_ends_the_run(void **state UNUSED)
{
	char nowhere[sizeof(path) + 16];
	struct run_log log;
	struct err err = {0};
	const struct setup *setup = make_setup("");
	snprintf(nowhere, sizeof(nowhere), "%s/none/x", folder);
	run_log_init(&log);
	log.checkpoint_path = nowhere;
	log.checkpoint_every_s = 0;
	assert_int_equal(setup->procedure->run(setup, 1, 1, &log, &err), -1);
	assert_non_null(strstr(err.message, nowhere));
	run_log_release(&log);
}

static void divergence_is_a_result(void **state UNUSED)
{
	// Decay takes each weight times 1 - 10 * 10 in a step: beyond a float's range in twenty.
	const struct setup *setup =
	        make_setup("lr=10 weight_decay=10 schedule=constant warmup=0 steps=500 eval_every=2");
	struct run_log log;
	run_log_init(&log);
	assert_int_equal(run(setup, 1, 1, &log), 1);
	assert_true(metric_of(&log, "diverged", "train") == 1);
	assert_true(metric_of(&log, "steps", "train") < 500);
	assert_false(isfinite(metric_of(&log, "loss", "train")));
	assert_true(metric_of(&log, "accuracy", "test") >= 0); // of the best weights while there were some
	assert_true(metric_of(&log, "n_param", "count") > 0);
	run_log_release(&log);
}

// What is tested are the weights of the best validation step: a run that ends there tests the same.
static void the_best_step_is_what_is_tested(void **state UNUSED)
{
	static const char *const settings =
	        "lr=0.03 schedule=constant warmup=0 weight_decay=0 optimizer=adam eval_every=2";
	int n_before_the_end = 0;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct run_log whole, cut;
		run_log_init(&whole);
		run_log_init(&cut);
		assert_int_equal(run(make_setup(settings), seed, 1, &whole), 0);
		const int best = (int)metric_of(&whole, "best_step", "validation");
		char text[160];
		snprintf(text, sizeof(text), "%s steps=%d", settings, best);
		assert_int_equal(run(make_setup(text), seed, 1, &cut), 0);
		assert_true(metric_of(&whole, "loss", "test") == metric_of(&cut, "loss", "test"));
		assert_true(metric_of(&whole, "accuracy", "test") == metric_of(&cut, "accuracy", "test"));
		assert_true(
		        metric_of(&whole, "best_accuracy", "validation") == metric_of(&cut, "accuracy", "validation"));
		n_before_the_end += best < STEPS;
		run_log_release(&whole);
		run_log_release(&cut);
	}
	assert_true(n_before_the_end > 0);
}

static void a_run_stops_when_it_is_good_enough(void **state UNUSED)
{
	const struct setup *setup = build_setup("decoder n_layer=2 d_model=32 n_head=2 d_ff=64", "mha",
	        "copy_back length=17 n_symbol=4 lag=3",
	        "steps=2000 eval_every=20 n_validation=64 n_test=64 batch=16 lr=0.003 stop_at=0.9 converged_at=0.8",
	        &arena);
	struct run_log log;
	run_log_init(&log);
	assert_int_equal(run(setup, 1, 2, &log), 0);
	const double steps = metric_of(&log, "steps", "train");
	assert_true(steps < 1000 && steps == metric_of(&log, "best_step", "validation"));
	assert_true(metric_of(&log, "steps_to_converge", "validation") <= steps);
	assert_true(metric_of(&log, "best_accuracy", "validation") >= 0.9);
	assert_true(metric_of(&log, "accuracy", "test") > 0.85);
	assert_true(metric_of(&log, "diverged", "train") == 0);
	run_log_release(&log);
}

static int begin(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/checkpoint", folder);
	return 0;
}

static int end(void **state UNUSED)
{
	arena_release(&arena);
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(no_step_allocates_after_the_first),
	        cmocka_unit_test(a_tiny_task_is_learnt),
	        cmocka_unit_test(every_batch_is_the_next_piece_of_its_stream),
	        cmocka_unit_test(a_device_gives_what_was_planned),
	        cmocka_unit_test(an_evaluation_is_a_pure_function_of_the_weights),
	        cmocka_unit_test(a_step_with_a_loss_that_is_not_finite_updates_nothing),
	        cmocka_unit_test(a_run_stopped_anywhere_ends_with_the_same_bits),
	        cmocka_unit_test(another_runs_or_a_damaged_checkpoint_starts_over),
	        cmocka_unit_test(a_checkpoint_that_cannot_be_written_ends_the_run),
	        cmocka_unit_test(divergence_is_a_result),
	        cmocka_unit_test(the_best_step_is_what_is_tested),
	        cmocka_unit_test(a_run_stops_when_it_is_good_enough),
	};
	return cmocka_run_group_tests_name("training", tests, begin, end);
}
