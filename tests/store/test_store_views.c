// SPDX-License-Identifier: MIT
// The store's own views (harness/store/views.sql): all can be read, and means, intervals and counts are those worked
// out by hand on a handful of runs, whatever other scales, experiments and failed runs hold.
#include <math.h>
#include <stdio.h>

#include "harness/store/internal.h"
#include "tests/store/sample.h"
#include "tests/test.h"

static struct store *store;
static char *folder;

static void run_sql(const char *sql)
{
	struct err err = {0};
	if (store_exec(store, sql, &err))
		fail_msg("%s", err.message);
}

static double number(const char *sql)
{
	sqlite3_stmt *stmt;
	struct err err = {0};
	if (store_prepare(store, &stmt, sql, &err) || store_step(store, stmt, &err) != 1)
		fail_msg("%s: %s", sql, err.message);
	double value = sqlite3_column_type(stmt, 0) == SQLITE_NULL ? NAN : sqlite3_column_double(stmt, 0);
	sqlite3_finalize(stmt);
	return value;
}

#define ASSERT_NUMBER(sql, expected) assert_true(fabs(number(sql) - (expected)) < 1e-12)

static int begin(void **state UNUSED)
{
	char path[300];
	folder = sample_folder();
	snprintf(path, sizeof(path), "%s/views.db", folder);
	store = sample_open(path);
	run_sql("INSERT INTO experiment (id, name) VALUES (1, 'a'), (2, 'b');"
	        "INSERT INTO point (id, key, json) VALUES (1, 'k1', '{}'), (2, 'k2', '{}');"
	        // point 1 with three seeds, point 2 with one that failed and one queued; smoke has one seed of point 1
	        "INSERT INTO plan VALUES (1, 'small', 0, 1, 42, 'x=1'), (1, 'small', 1, 2, 42, 'x=2'),"
	        " (1, 'small', 2, 1, 43, 'x=1'), (1, 'small', 3, 2, 43, 'x=2'), (1, 'small', 4, 1, 44, 'x=1'),"
	        " (1, 'smoke', 0, 1, 43, 'x=1'), (2, 'small', 0, 1, 99, 'x=1');"
	        "INSERT INTO run (id, point_id, seed, state) VALUES (1, 1, 42, 'done'), (2, 1, 43, 'done'),"
	        " (3, 1, 44, 'diverged'), (4, 2, 42, 'failed'), (5, 2, 43, 'queued'), (6, 1, 99, 'done');"
	        "INSERT INTO metric (run_id, ordinal, name, split, step, value) VALUES"
	        " (1, 0, 'accuracy', 'test', -1, 0.5), (2, 0, 'accuracy', 'test', -1, 0.6), (3, 0, 'accuracy', 'test', "
	        "-1, 0.7),"
	        " (4, 0, 'accuracy', 'test', -1, 0.1), (6, 0, 'accuracy', 'test', -1, 0.9),"
	        " (1, 1, 'loss', 'test', -1, 1.0), (2, 1, 'loss', 'test', -1, 2.0), (3, 1, 'loss', 'test', -1, 6.0),"
	        " (1, 2, 'steps_to_converge', 'validation', -1, 300), (2, 2, 'steps_to_converge', 'validation', -1, "
	        "100),"
	        " (1, 3, 'n_param', 'count', -1, 77), (2, 3, 'n_param', 'count', -1, 77),"
	        " (1, 4, 'accuracy', 'test n=8', -1, 0.25), (2, 4, 'accuracy', 'test n=8', -1, 0.75),"
	        " (1, 5, 'accuracy', 'validation n=8', -1, 0.125),"
	        " (1, 6, 'loss', 'validation', 10, 4.0), (2, 6, 'loss', 'validation', 10, 3.0), (1, 7, 'loss', "
	        "'validation', 20, 1.0);");
	// Language models: points 3 and 4, two seeds each.
	run_sql("INSERT INTO experiment (id, name) VALUES (3, 'c');"
	        "INSERT INTO point (id, key, json) VALUES (3, 'k3', '{}'), (4, 'k4', '{}');"
	        "INSERT INTO plan VALUES (3, 'small', 0, 3, 1, 'base'), (3, 'small', 1, 4, 1, 'thin'),"
	        " (3, 'small', 2, 3, 2, 'base'), (3, 'small', 3, 4, 2, 'thin'), (3, 'small', 4, 4, 3, 'thin');"
	        "INSERT INTO run (id, point_id, seed, state) VALUES (11, 3, 1, 'done'), (12, 4, 1, 'done'),"
	        " (13, 3, 2, 'done'), (14, 4, 2, 'done'), (15, 4, 3, 'queued');"
	        "INSERT INTO metric (run_id, ordinal, name, split, step, value) VALUES"
	        " (11, 0, 'loss', 'test', -1, 2.0), (12, 0, 'loss', 'test', -1, 2.25), (13, 0, 'loss', 'test', -1, "
	        "3.0),"
	        " (14, 0, 'loss', 'test', -1, 3.5), (11, 1, 'loss', 'validation', 10, 1.5),"
	        " (11, 2, 'loss', 'validation', 20, 1.75), (11, 3, 'best_loss', 'validation', -1, 1.5),"
	        " (11, 4, 'best_step', 'validation', -1, 10), (11, 5, 'loss_error', 'test', -1, 0.125),"
	        " (11, 6, 'perplexity', 'test', -1, 8.0), (13, 6, 'perplexity', 'test', -1, 10.0),"
	        " (11, 7, 'perplexity', 'test documents=packed', -1, 20.0),"
	        " (13, 7, 'perplexity', 'test documents=packed', -1, 30.0);");
	return 0;
}

