// SPDX-License-Identifier: MIT
#include "harness/store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/store/sample.h"
#include "tests/test.h"

static const int heads[] = {1, 4}, keys[] = {4, 16}, widths[] = {1, 2, 4, 8};
static const struct sample_grid grid = {.experiment = "trial",
        .n_head = heads,
        .n_key = keys,
        .d_select_per_head = widths,
        .n_n_head = 2,
        .n_n_key = 2,
        .n_d_select_per_head = 4,
        .n_seed = 3};

struct bench {
	char *folder, path[300];
	struct store *store;
	struct arena arena;
	struct err err;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	b->folder = sample_folder();
	snprintf(b->path, sizeof(b->path), "%s/deep/er/results.db", b->folder);
	b->store = sample_open(b->path);
	arena_init(&b->arena, 1 << 16);
	*state = b;
	return sample_plan(b->store, &grid, &b->err);
}

static int teardown(void **state)
{
	struct bench *b = *state;
	store_close(b->store);
	arena_release(&b->arena);
	sample_remove(b->folder);
	free(b);
	return 0;
}

static int claim(struct bench *b, struct store_run *run)
{
	return store_claim(b->store, "trial", "small", run, &b->arena, &b->err);
}

static char *query_cell(struct bench *b, const char *sql)
{
	struct table table;
	if (store_query(b->store, sql, NULL, &table, &b->arena, &b->err))
		fail_msg("%s", b->err.message);
	return table.n_row ? table.cell[0] : NULL;
}

static void claims_follow_the_plan_and_never_repeat(void **state)
{
	struct bench *b = *state;
	struct store_run run;
	int64_t last = 0;
	for (int i = 0; i < 48; i++) {
		assert_int_equal(claim(b, &run), 1);
		assert_true(run.id > last);
		assert_int_equal(run.attempt, 1);
		assert_int_equal(run.seed, i % 3 + 1);
		last = run.id;
		assert_int_equal(store_finish(b->store, run.id, RUN_DONE, NULL, NULL, 0, NULL, 0, 1, &b->err), 0);
	}
	assert_int_equal(claim(b, &run), 0);
	// The same plan again changes nothing: what is done stays done.
	assert_int_equal(sample_plan(b->store, &grid, &b->err), 0);
	assert_int_equal(claim(b, &run), 0);
	assert_string_equal(query_cell(b, "SELECT max(attempt) FROM run"), "1");
}

static void every_double_comes_back_bit_for_bit(void **state)
{
	struct bench *b = *state;
	static const uint64_t bits[] = {0, 0x8000000000000000, 0x7ff0000000000000, 0xfff0000000000000,
	        0x7ff8000000000000, 0xfff8000000000123, 0x7ff4000000000001, 1, 0x000fffffffffffff, 0x7fefffffffffffff,
	        0x3fb999999999999a, 0x4340000000000001, 0xc3e0000000000000, 0x43e0000000000000, 0x3ff0000000000000,
	        0xbff0000000000001};
	enum { N = sizeof(bits) / sizeof(bits[0]) };
	struct metric metric[N];
	struct store_run run;
	struct store_run_full full;
	for (int i = 0; i < N; i++) {
		metric[i] = (struct metric){"accuracy", "test", i - 1, 0};
		memcpy(&metric[i].value, &bits[i], sizeof(bits[i]));
	}
	assert_int_equal(claim(b, &run), 1);
	assert_int_equal(
	        store_finish(b->store, run.id, RUN_DIVERGED, "loss is nan", metric, N, NULL, 0, 2, &b->err), 0);
	assert_int_equal(store_read_run(b->store, run.id, &full, &b->arena, &b->err), 0);
	assert_int_equal(full.n_metric, N);
	for (int i = 0; i < N; i++) {
		assert_memory_equal(&full.metric[i].value, &bits[i], sizeof(bits[i]));
		assert_int_equal(full.metric[i].step, i - 1);
		assert_string_equal(full.metric[i].split, "test");
	}
	assert_int_equal(full.state, RUN_DIVERGED);
	assert_string_equal(full.message, "loss is nan");
	assert_string_equal(full.experiment, "trial");
	assert_int_equal(full.build_id, store_build_id(b->store));
	assert_int_equal(full.machine_id, store_machine_id(b->store));
	assert_string_equal(full.run.json, run.json);
	assert_string_equal(full.run.key, run.key);
}

static void seeds_of_64_bits_come_back(void **state)
{
	struct bench *b = *state;
	struct store_run run;
	const struct store_experiment experiment = {.name = "seeds"};
	const struct store_planned planned = {"k", "{}", "all", UINT64_MAX - 1};
	assert_int_equal(store_plan(b->store, &experiment, "smoke", &planned, 1, 0, &b->err), 0);
	assert_int_equal(store_claim(b->store, "seeds", "smoke", &run, &b->arena, &b->err), 1);
	assert_true(run.seed == UINT64_MAX - 1);
}

