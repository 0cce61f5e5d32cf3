// SPDX-License-Identifier: MIT
// Dump and import: rows come back bit for bit, and nothing that is there is overwritten.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/store/store.h"
#include "tests/store/sample.h"
#include "tests/test.h"

static const int heads[] = {1, 4}, keys[] = {4, 16}, widths[] = {1, 2, 4, 8};
static const struct sample_grid grid = {.experiment = "trial",
        .view_sql = "CREATE VIEW trial AS SELECT count(*) AS n FROM metric;",
        .paper_json = "[{\"paper\":\"B\",\"table\":\"13\",\"row\":\"a\",\"column\":\"b\",\"value\":0.1}]",
        .report_json = "{\"tables\":[]}",
        .n_head = heads,
        .n_key = keys,
        .d_select_per_head = widths,
        .n_n_head = 2,
        .n_n_key = 2,
        .n_d_select_per_head = 4,
        .n_seed = 3};

// Every table as one text, without what belongs to the file and not to the results.
static char *contents(struct store *store, struct arena *arena)
{
	static const char *const sql[] = {
	        "SELECT id, point_id, seed, state, attempt, machine_id, build_id, started_at, wall_s, message FROM run "
	        "WHERE state <> 'queued' ORDER BY id",
	        "SELECT run_id, ordinal, name, split, step, value, special FROM metric ORDER BY run_id, ordinal",
	        "SELECT * FROM experiment", "SELECT * FROM paper_value", "SELECT * FROM point ORDER BY id",
	        "SELECT * FROM plan", "SELECT * FROM machine", "SELECT * FROM build", "SELECT n FROM trial"};
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
		struct table table;
		struct err err = {0};
		if (store_query(store, sql[i], NULL, &table, arena, &err))
			fail_msg("%s", err.message);
		for (long c = 0; c < table.n_row * table.n_column; c++)
			fprintf(out, "%s|", table.cell[c] ? table.cell[c] : "NULL");
		fputc('\n', out);
	}
	fclose(out);
	char *copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

static void what_is_dumped_is_imported(void **state UNUSED)
{
	char path[300], dump[300];
	char *folder = sample_folder();
	struct err err = {0};
	struct arena arena;
	struct store_run run;
	arena_init(&arena, 1 << 20);
	snprintf(path, sizeof(path), "%s/a.db", folder);
	snprintf(dump, sizeof(dump), "%s/dump", folder);
	struct store *a = sample_open(path);
	assert_int_equal(sample_plan(a, &grid, &err), 0);
	assert_int_equal(sample_finish(a, "trial", 20, &err), 20);
	assert_int_equal(store_claim(a, "trial", "small", &run, &arena, &err), 1);
	const struct metric odd[] = {{"x", "quote \" comma , \n line", 3, NAN}, {"x", "test", 4, -0.0},
	        {"x", "test", 5, 0.1}, {"x", "test", 6, INFINITY}, {"x", "", 7, 5e-324}};
	assert_int_equal(store_finish(a, run.id, RUN_DIVERGED, "", odd, 5, NULL, 0, 1.0 / 3, &err), 0);
	if (store_dump(a, "trial", dump, &err))
		fail_msg("%s", err.message);

	snprintf(path, sizeof(path), "%s/b.db", folder);
	struct store *b = sample_open(path);
	for (int i = 0; i < 2; i++) { // twice is the same as once
		if (store_import(b, dump, &err))
			fail_msg("%s", err.message);
		assert_string_equal(contents(b, &arena), contents(a, &arena));
	}
	// A plan after the import runs only what is missing.
	assert_int_equal(sample_plan(b, &grid, &err), 0);
	assert_int_equal(sample_finish(b, "trial", 1000, &err), 48 - 21);

	// Into a database whose ids are taken and where some of the runs have ended in another way.
	snprintf(path, sizeof(path), "%s/c.db", folder);
	struct store *c = sample_open(path);
	struct sample_grid other = grid;
	other.experiment = "other";
	other.view_sql = NULL;
	other.n_n_key = 1;
	assert_int_equal(sample_plan(c, &other, &err), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_claim(c, "other", "small", &run, &arena, &err), 1);
		assert_int_equal(store_finish(c, run.id, RUN_FAILED, "kept", NULL, 0, NULL, 0, 1, &err), 0);
	}
	if (store_import(c, dump, &err))
		fail_msg("%s", err.message);
	struct table table;
	assert_int_equal(store_query(c,
	                         "SELECT sum(state = 'failed' AND message = 'kept'), sum(state = 'done'), "
	                         "sum(state = 'diverged'), (SELECT count(*) FROM metric WHERE step = 100) FROM run",
	                         NULL, &table, &arena, &err),
	        0);
	assert_string_equal(table.cell[0], "2");
	assert_string_equal(table.cell[1], "18");
	assert_string_equal(table.cell[2], "1");
	assert_string_equal(table.cell[3], "18");
	store_close(a);
	store_close(b);
	store_close(c);
	arena_release(&arena);
	sample_remove(folder);
}

static void broken_dumps_change_nothing(void **state UNUSED)
{
	char path[300], dump[300], file[400];
	char *folder = sample_folder();
	struct err err = {0};
	struct arena arena;
	arena_init(&arena, 1 << 20);
	snprintf(path, sizeof(path), "%s/a.db", folder);
	snprintf(dump, sizeof(dump), "%s/dump", folder);
	struct store *a = sample_open(path);
	assert_int_equal(sample_plan(a, &grid, &err), 0);
	assert_int_equal(sample_finish(a, "trial", 5, &err), 5);
	assert_int_equal(store_dump(a, "nothing", dump, &err), -1);
	assert_non_null(strstr(err.message, "no experiment 'nothing'"));
	err_clear(&err);
	assert_int_equal(store_dump(a, "trial", dump, &err), 0);
	snprintf(file, sizeof(file), "%s/run.csv", dump);
	char *whole = sample_read_file(file, &arena), *before = contents(a, &arena);
	static const struct {
		const char *head, *reason;
	} bad[] = {{"id,point_id\n1,2,3\n", ":2: record does not have 2 fields"},
	        {"id,point_id\n1\n", ":2: record does not have 2 fields"},
	        {"id,point_id\n1,\"two\n\n", ":2: quote is never closed"},
	        {"id,point_id\n1,\"two\"x\n", ":2: text after a closing quote"},
	        {"id,point_id\n1,two\n", ":2: 'two' is neither a number nor quoted"}, {"id\n1\n", "no such column"}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		FILE *out = fopen(file, "w");
		fputs(bad[i].head, out);
		fclose(out);
		err_clear(&err);
		assert_int_equal(store_import(a, dump, &err), -1);
		if (!strstr(err.message, bad[i].reason))
			fail_msg("message: %s", err.message);
		assert_string_equal(contents(a, &arena), before);
	}
	FILE *out = fopen(file, "w");
	fputs(whole, out);
	fclose(out);
	err_clear(&err);
	assert_int_equal(store_import(a, dump, &err), 0);
	snprintf(dump, sizeof(dump), "%s/nowhere", folder);
	assert_int_equal(store_import(a, dump, &err), -1);
	assert_non_null(strstr(err.message, "nowhere/experiment.csv: cannot be read"));
	store_close(a);
	arena_release(&arena);
	sample_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_dumped_is_imported),
	        cmocka_unit_test(broken_dumps_change_nothing),
	};
	return cmocka_run_group_tests_name("store move", tests, NULL, NULL);
}