static int end(void **state UNUSED)
{
	store_close(store);
	sample_remove(folder);
	return 0;
}

static void every_view_can_be_read(void **state UNUSED)
{
	sqlite3_stmt *stmt, *probe;
	struct err err = {0};
	int n = 0;
	assert_int_equal(store_prepare(store, &stmt, "SELECT name FROM sqlite_master WHERE type = 'view'", &err), 0);
	for (; store_step(store, stmt, &err) > 0; n++) {
		char sql[200];
		snprintf(sql, sizeof(sql), "SELECT * FROM \"%s\"", (const char *)sqlite3_column_text(stmt, 0));
		if (store_prepare(store, &probe, sql, &err))
			fail_msg("%s", err.message);
		sqlite3_finalize(probe);
	}
	sqlite3_finalize(stmt);
	assert_int_equal(n, 12);
}

static void points_are_means_over_planned_seeds(void **state UNUSED)
{
	const double t_2 = 0.95 * sqrt(2 / (4 * 0.975 * 0.025)); // Student's t, 0.975, two degrees of freedom
	assert_true(number("SELECT count(*) FROM trained_point WHERE experiment = 'a' AND scale = 'small'") == 2);
#define OF_1 " FROM trained_point WHERE experiment = 'a' AND scale = 'small' AND point_id = 1"
	assert_true(number("SELECT n_planned" OF_1) == 3 && number("SELECT n_seed" OF_1) == 3);
	assert_true(number("SELECT n_diverged" OF_1) == 1 && number("SELECT run_ids = '1 2 3'" OF_1) == 1);
	ASSERT_NUMBER("SELECT accuracy" OF_1, 0.6);
	ASSERT_NUMBER("SELECT accuracy_half_width" OF_1, t_2 * 0.1 / sqrt(3));
	ASSERT_NUMBER("SELECT accuracy_lo" OF_1, 0.6 - t_2 * 0.1 / sqrt(3));
	ASSERT_NUMBER("SELECT loss" OF_1, 3);
	ASSERT_NUMBER("SELECT loss_half_width" OF_1, t_2 * sqrt(7) / sqrt(3));
	assert_true(number("SELECT steps_to_converge" OF_1) == 200 && number("SELECT n_converged" OF_1) == 2);
	assert_true(number("SELECT n_param" OF_1) == 77);
	assert_true(isnan(number("SELECT cache_bytes_per_token" OF_1)));
}

static void failed_and_queued_runs_do_not_count(void **state UNUSED)
{
#define OF_2 " FROM trained_point WHERE experiment = 'a' AND scale = 'small' AND point_id = 2"
	assert_true(number("SELECT n_planned" OF_2) == 2 && number("SELECT n_seed" OF_2) == 0);
	assert_true(isnan(number("SELECT accuracy" OF_2)) && isnan(number("SELECT run_ids" OF_2)));
}

