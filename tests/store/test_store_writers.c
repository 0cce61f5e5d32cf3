// SPDX-License-Identifier: MIT
// Sixteen processes write one database at once, some of them are killed in the middle: every run ends exactly once,
// with all of its rows.
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/store/store.h"
#include "tests/store/sample.h"
#include "tests/test.h"

enum { N_WRITER = 16, N_METRIC = 20 };

static const int heads[] = {1, 4}, keys[] = {2, 4, 8, 16}, widths[] = {1, 2, 4, 8, 16};
static const struct sample_grid grid = {.experiment = "crowd",
        .n_head = heads,
        .n_key = keys,
        .d_select_per_head = widths,
        .n_n_head = 2,
        .n_n_key = 4,
        .n_d_select_per_head = 5,
        .n_seed = 5};
enum { N_RUN = 2 * 4 * 5 * 5 };

// Runs until nothing is left. tell >= 0: says so there and waits to be killed with its third run in hand.
static void work(const char *path, int tell)
{
	struct arena arena;
	struct err err = {0};
	struct store_run run;
	struct store *store = sample_open(path);
	int rc, n = 0;
	arena_init(&arena, 1 << 16);
	while ((rc = store_claim(store, "crowd", "small", &run, &arena, &err)) > 0) {
		struct metric metric[N_METRIC];
		for (int i = 0; i < N_METRIC; i++)
			metric[i] = (struct metric){"loss", "train", i, (double)run.id + i};
		if (tell >= 0 && ++n == 3) {
			if (write(tell, "x", 1) != 1)
				_exit(1);
			pause();
		}
		if (store_heartbeat(store, run.id, 0.5, &err) ||
		        store_finish(store, run.id, RUN_DONE, NULL, metric, N_METRIC, NULL, 0, 0.1, &err))
			break;
	}
	if (rc < 0 || err.is_set)
		fprintf(stderr, "writer: %s\n", err.message);
	store_close(store);
	arena_release(&arena);
	_exit(err.is_set);
}

static long number(struct store *store, struct arena *arena, const char *sql)
{
	struct table table;
	struct err err = {0};
	if (store_query(store, sql, NULL, &table, arena, &err))
		fail_msg("%s", err.message);
	return atol(table.cell[0]);
}

static void every_run_ends_exactly_once(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	struct err err = {0};
	struct arena arena;
	pid_t child[N_WRITER];
	arena_init(&arena, 1 << 16);
	snprintf(path, sizeof(path), "%s/results.db", folder);
	struct store *store = sample_open(path);
	assert_int_equal(sample_plan(store, &grid, &err), 0);
	store_close(store); // a connection must not be carried across fork
	// The first three stop with a run in hand, before the others begin.
	int tell[2];
	char told;
	assert_int_equal(pipe(tell), 0);
	for (int i = 0; i < N_WRITER; i++) {
		if ((child[i] = fork()) == 0)
			work(path, i < 3 ? tell[1] : -1);
		if (i < 3)
			assert_int_equal(read(tell[0], &told, 1), 1);
	}
	close(tell[0]);
	close(tell[1]);
	nanosleep(&(struct timespec){0, 300000000}, NULL);
	for (int i = 0; i < N_WRITER; i++)
		if (i < 3 || i % 5 == 4) // those that wait with a run in hand, and some wherever they are
			kill(child[i], SIGKILL);
	for (int i = 0; i < N_WRITER; i++) {
		int status;
		waitpid(child[i], &status, 0);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	}
	// The next command finds the dead leases and finishes their runs.
	pid_t last = fork();
	int status;
	if (last == 0)
		work(path, -1);
	waitpid(last, &status, 0);
	assert_int_equal(status, 0);
	store = sample_open(path);
	assert_int_equal(number(store, &arena, "SELECT count(*) FROM run WHERE state = 'done'"), N_RUN);
	assert_int_equal(number(store, &arena, "SELECT count(*) FROM metric"), N_RUN * N_METRIC);
	assert_int_equal(number(store, &arena, "SELECT count(*) FROM metric WHERE value <> run_id + step"), 0);
	assert_true(number(store, &arena, "SELECT max(attempt) FROM run") >= 2);
	assert_int_equal(number(store, &arena, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	struct table table;
	assert_int_equal(store_query(store, "PRAGMA integrity_check", NULL, &table, &arena, &err), 0);
	assert_string_equal(table.cell[0], "ok");
	store_close(store);
	arena_release(&arena);
	sample_remove(folder);
}

// All at once on a file that does not exist yet: one makes the schema, the others wait.
static void sixteen_may_create_it(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	pid_t child[N_WRITER];
	snprintf(path, sizeof(path), "%s/new/results.db", folder);
	for (int i = 0; i < N_WRITER; i++) {
		if ((child[i] = fork()) == 0) {
			store_close(sample_open(path)); // exits with 1 where it fails
			_exit(0);
		}
	}
	for (int i = 0; i < N_WRITER; i++) {
		int status;
		waitpid(child[i], &status, 0);
		assert_int_equal(status, 0);
	}
	struct arena arena;
	arena_init(&arena, 1 << 16);
	struct store *store = sample_open(path);
	assert_int_equal(number(store, &arena, "SELECT count(*) FROM t_quantile"), 300);
	assert_int_equal(number(store, &arena, "SELECT count(*) FROM machine"), 1);
	store_close(store);
	arena_release(&arena);
	sample_remove(folder);
}

// --- another process makes the schema between two statements of an opening ------------------------------------------

static int go, done; // pipes' ends: tells the other process to open, hears that it has

// Before the second of the statements that ask whose file this is. An opening that holds the file until it knows lets
// the other wait, so hear it out for a moment only.
static int between(unsigned event UNUSED, void *context UNUSED, void *statement, void *text UNUSED)
{
	if (go < 0 || !strstr(sqlite3_sql(statement), "PRAGMA user_version"))
		return 0;
	struct pollfd heard = {.fd = done, .events = POLLIN};
	close(go);
	go = -1;
	poll(&heard, 1, 500);
	return 0;
}

static int watch(sqlite3 *db, char **message UNUSED, const void *api UNUSED)
{
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, between, NULL);
}

static void half_a_schema_is_never_seen(void **state UNUSED)
{
	char path[300], byte;
	char *folder = sample_folder();
	int tell[2], hear[2];
	snprintf(path, sizeof(path), "%s/results.db", folder);
	assert_int_equal(pipe(tell) | pipe(hear), 0);
	pid_t other = fork();
	if (other == 0) {
		close(tell[1]);
		if (read(tell[0], &byte, 1) != 0) // the other end closes
			_exit(1);
		store_close(sample_open(path));
		_exit(write(hear[1], "x", 1) != 1);
	}
	go = tell[1], done = hear[0];
	assert_int_equal(sqlite3_auto_extension((void (*)(void))watch), 0);
	struct store *store = sample_open(path);
	sqlite3_reset_auto_extension();
	assert_int_equal(go, -1);
	int status;
	waitpid(other, &status, 0);
	assert_int_equal(status, 0);
	struct arena arena;
	arena_init(&arena, 1 << 16);
	assert_int_equal(number(store, &arena, "SELECT count(*) FROM t_quantile"), 300);
	store_close(store);
	arena_release(&arena);
	close(tell[0]), close(hear[0]), close(hear[1]);
	sample_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_run_ends_exactly_once),
	        cmocka_unit_test(sixteen_may_create_it),
	        cmocka_unit_test(half_a_schema_is_never_seen),
	};
	return cmocka_run_group_tests_name("store writers", tests, NULL, NULL);
}