static void failed_runs_wait_for_a_retry(void **state)
{
	struct bench *b = *state;
	struct store_run run, again;
	const struct metric metric = {"loss", "train", 1, 2.5};
	while (claim(b, &run) > 0)
		assert_int_equal(
		        store_finish(b->store, run.id, RUN_FAILED, "no memory", &metric, 1, NULL, 0, 0, &b->err), 0);
	assert_int_equal(claim(b, &again), 0);
	const struct store_experiment experiment = {.name = "trial"};
	const struct store_planned planned = {run.key, run.json, run.label, run.seed};
	assert_int_equal(store_plan(b->store, &experiment, "small", &planned, 1, 1, &b->err), 0);
	assert_int_equal(claim(b, &again), 1);
	assert_int_equal(again.id, run.id);
	assert_int_equal(again.attempt, 2);
	// The second attempt's rows replace the first's.
	assert_int_equal(store_finish(b->store, again.id, RUN_DONE, NULL, &metric, 1, NULL, 0, 0, &b->err), 0);
	struct store_run_full full;
	assert_int_equal(store_read_run(b->store, run.id, &full, &b->arena, &b->err), 0);
	assert_int_equal(full.n_metric, 1);
	assert_null(full.message);
}

static void a_released_run_is_claimed_again(void **state)
{
	struct bench *b = *state;
	struct store_run run, again;
	struct store_progress p;
	assert_int_equal(claim(b, &run), 1);
	assert_int_equal(store_heartbeat(b->store, run.id, 0.25, &b->err), 0);
	assert_int_equal(store_progress(b->store, "trial", "small", &p, &b->err), 0);
	assert_int_equal(p.queued, 47);
	assert_int_equal(p.running, 1);
	assert_true(p.running_fraction == 0.25);
	assert_int_equal(store_release(b->store, run.id, &b->err), 0);
	assert_int_equal(claim(b, &again), 1);
	assert_int_equal(again.id, run.id);
	assert_int_equal(again.attempt, 2);
}

// The child claims and dies without a word, reaped and as a zombie: both ways its run is taken over at once.
static void a_dead_process_loses_its_lease_at_once(void **state)
{
	struct bench *b = *state;
	struct store_run run;
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();
		if (child == 0) {
			struct store *own = sample_open(b->path);
			_exit(store_claim(own, "trial", "small", &run, &b->arena, &b->err) == 1 ? 0 : 1);
		}
		siginfo_t info;
		assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | (i ? WNOWAIT : 0)), 0);
		assert_int_equal(info.si_status, 0);
		// Only dead leases are left to claim.
		while (claim(b, &run) > 0 && run.attempt == 1)
			assert_int_equal(
			        store_finish(b->store, run.id, RUN_DONE, NULL, NULL, 0, NULL, 0, 1, &b->err), 0);
		assert_int_equal(run.attempt, 2);
		if (i)
			waitpid(child, NULL, 0);
		assert_int_equal(store_finish(b->store, run.id, RUN_DONE, NULL, NULL, 0, NULL, 0, 1, &b->err), 0);
		assert_int_equal(claim(b, &run), 0);
		struct sample_grid more = grid;
		more.n_seed = 4;
		assert_int_equal(sample_plan(b->store, &more, &b->err), 0);
	}
}

static void an_old_heartbeat_loses_its_lease(void **state)
{
	struct bench *b = *state;
	struct store_run run, mine;
	assert_int_equal(claim(b, &mine), 1);
	while (claim(b, &run) > 0)
		store_finish(b->store, run.id, RUN_DONE, NULL, NULL, 0, NULL, 0, 1, &b->err);
	// This process lives and its lease is fresh: nothing to claim. Then it has not been heard of for 61 s.
	char command[600];
	snprintf(command, sizeof(command),
	        "sqlite3 '%s' \"UPDATE run SET heartbeat = heartbeat - 61, worker_boot = 'another machine' WHERE id = "
	        "%lld\"",
	        b->path, (long long)mine.id);
	if (system("command -v sqlite3 >/dev/null"))
		skip();
	assert_int_equal(system(command), 0);
	assert_int_equal(claim(b, &run), 1);
	assert_int_equal(run.id, mine.id);
	assert_int_equal(run.attempt, 2);
	assert_int_equal(store_finish(b->store, run.id, RUN_DONE, NULL, NULL, 0, NULL, 0, 1, &b->err), 0);
	// The first owner wakes up: its result must not overwrite the second's.
	assert_int_equal(store_finish(b->store, mine.id, RUN_FAILED, "late", NULL, 0, NULL, 0, 1, &b->err), -1);
	assert_non_null(strstr(b->err.message, "no longer this worker's"));
	assert_string_equal(query_cell(b, "SELECT count(*) FROM run WHERE state = 'done'"), "48");
}

