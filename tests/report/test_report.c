// SPDX-License-Identifier: MIT
// Tables and views over made-up results: the numbers, what is missing, and that resuming changes no byte.
#include "harness/report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/stats.h"
#include "harness/store/internal.h"
#include "tests/store/sample.h"
#include "tests/test.h"

static const int heads[] = {1, 4}, keys[] = {2, 8, 32, 128}, widths[] = {1, 2, 4, 8, 12};

static const char report_json[] =
        "{\"tables\":[{\"name\":\"grid\",\"title\":\"Accuracy & more\",\"note\":\"a_b < c\",\"sql\":\"select n_head, "
        "n_key, "
        "d_select_per_head, accuracy, accuracy_half_width, n_seed, n_planned, run_ids from log2n_retrieval where scale "
        "= "
        ":scale\",\"pivot\":{\"rows\":[\"n_head\",\"n_key\"],\"column\":\"d_select_per_head\",\"cell\":\"accuracy\","
        "\"half_width\":\"accuracy_half_width\",\"n\":\"n_seed\",\"of\":\"n_planned\"}},"
        "{\"name\":\"flat\",\"title\":\"Flat\",\"digits\":2,\"sql\":\"select n_key, accuracy, run_ids from "
        "log2n_retrieval where scale = :scale and n_head = 1 and d_select_per_head = 4\"}],"
        "\"plots\":[{\"name\":\"minimum\",\"title\":\"It's a test\",\"script\":\"plots/log2n_minimum.gp\",\"data\":{"
        "\"points\":\"select n_head as panel, n_key, minimum, is_censored, n_gap, 0 as stack from "
        "log2n_retrieval_minimum where scale = :scale order by n_head\","
        "\"grid\":\"select 2 as least_n_key, 128 as most_n_key, 12 as widest\","
        "\"fit\":\"select n_head as panel, * from log2n_retrieval_fit where scale = :scale\"}}]}";

struct bench {
	char *folder;
	struct store *store;
	struct arena arena;
	struct err err;
};

