// SPDX-License-Identifier: MIT
#include "harness/report/source.h"

#include <stdlib.h>
#include <string.h>

// Every query below sees one row per planned run.
#define PLAN "FROM experiment e JOIN plan p ON p.experiment_id = e.id AND p.scale = :scale "
#define PLANNED PLAN "LEFT JOIN run r ON r.point_id = p.point_id AND r.seed = p.seed "
#define OF_EXPERIMENT "WHERE e.name = :experiment "

struct reader {
	struct store *store;
	const char *parameters[5];
	struct arena *arena;
	struct err *err;
	long n_open; // planned runs without a result
};

static int read_rows(struct reader *r, const char *sql, struct table *table)
{
	return store_query(r->store, sql, r->parameters, table, r->arena, r->err);
}

// The first column of all rows as one text.
static int read_list(struct reader *r, const char *sql, const char *separator, char **list)
{
	struct table table;
	char *text = NULL;
	size_t length;
	if (read_rows(r, sql, &table))
		return -1;
	FILE *out = open_memstream(&text, &length);
	if (!out)
		die_no_memory(1);
	for (long i = 0; i < table.n_row; i++)
		fprintf(out, "%s%s", i ? separator : "", table.cell[i * table.n_column]);
	if (fclose(out))
		die_no_memory(length);
	*list = arena_strdup(r->arena, *text ? text : "none yet");
	free(text);
	return 0;
}

static int read_seeds(struct reader *r, char **seeds)
{
	struct table table;
	if (read_rows(r, "SELECT count(DISTINCT p.seed), min(p.seed), max(p.seed) " PLAN OF_EXPERIMENT, &table))
		return -1;
	long n = atol(table.cell[0]);
	if (n > 8 && atoll(table.cell[2]) - atoll(table.cell[1]) == n - 1) {
		*seeds = arena_printf(r->arena, "%s..%s", table.cell[1], table.cell[2]);
		return 0;
	}
	return read_list(r, "SELECT DISTINCT p.seed " PLAN OF_EXPERIMENT "ORDER BY p.seed", " ", seeds);
}

// States, builds and machines in one pass over the runs.
static int read_parts(struct reader *r, char **counts, char **builds, char **machines)
{
	static const char *const state[] = {"done", "diverged", "failed", "missing"};
	struct table table;
	if (read_rows(r,
	            "WITH part AS MATERIALIZED (SELECT r.state, r.build_id, r.machine_id, count(*) AS n " PLANNED
	                    OF_EXPERIMENT "GROUP BY r.state, r.build_id, r.machine_id) "
	            "SELECT total(n), total(CASE state WHEN 'done' THEN n END), "
	            "total(CASE state WHEN 'diverged' THEN n END), total(CASE state WHEN 'failed' THEN n END), "
	            "(SELECT group_concat(name, ' and ') FROM (SELECT DISTINCT substr(git_commit, 1, 12) || "
	            "CASE dirty WHEN 0 THEN '' ELSE '+changes' END AS name FROM part JOIN build b ON b.id = build_id "
	            "WHERE state IN ('done', 'diverged') ORDER BY 1)), "
	            "(SELECT group_concat(name, ' and ') FROM (SELECT DISTINCT cpu || ', ' || n_core || "
	            "CASE n_core WHEN 1 THEN ' core' ELSE ' cores' END AS name FROM part JOIN machine m "
	            "ON m.id = machine_id WHERE state IN ('done', 'diverged') ORDER BY 1)) FROM part",
	            &table))
		return -1;
	long n[4], all = atol(table.cell[0]);
	if (!all)
		return err_set(r->err,
		        "%s: nothing is planned at scale '%s': run it at that scale first or name another with --scale",
		        r->parameters[1], r->parameters[3]);
	for (int i = 0; i < 3; i++)
		n[i] = atol(table.cell[i + 1]);
	n[3] = all - n[0] - n[1] - n[2];
	*counts = arena_printf(r->arena, "%ld runs planned", all);
	for (int i = 0; i < 4; i++)
		if (i == 0 || n[i])
			*counts = arena_printf(r->arena, "%s%s %ld %s", *counts, i ? "," : ":", n[i], state[i]);
	*builds = table.cell[4] ? table.cell[4] : arena_strdup(r->arena, "none yet");
	*machines = table.cell[5] ? table.cell[5] : arena_strdup(r->arena, "none yet");
	r->n_open = n[2] + n[3];
	return 0;
}