static void queries_bind_names_and_refuse_writes(void **state)
{
	struct bench *b = *state;
	struct table table;
	const char *const parameters[] = {":scale", "small", NULL};
	assert_int_equal(store_query(b->store,
	                         "SELECT count(*) AS n, 0.1 AS x, NULL AS z, 'a' AS t FROM plan WHERE scale = :scale",
	                         parameters, &table, &b->arena, &b->err),
	        0);
	assert_int_equal(table.n_row, 1);
	assert_int_equal(table.n_column, 4);
	assert_string_equal(table.column[1], "x");
	assert_string_equal(table.cell[0], "48");
	assert_string_equal(table.cell[1], "0.1");
	assert_null(table.cell[2]);
	assert_true(table.is_number[0] && table.is_number[1] && !table.is_number[3]);
	static const char *const bad[][2] = {
	        {"DELETE FROM run", "must be one SELECT"},
	        {"SELECT 1; SELECT 2", "must be one SELECT"},
	        {"SELECT :nothing", "':nothing'"},
	        {"SELECT no_such FROM run", "no such column: no_such"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};
		assert_int_equal(store_query(b->store, bad[i][0], parameters, &table, &b->arena, &err), -1);
		assert_non_null(strstr(err.message, bad[i][1]));
	}
}

static void a_result_of_many_rows_is_whole(void **state)
{
	struct bench *b = *state;
	struct table table;
	assert_int_equal(store_query(b->store,
	                         "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
	                         "SELECT i, i * 2 FROM n",
	                         NULL, &table, &b->arena, &b->err),
	        0);
	assert_int_equal(table.n_row, 10000);
	for (long i = 0; i < table.n_row; i++)
		assert_int_equal(atol(table.cell[2 * i + 1]), 2 * i);
}

static void views_follow_the_spec(void **state)
{
	struct bench *b = *state;
	struct store_experiment e = {.name = "seen", .view_sql = "CREATE VIEW seen AS SELECT 1 AS a;"};
	assert_int_equal(store_plan(b->store, &e, "small", NULL, 0, 0, &b->err), 0);
	assert_string_equal(query_cell(b, "SELECT a FROM seen"), "1");
	e.view_sql = "CREATE VIEW seen AS SELECT 2 AS a; CREATE VIEW seen_more AS SELECT a FROM seen;";
	assert_int_equal(store_plan(b->store, &e, "small", NULL, 0, 0, &b->err), 0);
	assert_string_equal(query_cell(b, "SELECT a FROM seen_more"), "2");
	static const char *const bad[][2] = {
	        {"CREATE VIEW seen AS SELECT absent FROM run", "no such column: absent"},
	        {"CREATE VIEW seen AS SELEC 1", "syntax error"},
	        {"DELETE FROM run", "more than CREATE VIEW"},
	        {"CREATE TABLE extra (a)", "more than CREATE VIEW"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};
		e.view_sql = bad[i][0];
		assert_int_equal(store_plan(b->store, &e, "small", NULL, 0, 0, &err), -1);
		assert_non_null(strstr(err.message, bad[i][1]));
		assert_string_equal(query_cell(b, "SELECT a FROM seen_more"), "2"); // all or nothing
	}
	e.view_sql = NULL;
	assert_int_equal(store_plan(b->store, &e, "small", NULL, 0, 0, &b->err), 0);
	assert_string_equal(query_cell(b, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'seen%'"), "0");
}

static void published_values_are_stored(void **state)
{
	struct bench *b = *state;
	struct store_experiment e = {.name = "papers",
	        .paper_json = "[{\"paper\":\"B\",\"table\":\"13\",\"row\":\"d_select=4\",\"column\":\"accuracy\","
	                      "\"value\":0.652,\"source\":\"B4 table 13\"}]"};
	for (int i = 0; i < 2; i++)
		assert_int_equal(store_plan(b->store, &e, "small", NULL, 0, 0, &b->err), 0);
	assert_string_equal(query_cell(b, "SELECT value FROM paper_value WHERE \"row\" = 'd_select=4'"), "0.652");
	assert_string_equal(query_cell(b, "SELECT count(*) FROM paper_value"), "1");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(claims_follow_the_plan_and_never_repeat),
	        T(every_double_comes_back_bit_for_bit),
	        T(seeds_of_64_bits_come_back),
	        T(failed_runs_wait_for_a_retry),
	        T(a_released_run_is_claimed_again),
	        T(a_dead_process_loses_its_lease_at_once),
	        T(an_old_heartbeat_loses_its_lease),
	        T(queries_bind_names_and_refuse_writes),
	        T(a_result_of_many_rows_is_whole),
	        T(views_follow_the_spec),
	        T(published_values_are_stored),
	};
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
