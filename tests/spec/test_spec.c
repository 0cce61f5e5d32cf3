// SPDX-License-Identifier: MIT
// What a resolved spec holds: order and labels of points, seeds, scales, what is passed on, canonical JSON and keys.
#include "harness/spec/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

ARENA_FIXTURE(arena, 1 << 20);
static char folder[] = "/tmp/kvlab_spec_XXXXXX";
static char path[sizeof(folder) + 16];

static const char head[] = "experiment: t\n"
                           "question: does it?\n"
                           "procedure: train\n"
                           "model: {family: decoder}\n"
                           "variant: {name: thin_keys, d_select_per_head: 2}\n"
                           "task: {name: retrieval}\n"
                           "seeds: [5, 9, 6]\n";

static void write_file(const char *name, const char *a, const char *b)
{
	FILE *out = fopen(name, "w");
	assert_non_null(out);
	fputs(a, out);
	fputs(b, out);
	assert_int_equal(fclose(out), 0);
}

static struct spec load(const char *more, const char *scale, int n_seed)
{
	struct spec spec;
	struct err err = {0};
	write_file(path, head, more);
	if (spec_load(&spec, path, scale, n_seed, &arena, &err))
		fail_msg("%s", err.message);
	return spec;
}

static void assert_labels(const struct spec *spec, const char *const *labels)
{
	int n = 0;
	for (; labels[n] && n < spec->n_point; n++)
		assert_string_equal(spec->point[n].label, labels[n]);
	assert_int_equal(spec->n_point, n);
	assert_null(labels[n]);
}

static void the_last_axis_advances_fastest(void **state UNUSED)
{
	struct spec spec = load("sweep:\n  zip: {task.n_key: [2, 4], task.n_pair: [2, 3]}\n"
	                        "  product: {model.n_head: [1, 4], train.lr: [1e-3]}\n",
	        "small", 0);
	assert_labels(&spec, (const char *const[]){
	                             "n_head=1 lr=0.001 n_key=2 n_pair=2",
	                             "n_head=1 lr=0.001 n_key=4 n_pair=3",
	                             "n_head=4 lr=0.001 n_key=2 n_pair=2",
	                             "n_head=4 lr=0.001 n_key=4 n_pair=3",
	                             NULL,
	                     });
}

// The same points as lists of equal length spell them, in the same order.
static void cases_are_the_rows_of_a_zip(void **state UNUSED)
{
	const struct spec zip = load("sweep:\n  product: {model.n_head: [1, 4]}\n"
	                             "  zip:\n"
	                             "    task.n_key: [2, 2, 8, 8, 8, 8]\n"
	                             "    variant.name: [mha, thin_keys, mha, mha, thin_keys, thin_keys]\n"
	                             "    variant.d_select_per_head: [1, 3, 1, 1, 2, 2]\n"
	                             "    train.lr: [1e-3, 1e-3, 1e-3, 1e-2, 1e-3, 1e-2]\n",
	        "small", 0);
	const struct spec cases = load("sweep:\n  product: {model.n_head: [1, 4]}\n"
	                               "  cases:\n"
	                               "    - {task.n_key: 2, variant.name: mha}\n"
	                               "    - {task.n_key: 2, variant.d_select_per_head: 3}\n"
	                               "    - cases: [{variant.name: mha}, {variant.name: thin_keys}]\n"
	                               "      task.n_key: 8\n"
	                               "      train.lr: [1e-3, 1e-2]\n",
	        "small", 0);
	assert_int_equal(zip.n_point, 12);
	assert_int_equal(cases.n_point, 12);
	for (int i = 0; i < 12; i++)
		assert_string_equal(cases.point[i].json, zip.point[i].json);
}