static void scales_and_experiments_have_their_own_seeds(void **state UNUSED)
{
	ASSERT_NUMBER("SELECT accuracy FROM trained_point WHERE experiment = 'a' AND scale = 'smoke'", 0.6);
	assert_true(isnan(number(
	        "SELECT accuracy_half_width FROM trained_point WHERE experiment = 'a' AND scale = 'smoke'"))); // one
	                                                                                                       // seed
	ASSERT_NUMBER("SELECT accuracy FROM trained_point WHERE experiment = 'b'", 0.9);
}

static void slices_are_those_of_the_test(void **state UNUSED)
{
	const double t_1 = tan(0.475 * M_PI); // one degree of freedom
#define SLICE " FROM trained_slice WHERE experiment = 'a' AND scale = 'small'"
	assert_true(number("SELECT count(*)" SLICE) == 1 && number("SELECT slice = 'n=8'" SLICE) == 1);
	ASSERT_NUMBER("SELECT accuracy" SLICE, 0.5);
	ASSERT_NUMBER("SELECT accuracy_half_width" SLICE, t_1 * sqrt(0.125) / sqrt(2));
	assert_true(number("SELECT accuracy_lo = 0 AND accuracy_hi = 1" SLICE) == 1);
}

static void curves_are_means_at_each_step(void **state UNUSED)
{
#define CURVE                                                                                                          \
	" FROM trained_curve WHERE experiment = 'a' AND scale = 'small' AND name = 'loss' AND split = 'validation'"
	assert_true(number("SELECT count(*)" CURVE) == 2);
	ASSERT_NUMBER("SELECT mean" CURVE " AND step = 10", 3.5);
	assert_true(number("SELECT n_seed" CURVE " AND step = 20") == 1);
}

static void language_models_are_compared_seed_by_seed(void **state UNUSED)
{
	const double t_1 = tan(0.475 * M_PI); // one degree of freedom
#define RUN_11 " FROM language_run WHERE experiment = 'c' AND run_id = 11"
	ASSERT_NUMBER("SELECT validation_loss" RUN_11, 1.5);
	ASSERT_NUMBER("SELECT final_loss" RUN_11, 1.75);
	ASSERT_NUMBER("SELECT best_step" RUN_11, 10);
	ASSERT_NUMBER("SELECT loss_error" RUN_11, 0.125);
#define OF_3 " FROM language_point WHERE experiment = 'c' AND scale = 'small' AND point_id = 3"
	ASSERT_NUMBER("SELECT perplexity" OF_3, 9);
	ASSERT_NUMBER("SELECT perplexity_half_width" OF_3, t_1 * sqrt(2) / sqrt(2));
	ASSERT_NUMBER("SELECT test_loss" OF_3, 2.5);
	ASSERT_NUMBER("SELECT loss_half_width" OF_3, t_1 * sqrt(0.5) / sqrt(2));
	ASSERT_NUMBER("SELECT n_seed" OF_3, 2);
#define PAIR " FROM language_pair WHERE experiment = 'c' AND scale = 'small' AND point_id = 4 AND base_id = 3"
	ASSERT_NUMBER("SELECT n_pair" PAIR, 2); // the third seed has no partner
	ASSERT_NUMBER("SELECT gain" PAIR, 0.375);
	ASSERT_NUMBER("SELECT gain_half_width" PAIR, t_1 * sqrt(2 * 0.125 * 0.125) / sqrt(2));
	ASSERT_NUMBER("SELECT change" PAIR, exp(0.375) - 1);
	ASSERT_NUMBER("SELECT change_half_width" PAIR, exp(0.375) * t_1 * sqrt(2 * 0.125 * 0.125) / sqrt(2));
	assert_true(number("SELECT verdict = 'cannot tell'" PAIR) == 1);
#define PACKED " FROM language_slice WHERE experiment = 'c' AND slice = 'documents=packed'"
	ASSERT_NUMBER("SELECT perplexity" PACKED, 25);
	ASSERT_NUMBER("SELECT n_seed" PACKED, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_view_can_be_read),
	        cmocka_unit_test(points_are_means_over_planned_seeds),
	        cmocka_unit_test(failed_and_queued_runs_do_not_count),
	        cmocka_unit_test(scales_and_experiments_have_their_own_seeds),
	        cmocka_unit_test(slices_are_those_of_the_test),
	        cmocka_unit_test(curves_are_means_at_each_step),
	        cmocka_unit_test(language_models_are_compared_seed_by_seed),
	};
	return cmocka_run_group_tests_name("store views", tests, begin, end) != 0;
}
