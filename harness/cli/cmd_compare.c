// SPDX-License-Identifier: MIT
// kvlab compare: what two runs, commits or databases have in common, number by number and timing by timing. Computed
// numbers are the same or not; timings get a verdict from their stored samples (base/verdict.h).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/number.h"
#include "harness/base/verdict.h"
#include "harness/cli/command.h"
#include "harness/cli/compare.h"

extern const struct command command_compare;

static const struct cli_option options[] = {
        {"fail-if", CLI_TEXT, "WHAT:SHARE",
                "exit 1 when a timing is slower (or faster) by the share, or a number differs by it"},
        {"least", CLI_TEXT, "SHARE",
                "differences of timings below it are the same (default 2%; --fail-if sets it too)"},
        {"experiment", CLI_TEXT, "NAME", "only runs of this experiment"},
        {"all", CLI_FLAG, NULL,
                "print every number and timing, not only numbers that differ and timings that are faster or slower"},
        {"db", CLI_TEXT, "FILE", "database that run ids and commits are of (default results/results.db)"},
        {0},
};

enum { N_VERDICT = VERDICT_UNKNOWN + 1 };

// What makes the command fail.
enum fail { FAIL_NEVER, FAIL_FASTER, FAIL_SLOWER, FAIL_DIFFERS, N_FAIL };
static const char *const fail_word[N_FAIL] = {"never", "faster", "slower", "differs"};
static const enum fail fail_of_verdict[N_VERDICT] = {[VERDICT_FASTER] = FAIL_FASTER, [VERDICT_SLOWER] = FAIL_SLOWER};

struct comparison {
	struct compare_side a, b;
	struct arena arena;
	double least; // share below which timings are the same
	enum fail fail;
	double fail_share;
	int shows_all;
	long n_same, n_differ, n_failing; // numbers; what --fail-if counts
	long n_verdict[N_VERDICT];
	int is_headed; // the pair's line was printed
	const struct store_run_full *run_a, *run_b;
};

// "5%" or "0.05".
static int read_share(double *share, const char *text, struct err *err)
{
	char number[32];
	const size_t length = strlen(text);
	const int is_percent = length && text[length - 1] == '%';
	snprintf(number, sizeof(number), "%.*s", (int)(length - (size_t)is_percent), text);
	if (length >= sizeof(number) || number_parse(share, number) || !isfinite(*share) || *share < 0)
		return err_set(err, "compare: '%s' is no share (write 5%% or 0.05)", text);
	*share /= is_percent ? 100 : 1;
	return 0;
}

static int read_fail(struct comparison *c, const char *text, struct err *err)
{
	const size_t word = strcspn(text, ":");
	c->fail = FAIL_NEVER;
	for (int i = FAIL_FASTER; i < N_FAIL; i++)
		if (strlen(fail_word[i]) == word && !strncmp(fail_word[i], text, word))
			c->fail = (enum fail)i;
	if (c->fail == FAIL_NEVER || text[word] != ':')
		return err_set(err,
		        "compare: option '--fail-if': '%s' is not slower:SHARE, faster:SHARE or differs:SHARE "
		        "(slower:5%%)",
		        text);
	if (read_share(&c->fail_share, text + word + 1, err))
		return -1;
	if (c->fail != FAIL_DIFFERS)
		c->least = c->fail_share;
	return 0;
}

static void head(struct comparison *c)
{
	const struct store_run_full *a = c->run_a, *b = c->run_b;
	if (c->is_headed)
		return;
	c->is_headed = 1;
	printf("%s: run %lld against run %lld, seed %llu\n", a->run.label ? a->run.label : a->run.key,
	        (long long)a->run.id, (long long)b->run.id, (unsigned long long)a->run.seed);
	if (strcmp(a->run.json, b->run.json) || a->run.seed != b->run.seed)
		printf("  they are of different points or seeds: %s, seed %llu\n",
		        b->run.label ? b->run.label : b->run.key, (unsigned long long)b->run.seed);
	if (a->machine && b->machine && strcmp(a->machine, b->machine))
		printf("  they were made on different machines: %s; %s\n", a->machine, b->machine);
}

// --- numbers ----------------------------------------------------------------------------------------------------

