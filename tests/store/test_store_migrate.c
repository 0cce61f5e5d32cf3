// SPDX-License-Identifier: MIT
// A file of every earlier schema opens, is brought up to date, and keeps its rows.
#include <math.h>
#include <string.h>

#include "harness/store/internal.h"
#include "tests/store/sample.h"
#include "tests/test.h"

static int64_t number(struct store *store, const char *sql)
{
	struct err err = {0};
	int64_t value;
	if (store_get(store, &err, &value, -1, sql, ""))
		fail_msg("%s", err.message);
	return value;
}

// Makes a file of schema `version` by the steps up to it, and puts the fixture's rows in.
static void make_old(const char *path, int version, const char *fixture, struct arena *arena)
{
	struct err err = {0};
	struct store old = {.path = arena_strdup(arena, path)};
	char *rows = sample_read_file(fixture, arena);
	assert_non_null(rows);
	assert_int_equal(sqlite3_open(path, &old.db), SQLITE_OK);
	if (store_migrate(&old, store_migrations, version, &err) || store_exec(&old, rows, &err))
		fail_msg("%s", err.message);
	assert_int_equal(number(&old, "PRAGMA user_version"), version);
	sqlite3_close(old.db);
}

static void a_version_1_file_is_brought_up_to_date(void **state UNUSED)
{
	char path[300];
	char *folder = sample_folder();
	struct arena arena;
	struct err err = {0};
	struct store_run run;
	struct store_run_full full;
	arena_init(&arena, 1 << 16);
	snprintf(path, sizeof(path), "%s/old.db", folder);
	make_old(path, 1, "tests/fixtures/results_v1.sql", &arena);
	struct store *store = sample_open(path);
	assert_int_equal(number(store, "PRAGMA user_version"), store_migrations[store_n_migration - 1].to);
	assert_int_equal(store_read_run(store, 3, &full, &arena, &err), 0);
	assert_string_equal(full.experiment, "old");
	assert_string_equal(full.run.key, "00112233445566778899aabbccddeeff");
	assert_string_equal(full.git_commit, "c0ffee");
	assert_int_equal(full.n_metric, 2);
	assert_true(full.metric[0].value == 0.98828125 && isnan(full.metric[1].value));
	// The finished run is not run again, the queued one is.
	assert_int_equal(store_claim(store, "old", "small", &run, &arena, &err), 1);
	assert_int_equal(run.id, 4);
	store_close(store);
	arena_release(&arena);
	sample_remove(folder);
}

static int fill_pet(struct store *store, struct err *err)
{
	return store_exec(store, "UPDATE pet SET legs = 4 WHERE name = 'cat'", err);
}

static const struct migration steps[] = {
        {1, "CREATE TABLE pet (name TEXT)", NULL},
        {2, "ALTER TABLE pet ADD COLUMN legs INTEGER", fill_pet},
        {3, "CREATE TABLE toy (name TEXT); INSERT INTO toy VALUES ('ball')", NULL},
        {4, "CREATE TABLE broken (", NULL},
};

static void steps_are_applied_once_and_in_one_piece(void **state UNUSED)
{
	struct err err = {0};
	char name[] = "steps";
	struct store store = {.path = name};
	assert_int_equal(sqlite3_open(":memory:", &store.db), SQLITE_OK);
	assert_int_equal(store_migrate(&store, steps, 1, &err), 0);
	assert_int_equal(store_exec(&store, "INSERT INTO pet VALUES ('cat')", &err), 0);
	assert_int_equal(store_migrate(&store, steps, 3, &err), 0);
	assert_int_equal(number(&store, "SELECT legs FROM pet"), 4);
	assert_int_equal(store_migrate(&store, steps, 3, &err), 0);
	assert_int_equal(number(&store, "SELECT count(*) FROM toy"), 1);
	assert_int_equal(store_migrate(&store, steps, 4, &err), -1);
	assert_non_null(strstr(err.message, "steps: cannot change the schema"));
	assert_int_equal(number(&store, "PRAGMA user_version"), 3);
	sqlite3_close(store.db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_version_1_file_is_brought_up_to_date),
	        cmocka_unit_test(steps_are_applied_once_and_in_one_piece),
	};
	return cmocka_run_group_tests_name("store migrate", tests, NULL, NULL);
}
