// SPDX-License-Identifier: MIT
// What is to be run: the experiment, its points and the matrix of one scale.
#include <string.h>

#include "harness/store/internal.h"

static int put_experiment(struct store *store, const struct store_experiment *e, int64_t *id, struct err *err)
{
	int64_t same_views;
	// IS: NULL equals NULL.
	if (store_get(store, err, &same_views, 0, "SELECT view_sql IS ? FROM experiment WHERE name = ?", "tt",
	            e->view_sql, e->name) ||
	        store_do(store, err,
	                "INSERT INTO experiment (name, question, paper, spec_path, spec_text, report_json, view_sql) "
	                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET question = excluded.question, "
	                "paper = excluded.paper, spec_path = excluded.spec_path, spec_text = excluded.spec_text, "
	                "report_json = excluded.report_json, view_sql = excluded.view_sql",
	                "ttttttt", e->name, e->question, e->paper, e->spec_path, e->spec_text, e->report_json,
	                e->view_sql) ||
	        store_get(store, err, id, 0, "SELECT id FROM experiment WHERE name = ?", "t", e->name))
		return -1;
	if (!same_views && store_replace_views(store, *id, e->name, e->view_sql, err))
		return -1;
	if (store_do(store, err, "DELETE FROM paper_value WHERE experiment_id = ?", "i", *id))
		return -1;
	if (!e->paper_json)
		return 0;
	return store_do(store, err,
	        "INSERT INTO paper_value (experiment_id, paper, \"table\", \"row\", \"column\", value, source) "
	        "SELECT ?, value ->> '$.paper', value ->> '$.table', value ->> '$.row', value ->> '$.column', "
	        "value ->> '$.value', value ->> '$.source' FROM json_each(?)",
	        "it", *id, e->paper_json);
}

struct plan_statements {
	sqlite3_stmt *point, *find, *run, *plan;
};

static int put_planned(struct store *store, const struct plan_statements *s, int64_t experiment_id, const char *scale,
        int64_t ordinal, const struct store_planned *p, struct err *err)
{
	store_bind(s->point, "tt", p->key, p->json);
	if (store_step(store, s->point, err) < 0)
		return -1;
	store_bind(s->find, "t", p->key);
	if (store_step(store, s->find, err) <= 0)
		return -1;
	int64_t point_id = sqlite3_column_int64(s->find, 0);
	sqlite3_reset(s->find);
	store_bind(s->run, "ii", point_id, (int64_t)p->seed);
	if (store_step(store, s->run, err) < 0)
		return -1;
	store_bind(s->plan, "itiiit", experiment_id, scale, ordinal, point_id, (int64_t)p->seed, p->label);
	return store_step(store, s->plan, err);
}

static int put_matrix(struct store *store, int64_t experiment_id, const char *scale,
        const struct store_planned *planned, long n_planned, struct err *err)
{
	struct plan_statements s = {0};
	int rc = store_do(
	        store, err, "DELETE FROM plan WHERE experiment_id = ? AND scale = ?", "it", experiment_id, scale);
	if (rc ||
	        store_prepare(
	                store, &s.point, "INSERT INTO point (key, json) VALUES (?, ?) ON CONFLICT DO NOTHING", err) ||
	        store_prepare(store, &s.find, "SELECT id FROM point WHERE key = ?", err) ||
	        store_prepare(store, &s.run,
	                "INSERT INTO run (point_id, seed, state) VALUES (?, ?, 'queued') ON CONFLICT DO NOTHING",
	                err) ||
	        store_prepare(store, &s.plan,
	                "INSERT INTO plan (experiment_id, scale, ordinal, point_id, seed, label) VALUES (?, ?, ?, ?, "
	                "?, ?) "
	                "ON CONFLICT (experiment_id, scale, point_id, seed) DO NOTHING",
	                err))
		rc = -1;
	for (long i = 0; i < n_planned && rc == 0; i++)
		rc = put_planned(store, &s, experiment_id, scale, i, &planned[i], err);
	sqlite3_finalize(s.point);
	sqlite3_finalize(s.find);
	sqlite3_finalize(s.run);
	sqlite3_finalize(s.plan);
	return rc;
}

int store_plan(struct store *store, const struct store_experiment *experiment, const char *scale,
        const struct store_planned *planned, long n_planned, int retry_failed, struct err *err)
{
	int64_t id = 0;
	if (store_begin(store, err))
		return -1;
	int rc = put_experiment(store, experiment, &id, err);
	if (!rc)
		rc = put_matrix(store, id, scale, planned, n_planned, err);
	if (!rc)
		rc = store_do(store, err,
		        "UPDATE run SET state = 'queued', message = NULL WHERE (state = 'stale' OR (? AND state = "
		        "'failed')) "
		        "AND EXISTS (SELECT 1 FROM plan p WHERE p.experiment_id = ? AND p.scale = ? "
		        "AND p.point_id = run.point_id AND p.seed = run.seed)",
		        "iit", (int64_t)retry_failed, id, scale);
	return store_end(store, rc, err);
}
