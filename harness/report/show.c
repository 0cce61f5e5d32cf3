// SPDX-License-Identifier: MIT
// What the database holds, for `kvlab show`.
#include <inttypes.h>
#include <string.h>

#include "harness/report/grid.h"

// Canonical JSON, a member a line: the store keeps it on one.
static void print_json(FILE *out, const char *json)
{
	int depth = 1, in_text = 0;
	fputs("  ", out);
	for (const char *at = json; *at; at++) {
		int opens = !in_text && (*at == '{' || *at == '['), closes = !in_text && (*at == '}' || *at == ']');
		if (*at == '"' && (at == json || at[-1] != '\\'))
			in_text = !in_text;
		depth += opens - closes;
		if (closes)
			fprintf(out, "\n%*s", 2 * depth, "");
		fputc(*at, out);
		if (!in_text && *at == ':')
			fputc(' ', out);
		if (opens || (!in_text && *at == ','))
			fprintf(out, "\n%*s", 2 * depth, "");
	}
	fputc('\n', out);
}

static const char *or_none(const char *text)
{
	return text ? text : "-";
}

int report_show(struct store *store, int64_t run_id, FILE *out, struct err *err)
{
	struct arena arena;
	struct store_run_full full;
	arena_init(&arena, 1 << 16);
	int rc = store_read_run(store, run_id, &full, &arena, err);
	if (!rc) {
		fprintf(out, "run         %" PRId64 "\nstate       %s\n", run_id, run_state_name(full.state));
		if (full.message)
			fprintf(out, "message     %s\n", full.message);
		fprintf(out,
		        "experiment  %s\npoint       %s\nsetting     %s\nseed        %" PRIu64 "\nattempt     %d\n",
		        or_none(full.experiment), full.run.key, or_none(full.run.label), full.run.seed,
		        full.run.attempt);
		fprintf(out, "started     %s\nmachine     %s\ncommit      %s\nbinary      %s\n\nsetup\n",
		        or_none(full.started_at), or_none(full.machine), or_none(full.git_commit),
		        or_none(full.binary_hash));
		print_json(out, full.run.json);
		fprintf(out, "\n%-24s %-12s %10s  %s\n", "metric", "split", "step", "value");
		for (long i = 0; i < full.n_metric; i++) {
			const struct metric *m = &full.metric[i];
			char step[24] = "run";
			if (m->step >= 0)
				snprintf(step, sizeof(step), "%ld", m->step);
			fprintf(out, "%-24s %-12s %10s  %.17g\n", m->name, m->split, step, m->value);
		}
	}
	arena_release(&arena);
	return rc;
}

static const char experiments_sql[] =
        "SELECT e.name AS experiment, p.scale, count(*) AS planned, sum(r.state = 'done') AS done, "
        "sum(r.state = 'diverged') AS diverged, sum(r.state = 'failed') AS failed, sum(r.state = 'running') AS running "
        "FROM experiment e LEFT JOIN plan p ON p.experiment_id = e.id "
        "LEFT JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed GROUP BY e.id, p.scale ORDER BY e.name, "
        "p.scale";
// One row per run, even where several scales plan it.
static const char runs_sql[] =
        "SELECT r.id AS run, r.state, p.label AS setting, r.seed, r.attempt, round(r.wall_s, 1) AS wall_s, r.message "
        "FROM experiment e JOIN plan p ON p.experiment_id = e.id "
        "JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed WHERE e.name = :experiment "
        "GROUP BY r.id ORDER BY r.id";

int report_list(struct store *store, const char *experiment, FILE *out, struct err *err)
{
	const char *parameters[] = {":experiment", experiment, NULL};
	const struct section_table layout = {.digits = 1};
	struct arena arena;
	struct table table;
	struct grid grid;
	arena_init(&arena, 1 << 16);
	int rc = store_query(store, experiment ? runs_sql : experiments_sql, parameters, &table, &arena, err);
	if (!rc && !table.n_row)
		rc = experiment ? err_set(err, "no runs of an experiment '%s' here: kvlab show lists what there is",
		                          experiment)
		                : err_set(err, "the database holds no experiment yet: kvlab run makes the first");
	if (!rc)
		rc = grid_make(&grid, &table, &layout, &arena, err);
	if (!rc)
		grid_print(out, &grid, REPORT_TERM);
	arena_release(&arena);
	return rc;
}