static void lists_of_cases_with_names_are_crossed(void **state UNUSED)
{
	const char text[] = "sweep:\n  cases:\n    keys: [{task.n_key: 2, task.n_pair: 2}, {task.n_key: 4}]\n"
	                    "    rate: [{train.lr: [1e-3, 1e-2]}]\n"
	                    "scales:\n  small: {}\n"
	                    "  smoke: {sweep: {cases: {keys: [{task.n_key: 8}]}}}\n";
	const struct spec small = load(text, "small", 0);
	assert_labels(&small, (const char *const[]){
	                              "n_key=2 n_pair=2 lr=0.001",
	                              "n_key=2 n_pair=2 lr=0.01",
	                              "n_key=4 lr=0.001",
	                              "n_key=4 lr=0.01",
	                              NULL,
	                      });
	const struct spec smoke = load(text, "smoke", 0);
	assert_labels(&smoke, (const char *const[]){"n_key=8 lr=0.001", "n_key=8 lr=0.01", NULL});
}

static int load_with(struct spec *spec, const char *option, const char *value, struct err *err)
{
	const struct spec_override override = {option, value, "--here"};
	write_file(path, head,
	        "train: {steps: 7}\n"
	        "sweep:\n  product: {task.n_key: [2, 4]}\n  zip: {train.lr: [1e-3, 1e-2], model.d_ff: [8, 16]}\n"
	        "  cases: [{variant.name: mha}, {variant.d_select_per_head: [1, 2], train.steps: 9}]\n");
	return spec_load_with(spec, path, "small", 0, &override, 1, &arena, err);
}

// What is said above the spec counts for every point, whatever it is there: a setting, an axis, part of a case.
static void an_override_counts_for_every_point(void **state UNUSED)
{
	static const struct {
		const char *option, *value, *json;
		int n_point;
	} rows[] = {
	        {"model.n_layer", "3", "\"n_layer\":3,", 12},
	        {"task.n_key", "8", "\"n_key\":8,", 6},
	        {"train.lr", "0.5", "\"lr\":0.5,", 12},
	        {"train.steps", "11", "\"steps\":11,", 12},
	        {"variant.name", "thin_keys", "\"name\":\"thin_keys\"", 12},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct spec spec;
		struct err err = {0};
		if (load_with(&spec, rows[i].option, rows[i].value, &err))
			fail_msg("%s", err.message);
		assert_int_equal(spec.n_point, rows[i].n_point);
		for (int p = 0; p < spec.n_point; p++)
			assert_non_null(strstr(spec.point[p].json, rows[i].json));
	}
}

