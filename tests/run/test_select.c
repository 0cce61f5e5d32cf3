// SPDX-License-Identifier: MIT
// Which weights procedure train tests, and when it stops: select and patience.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/run/run.h"
#include "tests/model/build.h"
#include "tests/test.h"

static struct arena arena;

enum { SEED = 5, MOST = 64 };

struct curve {
	int n;
	long step[MOST];
	double loss[MOST], accuracy[MOST];
};

static double whole(const struct run_log *log, const char *name, const char *split)
{
	for (long i = 0; i < log->n_metric; i++)
		if (log->metric[i].step == -1 && !strcmp(log->metric[i].name, name) &&
		        !strcmp(log->metric[i].split, split))
			return log->metric[i].value;
	return NAN;
}

static void train(struct run_log *log, const char *options)
{
	// A learning rate at which the model first learns, then gets worse; few training sequences, to overfit.
	char text[300];
	snprintf(text, sizeof(text), "lr=0.02 batch=16 n_train=64 eval_every=5 n_validation=64 n_test=64 %s", options);
	const struct setup *setup = build_setup("decoder n_layer=1 d_model=16 n_head=2 d_ff=16", "mha",
	        "mqar n_vocab=16 n_pair=2 length=16", text, &arena);
	struct err err = {0};
	run_log_init(log);
	if (setup->procedure->check(setup, &err) || setup->procedure->run(setup, SEED, 1, log, &err))
		fail_msg("%s", err.message);
}

static struct curve curve_of(const struct run_log *log)
{
	struct curve c = {0};
	for (long i = 0; i < log->n_metric; i++) {
		const struct metric *m = &log->metric[i];
		if (m->step < 0 || strcmp(m->split, "validation"))
			continue;
		if (!strcmp(m->name, "loss")) {
			c.step[c.n] = m->step;
			c.loss[c.n++] = m->value;
		} else {
			c.accuracy[c.n - 1] = m->value;
		}
	}
	return c;
}

static int place_of_least(const struct curve *c)
{
	int best = 0;
	for (int i = 1; i < c->n; i++)
		if (c->loss[i] < c->loss[best])
			best = i;
	return best;
}

static int place_of_most_accurate(const struct curve *c)
{
	int best = 0;
	for (int i = 1; i < c->n; i++)
		if (c->accuracy[i] > c->accuracy[best])
			best = i;
	return best;
}

static void the_chosen_step_is_the_best_by_its_metric(void **state UNUSED)
{
	struct run_log by_loss, by_accuracy;
	train(&by_loss, "steps=200 select=loss");
	train(&by_accuracy, "steps=200");
	const struct curve c = curve_of(&by_loss);
	const int least = place_of_least(&c), most = place_of_most_accurate(&c);
	assert_int_equal(c.n, 40);
	assert_true(least < c.n - 1 && c.step[least] != c.step[most]); // else the test says nothing
	assert_true(whole(&by_loss, "best_step", "validation") == (double)c.step[least]);
	assert_true(whole(&by_loss, "best_loss", "validation") == c.loss[least]);
	assert_true(whole(&by_loss, "best_accuracy", "validation") == c.accuracy[least]);
	assert_true(whole(&by_accuracy, "best_step", "validation") == (double)c.step[most]);
	assert_true(whole(&by_accuracy, "best_accuracy", "validation") == c.accuracy[most]);
	// Other weights are tested.
	const double loss = whole(&by_loss, "loss", "test");
	assert_true(loss != whole(&by_accuracy, "loss", "test"));
	assert_true(whole(&by_loss, "perplexity", "test") == exp(loss));
	assert_true(whole(&by_loss, "n_target", "test") == 64 * 2);
	assert_true(whole(&by_loss, "loss_error", "test") > 0 && isnan(whole(&by_accuracy, "perplexity", "test")));
	run_log_release(&by_loss);
	run_log_release(&by_accuracy);
}

static void patience_stops_after_so_many_worse_evaluations(void **state UNUSED)
{
	struct run_log all, patient;
	train(&all, "steps=200 select=loss");
	train(&patient, "steps=200 select=loss patience=3");
	const struct curve c = curve_of(&all);
	int best = 0, stop = c.n - 1;
	for (int i = 1; i < c.n; i++) {
		if (c.loss[i] < c.loss[best])
			best = i;
		if (i - best == 3) {
			stop = i;
			break;
		}
	}
	assert_true(stop < c.n - 1); // else the test says nothing
	assert_true(whole(&patient, "steps", "train") == (double)c.step[stop]);
	assert_true(whole(&patient, "best_step", "validation") == (double)c.step[best]);
	assert_true(whole(&all, "steps", "train") == 200);
	run_log_release(&all);
	run_log_release(&patient);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_chosen_step_is_the_best_by_its_metric),
	        cmocka_unit_test(patience_stops_after_so_many_worse_evaluations),
	};
	arena_init(&arena, 1 << 16);
	const int status = cmocka_run_group_tests(tests, NULL, NULL);
	arena_release(&arena);
	return status;
}