// ", beginning with models/gpt2": the trained models that points start from (procedure recover), "" where there are
// none.
static int read_models(struct reader *r, char **models)
{
	struct table table;
	if (read_rows(r,
	            "SELECT ', beginning with ' || group_concat(source, ' and ') FROM (SELECT DISTINCT "
	            "json ->> '$.recover.source' AS source FROM point WHERE id IN (SELECT p.point_id " PLAN
	                    OF_EXPERIMENT ") AND source <> '' ORDER BY source)",
	            &table))
		return -1;
	*models = table.cell[0] ? table.cell[0] : arena_strdup(r->arena, "");
	return 0;
}

static int read_open(struct reader *r, struct source *source)
{
	struct table table;
	if (!r->n_open)
		return 0;
	if (read_rows(r,
	            "SELECT state || ': ' || label || CASE count(*) WHEN 1 THEN ', seed ' ELSE ', seeds ' END || "
	            "group_concat(seed, ' ') || coalesce(': ' || message, '') FROM (SELECT p.ordinal, p.label, p.seed, "
	            "CASE r.state WHEN 'failed' THEN 'failed' ELSE 'missing' END AS state, r.message " PLANNED
	                    OF_EXPERIMENT
	            "AND coalesce(r.state, 'queued') NOT IN ('done', 'diverged') ORDER BY p.seed) "
	            "GROUP BY state, label, message ORDER BY state, min(ordinal)",
	            &table))
		return -1;
	source->n_open = table.n_row;
	source->open = table.cell;
	return 0;
}

// Devices that runs were on, and what was rounded there: "" where all were on processors.
static int read_devices(struct reader *r, char **devices)
{
	struct table table;
	if (read_rows(r,
	            "SELECT '; ' || group_concat(name, ' and ') FROM (SELECT DISTINCT device || "
	            "coalesce(' in ' || precision, '') || coalesce(': ' || nullif(b.cuda, 'none'), '') AS name FROM ("
	            "SELECT r.build_id, json_extract(q.json, '$.' || json_extract(q.json, '$.procedure') || '.device') "
	            "AS device, json_extract(q.json, '$.' || json_extract(q.json, '$.procedure') || '.precision') "
	            "AS precision " PLANNED "JOIN point q ON q.id = p.point_id " OF_EXPERIMENT
	            "AND r.state IN ('done', 'diverged')) LEFT JOIN build b ON b.id = build_id "
	            "WHERE device IS NOT NULL ORDER BY 1)",
	            &table))
		return -1;
	*devices = table.cell[0] ? table.cell[0] : arena_strdup(r->arena, "");
	return 0;
}

int source_read(struct source *source, struct store *store, const char *experiment, const char *scale,
        struct arena *arena, struct err *err)
{
	struct reader r = {store, {":experiment", experiment, ":scale", scale, NULL}, arena, err, 0};
	char *models = NULL, *seeds = NULL, *counts = NULL, *builds = NULL, *machines = NULL, *devices = NULL;
	memset(source, 0, sizeof(*source));
	if (read_parts(&r, &counts, &builds, &machines) || read_models(&r, &models) || read_seeds(&r, &seeds) ||
	        read_open(&r, source) || read_devices(&r, &devices))
		return -1;
	source->scope = arena_printf(arena, "%s at scale %s%s, seeds %s; %s", experiment, scale, models, seeds, counts);
	source->origin = arena_printf(arena, "commit %s; %s%s", builds, machines, devices);
	return 0;
}