static void an_override_is_checked_and_named_by_its_place(void **state UNUSED)
{
	static const char *const rows[][3] = {
	        {"model.n_layers", "3", "--here: unknown key 'n_layers' in 'model' (did you mean 'n_layer'?)"},
	        {"modell.n_layer", "3",
	                "--here: option 'modell.n_layer' does not exist (did you mean 'model.n_layer'?)"},
	        {"model.n_layer", "many", "--here: n_layer: 'many' is not an integer"},
	        {"variant.name", "mhaa", "--here: unknown variant 'mhaa' (did you mean 'mha'?)"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct spec spec;
		struct err err = {0};
		assert_int_equal(load_with(&spec, rows[i][0], rows[i][1], &err), -1);
		assert_string_equal(err.message, rows[i][2]);
	}
}

static void an_axis_that_does_not_apply_is_left_out(void **state UNUSED)
{
	struct spec spec = load(
	        "sweep: {product: {variant.d_select_per_head: [1, 2], variant.name: [mha, thin_keys]}}\n", "small", 0);
	assert_labels(&spec, (const char *const[]){
	                             "variant=mha",
	                             "d_select_per_head=1 variant=thin_keys",
	                             "d_select_per_head=2 variant=thin_keys",
	                             NULL,
	                     });
	assert_int_equal(spec.n_skip, 0);
}

static void a_range_ends_where_it_says(void **state UNUSED)
{
	struct spec spec = load("sweep: {product: {model.dropout: {from: 0.1, to: 0.3, step: 0.1}}}\n", "small", 0);
	assert_labels(&spec, (const char *const[]){"dropout=0.1", "dropout=0.2", "dropout=0.3", NULL});
	spec = load("sweep: {product: {task.n_key: {from: 3, to: 50, times: 2}}}\n", "small", 0);
	assert_labels(&spec, (const char *const[]){"n_key=3", "n_key=6", "n_key=12", "n_key=24", "n_key=48", NULL});
}

static void left_out_points_keep_their_reason(void **state UNUSED)
{
	struct spec spec = load("sweep:\n  product: {task.n_key: [2, 4, 8]}\n"
	                        "  exclude: [{task.n_key: [4, 8], model.n_head: 4, reason: too slow}]\n",
	        "small", 0);
	assert_int_equal(spec.n_point, 1);
	assert_int_equal(spec.n_skip, 2);
	assert_string_equal(spec.skip[1].label, "n_key=8");
	assert_string_equal(spec.skip[1].reason, "too slow");
	spec = load("sweep: {product: {model.n_kv_head: [0, 4]}}\n", "small", 0);
	assert_string_equal(spec.skip[0].reason, "the same point as 'n_kv_head=0'");
}

static void seeds_are_cut_or_continued(void **state UNUSED)
{
	struct spec spec = load("", "small", 0);
	assert_int_equal(spec.n_seed, 3);
	assert_true(spec.seed[0] == 5 && spec.seed[1] == 9 && spec.seed[2] == 6);
	spec = load("", "small", 2);
	assert_int_equal(spec.n_seed, 2);
	spec = load("", "small", 6); // 9 is there already
	assert_true(spec.n_seed == 6 && spec.seed[3] == 7 && spec.seed[4] == 8 && spec.seed[5] == 10);
}

static void a_scale_overrides(void **state UNUSED)
{
	static const char more[] = "sweep: {product: {task.n_key: [2, 4], model.n_head: [1, 2]}}\n"
	                           "scales:\n"
	                           "  smoke: {train: {steps: 7}, sweep: {product: {task.n_key: [8]}}, seeds: [1]}\n"
	                           "  paper: {}\n";
	struct spec spec = load(more, "smoke", 0);
	assert_labels(&spec, (const char *const[]){"n_key=8 n_head=1", "n_key=8 n_head=2", NULL});
	assert_non_null(strstr(spec.point[0].json, "\"steps\":7"));
	assert_int_equal(spec.n_seed, 1);
	spec = load(more, "paper", 0);
	assert_int_equal(spec.n_point, 4);
	assert_null(strstr(spec.point[0].json, "\"steps\":7"));
	struct err err = {0};
	assert_int_equal(spec_load(&spec, path, "papre", 0, &arena, &err), -1);
	assert_string_equal(err.message, "unknown scale 'papre' (did you mean 'paper'?)");
}

static void sections_for_others_become_json(void **state UNUSED)
{
	struct spec spec =
	        load("paper_values: [{table: '13', column: a, value: +65.20}]\n"
	             "report:\n  n: [1e-3, .5, 007, 0x10, true, \"2\"]\n  sql: |\n    say \"hi\"\n    \\ caf\xc3\xa9\n",
	                "small", 0);
	assert_string_equal(spec.paper_json, "[{\"table\":\"13\",\"column\":\"a\",\"value\":65.2}]");
	assert_string_equal(spec.report_json,
	        "{\"n\":[0.001,0.5,7,\"0x10\",\"true\",\"2\"],\"sql\":\"say \\\"hi\\\"\\n\\\\ caf\xc3\xa9\\n\"}");
	assert_null(spec.view_sql);
	char *sql = arena_printf(&arena, "%s/t.sql", folder);
	write_file(sql, "create view t", " as select 1;\n");
	spec = load("", "small", 0);
	unlink(sql);
	assert_string_equal(spec.view_sql, "create view t as select 1;\n");
	assert_null(spec.report_json);
	assert_null(spec.paper_json);
}

static void json_is_canonical(void **state UNUSED)
{
	const char *json = load("", "small", 0).point[0].json;
	assert_non_null(
	        strstr(json, "{\"model\":{\"activation\":\"gelu\",\"bias\":true,\"causal\":true,\"d_ff\":128,"));
	assert_non_null(strstr(json, "\"dropout\":0,\"family\":\"decoder\","));
	assert_non_null(strstr(json, "\"n_vocab\":33,")); // derived values are in it
	assert_non_null(strstr(json, "},\"procedure\":\"train\",\"task\":{"));
	assert_non_null(strstr(json, "},\"variant\":{\"d_select\":0,\"d_select_per_head\":2,\"name\":\"thin_keys\"}}"));
}

static void the_key_depends_on_content_alone(void **state UNUSED)
{
	struct spec a = load("train: {lr: 0.001}\n", "small", 0);
	struct spec b = load("train:\n  lr: 1.0e-3 # the same\n", "small", 0);
	struct spec c = load("train: {lr: 0.0011}\n", "small", 0);
	assert_string_equal(a.point[0].key, b.point[0].key);
	assert_string_not_equal(a.point[0].key, c.point[0].key);
}

static void a_foreign_row_is_refused(void **state UNUSED)
{
	static const struct {
		const char *from, *to, *message;
	} rows[] = {
	        {"\"name\":\"retrieval\"", "\"name\":\"retrieve\"",
	                "unknown task 'retrieve' (did you mean 'retrieval'?)"},
	        {"\"d_select\":0,", "", "no 'd_select' here (stored by another version of kvlab?)"},
	        {"\"d_select\":0,", "\"d_select\":0,\"d_new\":1,", "unknown key 'd_new'"},
	        {"\"n_head\":4", "\"n_head\":\"x\"", "n_head: 'x' is not an integer"},
	        {"\"n_head\":4", "\"n_head\":[4]", "no 'n_head' here"},
	        {"\"procedure\":\"train\"", "\"procedure\":\"trian\"", "unknown procedure 'trian'"},
	        {"\"procedure\":\"train\",", "", "no 'procedure' here"},
	        {"\"procedure\":", "\"more\":{},\"procedure\":", "6 sections instead of 5"},
	        {"\"n_head\":4", "\"n_head\":7", "n_head 7"},
	        {"{\"model\"", "{{\"model\"", "stored point:1:"},
	};
	const char *json = load("", "small", 0).point[0].json;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct setup setup;
		struct err err = {0};
		const char *at = strstr(json, rows[i].from);
		assert_non_null(at);
		char *changed =
		        arena_printf(&arena, "%.*s%s%s", (int)(at - json), json, rows[i].to, at + strlen(rows[i].from));
		assert_int_equal(setup_parse(&setup, changed, &arena, &err), -1);
		if (!strstr(err.message, rows[i].message))
			fail_msg("'%s' is not '%s'", err.message, rows[i].message);
	}
}