static const struct metric *find(const struct store_run_full *run, const struct metric *like)
{
	for (long i = 0; i < run->n_metric; i++)
		if (run->metric[i].step == like->step && !strcmp(run->metric[i].name, like->name) &&
		        !strcmp(run->metric[i].split, like->split))
			return &run->metric[i];
	return NULL;
}

static void print_missing(struct comparison *c, const struct metric *m, const char *where)
{
	c->n_differ++;
	c->n_failing += c->fail == FAIL_DIFFERS;
	head(c);
	printf("  %s/%s: only %s, %.6g\n", m->name, m->split, where, m->value);
}

static void compare_metrics(struct comparison *c)
{
	const struct store_run_full *a = c->run_a, *b = c->run_b;
	for (long i = 0; i < a->n_metric; i++) {
		const struct metric *x = &a->metric[i], *y = find(b, x);
		if (metric_is_measured(x->split) || x->step >= 0)
			continue;
		if (!y) {
			print_missing(c, x, "in A");
			continue;
		}
		const int is_same = !memcmp(&x->value, &y->value, sizeof(x->value));
		const double share = fabs(y->value - x->value) / fabs(x->value);
		c->n_same += is_same;
		c->n_differ += !is_same;
		c->n_failing += c->fail == FAIL_DIFFERS && !is_same && !(share <= c->fail_share);
		if (is_same && !c->shows_all)
			continue;
		head(c);
		printf("  %s/%s: %.6g", x->name, x->split, x->value);
		if (is_same)
			printf(", the same bits\n");
		else
			printf(" and %.6g: %+.3g %%\n", y->value, 100 * (y->value - x->value) / fabs(x->value));
	}
	for (long i = 0; i < b->n_metric; i++)
		if (!metric_is_measured(b->metric[i].split) && b->metric[i].step < 0 && !find(a, &b->metric[i]))
			print_missing(c, &b->metric[i], "in B");
}

// --- timings ----------------------------------------------------------------------------------------------------

struct samples {
	struct table table; // name, unit, value, in order of name
	long at;            // first row of the next name
};

static int read_samples(struct samples *s, struct store *store, int64_t id, struct comparison *c, struct err *err)
{
	const char *parameters[] = {":run", arena_printf(&c->arena, "%lld", (long long)id), NULL};
	s->at = 0;
	return store_query(store,
	        "SELECT name, unit, value FROM sample WHERE run_id = CAST(:run AS INTEGER) AND value IS NOT NULL "
	        "ORDER BY name, ordinal",
	        parameters, &s->table, &c->arena, err);
}

static char *cell(const struct samples *s, long row, int column)
{
	return s->table.cell[row * s->table.n_column + column];
}

// The values of the series that begins at row `from`: at most VERDICT_MOST, evenly taken. Returns the row after it.
static long series(const struct samples *s, long from, double value[VERDICT_MOST], long *n)
{
	long to = from;
	while (to < s->table.n_row && !strcmp(cell(s, to, 0), cell(s, from, 0)))
		to++;
	const long length = to - from;
	*n = length < VERDICT_MOST ? length : VERDICT_MOST;
	for (long i = 0; i < *n; i++)
		value[i] = strtod(cell(s, from + i * length / *n, 2), NULL);
	return to;
}

static void judge(
        struct comparison *c, const char *name, const char *unit, const double *x, long n_x, const double *y, long n_y)
{
	struct rng rng = rng_make(1, RNG_CHECK, 0);
	const struct ratio r = ratio_of_medians(y, n_y, x, n_x, 0, &rng);
	const double p = mann_whitney_p(y, n_y, x, n_x);
	const enum verdict verdict = verdict_of(&r, p, c->least);
	c->n_verdict[verdict]++;
	c->n_failing += c->fail && c->fail == fail_of_verdict[verdict];
	if (!fail_of_verdict[verdict] && !c->shows_all)
		return;
	head(c);
	printf("  %s (%s): B takes %.3f of A's median", name, unit, r.ratio);
	if (isfinite(r.lo))
		printf(" [%.3f, %.3f]", r.lo, r.hi);
	printf(", n %ld and %ld, p %.2g: %s\n", n_x, n_y, p, verdict_name(verdict));
}