static struct store *open_sample(struct bench *b, const char *name)
{
	struct sample_grid grid = {.experiment = "log2n_retrieval",
	        .report_json = report_json,
	        .view_sql = sample_read_file("experiments/log2n_retrieval.sql", &b->arena),
	        .n_head = heads,
	        .n_key = keys,
	        .d_select_per_head = widths,
	        .n_n_head = 2,
	        .n_n_key = 4,
	        .n_d_select_per_head = 5,
	        .n_seed = 3};
	assert_non_null(grid.view_sql);
	struct store *store = sample_open(arena_printf(&b->arena, "%s/%s", b->folder, name));
	if (sample_plan(store, &grid, &b->err))
		fail_msg("%s", b->err.message);
	return store;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	b->folder = sample_folder();
	arena_init(&b->arena, 1 << 18);
	b->store = open_sample(b, "a.db");
	*state = b;
	return 0;
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

static struct table query(struct bench *b, const char *sql)
{
	struct table table;
	if (store_query(b->store, sql, NULL, &table, &b->arena, &b->err))
		fail_msg("%s", b->err.message);
	return table;
}

static char *printed(struct bench *b, struct store *store, const char *table, enum report_format format)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	if (report_print_table(store, "log2n_retrieval", "small", table, format, out, &b->err))
		fail_msg("%s", b->err.message);
	fclose(out);
	char *copy = arena_strdup(&b->arena, text);
	free(text);
	return copy;
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void the_view_agrees_with_the_statistics(void **state)
{
	struct bench *b = *state;
	assert_int_equal(sample_finish(b->store, "log2n_retrieval", 1000, &b->err), 120);
	struct table t = query(b, "SELECT n_head, n_key, d_select_per_head, accuracy, accuracy_half_width, n_seed, "
	                          "accuracy_lo, accuracy_hi, "
	                          "d_select, n_pair FROM log2n_retrieval WHERE scale = 'small'");
	assert_int_equal(t.n_row, 40);
	for (long r = 0; r < t.n_row; r++) {
		char **cell = t.cell + r * t.n_column;
		int head = atoi(cell[0]), key = atoi(cell[1]), width = atoi(cell[2]);
		struct moments m = {0};
		for (uint64_t seed = 1; seed <= 3; seed++)
			moments_add(&m, sample_accuracy(head, key, width, seed));
		assert_true(fabs(atof(cell[3]) - m.mean) < 1e-12);
		assert_true(fabs(atof(cell[4]) - mean_half_width(&m)) < 1e-6);
		assert_string_equal(cell[5], "3");
		assert_true(atof(cell[6]) >= 0 && atof(cell[7]) <= 1);
		assert_int_equal(atoi(cell[8]), head * width);
		assert_int_equal(atoi(cell[9]), key < 8 ? key : 8);
	}
}

static void the_fit_agrees_with_the_statistics(void **state)
{
	struct bench *b = *state;
	sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	for (int h = 0; h < 2; h++) {
		double x[12], y[12];
		long n = 0, n_censored = 0;
		for (int k = 0; k < 4; k++)
			for (uint64_t seed = 1; seed <= 3; seed++) {
				int least = 0;
				for (int w = 4; w >= 0; w--)
					if (sample_accuracy(heads[h], keys[k], widths[w], seed) >= 0.99)
						least = widths[w];
				n_censored += !least;
				if (!least)
					continue;
				x[n] = log2(keys[k]);
				y[n++] = least;
			}
		struct line_fit fit = line_fit(x, y, n);
		struct table t = query(b, arena_printf(&b->arena,
		                                  "SELECT n, n_censored, slope, intercept, slope_half_width, "
		                                  "intercept_half_width, n_unfinished "
		                                  "FROM log2n_retrieval_fit WHERE scale = 'small' AND n_head = %d",
		                                  heads[h]));
		assert_int_equal(t.n_row, 1);
		assert_int_equal(atol(t.cell[0]), n);
		assert_int_equal(atol(t.cell[1]), n_censored);
		assert_true(fabs(atof(t.cell[2]) - fit.slope) < 1e-9);
		assert_true(fabs(atof(t.cell[3]) - fit.intercept) < 1e-9);
		assert_true(fabs(atof(t.cell[4]) - fit.slope_half_width) < 1e-9);
		assert_true(fabs(atof(t.cell[5]) - fit.intercept_half_width) < 1e-9);
		assert_string_equal(t.cell[6], "0");
	}
}

// The least width is the least, whatever wider ones do; those are counted.
static void a_wider_failure_is_a_gap(void **state)
{
	struct bench *b = *state;
	sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	static const char minimum[] = "SELECT minimum, n_gap, is_censored, fit FROM log2n_retrieval_minimum "
	                              "WHERE n_head = 1 AND n_key = 2 AND seed = 1";
	struct table before = query(b, minimum);
	assert_string_equal(before.cell[0], "2");
	assert_string_equal(before.cell[1], "0");
	// One of the wider widths ends badly, another diverges.
	static const char *const change[] = {
	        "UPDATE metric SET value = 0.5 WHERE name = 'accuracy' AND run_id IN (SELECT run_id FROM "
	        "log2n_retrieval_run WHERE n_head = 1 AND n_key = 2 AND seed = 1 AND d_select_per_head = 4)",
	        "UPDATE run SET state = 'diverged' WHERE id IN (SELECT run_id FROM log2n_retrieval_run WHERE n_head = "
	        "1 "
	        "AND n_key = 2 AND seed = 1 AND d_select_per_head = 12)",
	        "DELETE FROM metric WHERE name = 'accuracy' AND run_id IN (SELECT id FROM run WHERE state = "
	        "'diverged')",
	};
	for (int i = 0; i < 3; i++)
		assert_int_equal(store_do(b->store, &b->err, change[i], ""), 0);
	struct table after = query(b, minimum);
	assert_string_equal(after.cell[0], "2");
	assert_string_equal(after.cell[1], "2");
	assert_string_equal(after.cell[2], "0");
	assert_string_equal(after.cell[3], before.cell[3]);
	// The column `fit` is the line of the fit.
	struct table fit =
	        query(b, "SELECT max(abs(m.fit - f.intercept - f.slope * m.log2_n_key)) FROM "
	                 "log2n_retrieval_minimum m JOIN log2n_retrieval_fit f USING (scale, n_layer, n_head)");
	assert_true(atof(fit.cell[0]) < 1e-9);
}

// What an unusable run has left behind does not count.
static void stale_runs_do_not_count(void **state)
{
	struct bench *b = *state;
	sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	assert_int_equal(store_do(b->store, &b->err, "UPDATE run SET state = 'stale' WHERE id = 1", ""), 0);
	struct table t = query(b, "SELECT count(accuracy), count(*) FROM log2n_retrieval_run");
	assert_string_equal(t.cell[0], "119");
	assert_string_equal(t.cell[1], "120");
	t = query(b, "SELECT sum(n_finished < n_width) FROM log2n_retrieval_minimum WHERE minimum IS NULL");
	assert_true(atol(t.cell[0]) == 1);
}

static void the_source_is_told_once(void **state)
{
	struct bench *b = *state;
	sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	static const char scope[] = "log2n_retrieval at scale small, seeds";
	const char *term = strstr(printed(b, b->store, NULL, REPORT_TERM), scope);
	assert_non_null(term);
	assert_null(strstr(term + 1, scope));
	const char *md = strstr(printed(b, b->store, NULL, REPORT_MD), scope);
	assert_non_null(md);
	assert_non_null(strstr(md + 1, scope));
	has(printed(b, b->store, "flat", REPORT_TERM), scope);
}

static void missing_and_partial_cells_say_so(void **state)
{
	struct bench *b = *state;
	assert_int_equal(sample_finish(b->store, "log2n_retrieval", 4, &b->err), 4);
	char *text = printed(b, b->store, "grid", REPORT_TERM);
	has(text, "missing");
	has(text, "(1 of 3)");
	has(text, "log2n_retrieval at scale small, seeds 1 2 3; 120 runs planned: 4 done, 116 missing");
	has(text, "commit 0123456789ab; ");
	has(text, "missing: n_head=1 n_key=2 d_select_per_head=2, seeds 2 3\n");
	has(text, "missing: n_head=1 n_key=2 d_select_per_head=4, seeds 1 2 3\n");
	has(text, "and 29 more");
	struct table t =
	        query(b, "SELECT count(*) FROM log2n_retrieval_minimum WHERE minimum IS NOT NULL OR is_censored");
	assert_string_equal(t.cell[0], "0");
}

static void formats_escape_what_is_theirs(void **state)
{
	struct bench *b = *state;
	sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	char *md = printed(b, b->store, NULL, REPORT_MD), *tex = printed(b, b->store, "grid", REPORT_TEX);
	has(md, "### Accuracy & more\n\n| n_head | n_key |");
	has(md, "\n|-------:|------:|");
	has(md, "\n- a_b < c\n");
	has(tex, "\\begin{tabular}{rrrrrrr}\n\\hline\nn\\_head & n\\_key & 1 & 2 & 4 & 8 & 12 \\\\\n");
	has(tex, " $\\pm$ ");
	char *csv = printed(b, b->store, "flat", REPORT_CSV);
	has(csv, "n_key,accuracy\n2,");
	assert_null(strstr(csv, "run_ids"));
	// Every digit: the number reads back as the mean of what was stored.
	struct table t =
	        query(b, "SELECT accuracy FROM log2n_retrieval WHERE n_head = 1 AND n_key = 2 AND d_select = 4");
	assert_true(atof(strstr(csv, "\n2,") + 3) == atof(t.cell[0]));
}

// Killed, resumed, some runs tried twice, finished in another order: the tables are the same, byte for byte.
static void resuming_changes_no_byte(void **state)
{
	struct bench *b = *state;
	struct store_run run[2];
	struct store *other = open_sample(b, "b.db");
	sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	for (int i = 0; i < 2; i++)
		assert_int_equal(store_claim(other, "log2n_retrieval", "small", &run[i], &b->arena, &b->err), 1);
	assert_int_equal(sample_finish(other, "log2n_retrieval", 50, &b->err), 50);
	for (int i = 0; i < 2; i++)
		assert_int_equal(store_release(other, run[i].id, &b->err), 0);
	assert_int_equal(sample_finish(other, "log2n_retrieval", 1000, &b->err), 70);
	for (int format = REPORT_TERM; format <= REPORT_TEX; format++)
		assert_string_equal(printed(b, b->store, NULL, (enum report_format)format),
		        printed(b, other, NULL, (enum report_format)format));
	store_close(other);
}

static void files_are_written_with_their_runs(void **state)
{
	struct bench *b = *state;
	sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	char *folder = arena_printf(&b->arena, "%s/tables/deep", b->folder);
	if (report_write(b->store, "log2n_retrieval", "small", folder, &b->err))
		fail_msg("%s", b->err.message);
	static const char *const endings[] = {"md", "csv", "tex", "runs.csv"};
	for (int i = 0; i < 4; i++)
		assert_non_null(sample_read_file(
		        arena_printf(&b->arena, "%s/log2n_retrieval.small.flat.%s", folder, endings[i]), &b->arena));
	char *runs =
	        sample_read_file(arena_printf(&b->arena, "%s/log2n_retrieval.small.grid.runs.csv", folder), &b->arena);
	has(runs, "row,column,run_ids\nn_head=1 n_key=2,1,1 2 3\nn_head=1 n_key=2,2,4 5 6\n");
	sample_remove(arena_printf(&b->arena, "%s/tables", b->folder));
}

static void plots_are_drawn_from_the_database(void **state)
{
	struct bench *b = *state;
	if (system("command -v gnuplot >/dev/null"))
		skip();
	char *folder = arena_printf(&b->arena, "%s/plots", b->folder);
	for (int round = 0; round < 2; round++) { // nothing finished yet, then everything
		if (report_plot(b->store, "log2n_retrieval", "small", folder, &b->err))
			fail_msg("%s", b->err.message);
		sample_finish(b->store, "log2n_retrieval", 1000, &b->err);
	}
	char *svg = sample_read_file(arena_printf(&b->arena, "%s/log2n_retrieval.minimum.svg", folder), &b->arena);
	has(svg, "It's a test");
	has(svg, "120 runs planned");
	char *png = sample_read_file(arena_printf(&b->arena, "%s/log2n_retrieval.minimum.png", folder), &b->arena);
	assert_memory_equal(png, "\211PNG", 4);
	assert_int_equal(access(arena_printf(&b->arena, "%s/log2n_retrieval.minimum.svg.new", folder), F_OK), -1);
}

static void what_is_not_there_is_named(void **state)
{
	struct bench *b = *state;
	struct err err = {0};
	assert_int_equal(report_print(b->store, "nothing", "small", REPORT_TERM, stdout, &err), -1);
	has(err.message, "no experiment 'nothing'");
	err_clear(&err);
	assert_int_equal(report_print(b->store, "log2n_retrieval", "paper", REPORT_TERM, stdout, &err), -1);
	has(err.message, "nothing is planned at scale 'paper'");
	err_clear(&err);
	assert_int_equal(report_print_table(b->store, "log2n_retrieval", "small", "x", REPORT_TERM, stdout, &err), -1);
	has(err.message, "no table 'x'");
}

static void sections_are_checked(void **state UNUSED)
{
	static const char *const bad[][2] = {
	        {"{\"table\":[]}", "report: unknown key 'table'"},
	        {"{\"tables\":{}}", "report: 'tables' and 'plots' are lists"},
	        {"{\"tables\":[{\"name\":\"a\"}]}", "report.tables[0]: missing key 'title'"},
	        {"{\"tables\":[{\"name\":\"../a\",\"title\":\"t\",\"sql\":\"s\"}]}", "report.tables[0]: name '../a'"},
	        {"{\"tables\":[{\"name\":\"a\",\"title\":\"t\",\"sql\":\"s\",\"digits\":\"3\"}]}",
	                "'digits' is not a whole"},
	        {"{\"tables\":[{\"name\":\"a\",\"title\":\"t\",\"sql\":\"s\",\"pivot\":{\"column\":\"c\",\"cell\":"
	         "\"d\"}}]}",
	                "report.tables[0].pivot: 'rows' is not a list"},
	        {"{\"plots\":[{\"name\":\"a\",\"title\":\"t\",\"script\":\"s\"}]}",
	                "report.plots[0]: 'data' is not a mapping"},
	        {"{\"plots\":[{\"name\":\"a\",\"title\":\"t\",\"script\":\"s\",\"data\":{\"A b\":\"s\"}}]}",
	                "data 'A b' has"},
	        {"[]", "report: not a mapping"},
	        {"{", "report:1:"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};
		assert_int_equal(report_check(bad[i][0], &err), -1);
		has(err.message, bad[i][1]);
	}
	struct err err = {0};
	assert_int_equal(report_check(NULL, &err), 0);
	assert_int_equal(report_check(report_json, &err), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(the_view_agrees_with_the_statistics),
	        T(the_fit_agrees_with_the_statistics),
	        T(a_wider_failure_is_a_gap),
	        T(stale_runs_do_not_count),
	        T(the_source_is_told_once),
	        T(missing_and_partial_cells_say_so),
	        T(formats_escape_what_is_theirs),
	        T(resuming_changes_no_byte),
	        T(files_are_written_with_their_runs),
	        T(plots_are_drawn_from_the_database),
	        T(what_is_not_there_is_named),
	        cmocka_unit_test(sections_are_checked),
	};
	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