static void what_cannot_be_read_is_named(void **state UNUSED)
{
	struct spec spec;
	struct err err = {0};
	assert_int_equal(spec_load(&spec, "no/such.yaml", "small", 0, &arena, &err), -1);
	assert_string_equal(err.message, "no/such.yaml: cannot be read: No such file or directory ('kvlab list "
	                                 "experiment' shows what there is)");
	err_clear(&err);
	assert_int_equal(spec_load(&spec, folder, "small", 0, &arena, &err), -1);
	assert_non_null(strstr(err.message, "cannot be read: Is a directory"));
}

static void the_question_is_read_alone(void **state UNUSED)
{
	char *question;
	struct err err = {0};
	write_file(path, "question: why?\n", "nothing: else\n");
	assert_int_equal(spec_question(&question, path, &arena, &err), 0);
	assert_string_equal(question, "why?");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(the_last_axis_advances_fastest),
	        TEST(cases_are_the_rows_of_a_zip),
	        TEST(lists_of_cases_with_names_are_crossed),
	        TEST(an_override_counts_for_every_point),
	        TEST(an_override_is_checked_and_named_by_its_place),
	        TEST(an_axis_that_does_not_apply_is_left_out),
	        TEST(a_range_ends_where_it_says),
	        TEST(left_out_points_keep_their_reason),
	        TEST(seeds_are_cut_or_continued),
	        TEST(a_scale_overrides),
	        TEST(sections_for_others_become_json),
	        TEST(json_is_canonical),
	        TEST(the_key_depends_on_content_alone),
	        TEST(a_foreign_row_is_refused),
	        TEST(what_cannot_be_read_is_named),
	        TEST(the_question_is_read_alone),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	int failed = cmocka_run_group_tests_name("spec", tests, NULL, NULL);
	unlink(path);
	rmdir(folder);
	return failed;
}