static int compare_samples(struct comparison *c, const struct compare_pair *pair, struct err *err)
{
	static double x[VERDICT_MOST], y[VERDICT_MOST];
	struct samples a, b;
	if (read_samples(&a, c->a.store, pair->a, c, err) || read_samples(&b, c->b.store, pair->b, c, err))
		return -1;
	while (a.at < a.table.n_row && b.at < b.table.n_row) {
		long n_x, n_y;
		const char *name = cell(&a, a.at, 0);
		const int order = strcmp(name, cell(&b, b.at, 0));
		const long next_a = series(&a, a.at, x, &n_x), next_b = series(&b, b.at, y, &n_y);
		if (order == 0)
			judge(c, name, cell(&a, a.at, 1), x, n_x, y, n_y);
		a.at = order <= 0 ? next_a : a.at;
		b.at = order >= 0 ? next_b : b.at;
	}
	return 0;
}

// --- the command ------------------------------------------------------------------------------------------------

static int compare_pair(struct comparison *c, const struct compare_pair *pair, struct err *err)
{
	struct store_run_full a, b;
	const struct arena_mark mark = arena_mark(&c->arena);
	if (store_read_run(c->a.store, pair->a, &a, &c->arena, err) ||
	        store_read_run(c->b.store, pair->b, &b, &c->arena, err))
		return -1;
	c->run_a = &a;
	c->run_b = &b;
	c->is_headed = 0;
	compare_metrics(c);
	const int status = compare_samples(c, pair, err);
	arena_rewind(&c->arena, mark);
	return status;
}

static void print_summary(const struct comparison *c, long n_pair)
{
	long n_timing = 0;
	for (int v = 0; v < N_VERDICT; v++)
		n_timing += c->n_verdict[v];
	printf("%ld pair%s of runs; numbers: %ld the same bits, %ld differ; timings: ", n_pair, n_pair == 1 ? "" : "s",
	        c->n_same, c->n_differ);
	for (int v = 0; v < N_VERDICT && n_timing; v++)
		printf("%s%ld %s", v ? ", " : "", c->n_verdict[v], verdict_name((enum verdict)v));
	printf("%s\n", n_timing ? "" : "none");
	if (c->n_failing)
		printf("--fail-if %s:%g%%: %ld\n", fail_word[c->fail], 100 * c->fail_share, c->n_failing);
}

static int run_compare(struct comparison *c, const struct cli_args *args, struct err *err)
{
	const char *db = cli_text(args, "db", "results/results.db"), *experiment = cli_text(args, "experiment", NULL);
	struct compare_pair *pair;
	if (compare_open(&c->a, args->positional[0], db, experiment, &c->arena, err) ||
	        compare_open(&c->b, args->positional[1], db, experiment, &c->arena, err))
		return COMMAND_ERROR;
	const long n = compare_pairs(&pair, &c->a, &c->b, &c->arena, err);
	if (n < 0)
		return COMMAND_ERROR;
	for (long i = 0; i < n; i++)
		if (compare_pair(c, &pair[i], err))
			return COMMAND_ERROR;
	print_summary(c, n);
	return c->n_failing ? COMMAND_FAILED : COMMAND_DONE;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct comparison c = {.least = 0.02};
	if (cli_parse(&args, &command_compare, argc, argv, 2, 2, err))
		return COMMAND_ERROR;
	const char *least = cli_text(&args, "least", NULL), *fail = cli_text(&args, "fail-if", NULL);
	if ((fail && read_fail(&c, fail, err)) || (least && read_share(&c.least, least, err)))
		return COMMAND_ERROR;
	c.shows_all = cli_flag(&args, "all");
	arena_init(&c.arena, 1 << 20);
	const int status = run_compare(&c, &args, err);
	compare_close(&c.a);
	compare_close(&c.b);
	arena_release(&c.arena);
	return status;
}

const struct command command_compare = {
        .name = "compare",
        .summary = "two runs, commits or databases against each other: numbers, and timings with a verdict",
        .usage = "A B [--fail-if slower:5%] [--experiment NAME] [--all] [--db FILE]",
        .options = options,
        .run = run,
};
