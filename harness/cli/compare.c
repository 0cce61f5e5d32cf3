// SPDX-License-Identifier: MIT
#include "harness/cli/compare.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMIT_LEAST = 7, COMMIT_MOST = 40 };

static int is_made_of(const char *text, const char *letters)
{
	return *text && text[strspn(text, letters)] == '\0';
}

static int by_point(const void *x, const void *y)
{
	const struct compare_run *a = x, *b = y;
	int order = strcmp(a->json, b->json);
	order = order ? order : strcmp(a->seed, b->seed);
	return order ? order : (b->id > a->id) - (b->id < a->id);
}

// Each parameter is "" where it does not restrict.
static const char runs_sql[] =
        "SELECT r.id, o.json, r.seed FROM run r JOIN point o ON o.id = r.point_id LEFT JOIN build b ON b.id = "
        "r.build_id "
        "WHERE r.state IN ('done', 'diverged') AND (:run = '' OR r.id = CAST(:run AS INTEGER)) "
        "AND (:commit = '' OR substr(b.git_commit, 1, length(:commit)) = :commit) "
        "AND (:experiment = '' OR EXISTS (SELECT 1 FROM plan p JOIN experiment e ON e.id = p.experiment_id "
        "WHERE e.name = :experiment AND p.point_id = r.point_id AND p.seed = r.seed))";

int compare_open(struct compare_side *side, const char *argument, const char *db, const char *experiment,
        struct arena *arena, struct err *err)
{
	const size_t length = strlen(argument);
	const int is_file = access(argument, F_OK) == 0, is_run = !is_file && is_made_of(argument, "0123456789"),
	          is_commit = !is_file && !is_run && length >= COMMIT_LEAST && length <= COMMIT_MOST &&
	                      is_made_of(argument, "0123456789abcdef");
	memset(side, 0, sizeof(*side));
	side->argument = argument;
	side->db_path = is_file ? argument : db;
	if (!is_file && !is_run && !is_commit)
		return err_set(err, "compare: '%s' is no database here, no run id and no commit (7 hex digits or more)",
		        argument);
	if (store_open(&side->store, side->db_path, STORE_READ, err))
		return -1;
	struct table table;
	const char *parameters[] = {":run", is_run ? argument : "", ":commit", is_commit ? argument : "", ":experiment",
	        experiment ? experiment : "", NULL};
	if (store_query(side->store, runs_sql, parameters, &table, arena, err))
		return -1;
	if (!table.n_row)
		return err_set(err, "compare: %s has no finished run of '%s'%s%s ('kvlab show' lists what there is)",
		        side->db_path, argument, experiment ? " in experiment " : "", experiment ? experiment : "");
	side->n_run = table.n_row;
	side->run = arena_alloc(arena, (size_t)table.n_row * sizeof(*side->run));
	for (long i = 0; i < table.n_row; i++) {
		char **cell = &table.cell[i * table.n_column];
		side->run[i] = (struct compare_run){strtoll(cell[0], NULL, 10), cell[1], cell[2]};
	}
	qsort(side->run, (size_t)side->n_run, sizeof(*side->run), by_point);
	return 0;
}

void compare_close(struct compare_side *side)
{
	if (side->store)
		store_close(side->store);
}

long compare_pairs(struct compare_pair **pair, const struct compare_side *a, const struct compare_side *b,
        struct arena *arena, struct err *err)
{
	const long most = a->n_run < b->n_run ? a->n_run : b->n_run;
	long n = 0;
	*pair = arena_alloc(arena, (size_t)most * sizeof(**pair));
	if (a->n_run == 1 && b->n_run == 1) {
		(*pair)[0] = (struct compare_pair){a->run[0].id, b->run[0].id};
		return 1;
	}
	for (long i = 0, j = 0; i < a->n_run && j < b->n_run;) {
		const struct compare_run *x = &a->run[i], *y = &b->run[j];
		int order = strcmp(x->json, y->json);
		order = order ? order : strcmp(x->seed, y->seed);
		if (order == 0) {
			(*pair)[n++] = (struct compare_pair){x->id, y->id};
			i++, j++;
			// Older versions of the same point were run again: the newest counts.
			while (i < a->n_run && !strcmp(a->run[i].json, x->json) && !strcmp(a->run[i].seed, x->seed))
				i++;
			while (j < b->n_run && !strcmp(b->run[j].json, y->json) && !strcmp(b->run[j].seed, y->seed))
				j++;
		} else {
			order < 0 ? i++ : j++;
		}
	}
	if (!n)
		return err_set(err,
		        "compare: '%s' and '%s' have no point and seed in common (%ld and %ld finished runs)",
		        a->argument, b->argument, a->n_run, b->n_run);
	return n;
}
