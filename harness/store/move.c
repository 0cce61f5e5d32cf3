// SPDX-License-Identifier: MIT
// Moving results between databases: an experiment as a folder of CSV files, one per table, and back.
// Ids in the files are those of the database that wrote them. Import finds each row's twin by what identifies it
// (key of the point, seed, name, facts of machine and build) and gives the others new ids where theirs are taken.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/store/csv.h"
#include "harness/store/internal.h"

// What is dumped: file, and its rows. Only runs that have ended carry results.
#define PLANNED "FROM plan p JOIN experiment e ON e.id = p.experiment_id AND e.name = ?1 "
#define ENDED                                                                                                          \
	"(SELECT r.id FROM run r JOIN plan p ON p.point_id = r.point_id AND p.seed = r.seed "                          \
	"JOIN experiment e ON e.id = p.experiment_id AND e.name = ?1 "                                                 \
	"WHERE r.state IN ('done', 'failed', 'diverged')) "
static const struct moved {
	const char *name, *select;
} moved[] = {
        {"experiment", "SELECT * FROM experiment WHERE name = ?1"},
        {"paper_value", "SELECT v.* FROM paper_value v JOIN experiment e ON e.id = v.experiment_id AND e.name = ?1 "
                        "ORDER BY v.paper, v.\"table\", v.\"row\", v.\"column\""},
        {"point", "SELECT * FROM point WHERE id IN (SELECT p.point_id " PLANNED ") ORDER BY id"},
        {"plan", "SELECT p.* " PLANNED "ORDER BY p.scale, p.ordinal"},
        {"machine", "SELECT * FROM machine WHERE id IN (SELECT machine_id FROM run WHERE id IN " ENDED ") ORDER BY id"},
        {"build", "SELECT * FROM build WHERE id IN (SELECT build_id FROM run WHERE id IN " ENDED ") ORDER BY id"},
        {"run", "SELECT id, point_id, seed, state, attempt, fraction, machine_id, build_id, started_at, finished_at, "
                "wall_s, "
                "message FROM run WHERE id IN " ENDED "ORDER BY id"},
        {"metric", "SELECT * FROM metric WHERE run_id IN " ENDED "ORDER BY run_id, ordinal"},
        {"sample", "SELECT * FROM sample WHERE run_id IN " ENDED "ORDER BY run_id, name, ordinal"},
        {"artifact", "SELECT * FROM artifact WHERE run_id IN " ENDED "ORDER BY id"},
};
enum { N_MOVED = sizeof(moved) / sizeof(moved[0]) };

static int dump_file(
        struct store *store, const struct moved *m, const char *experiment, const char *folder, struct err *err)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s.csv", folder, m->name);
	FILE *out = fopen(path, "w");
	if (!out)
		return err_system(
		        err, errno, "%s: cannot be written: %s: name a writable folder", path, strerror(errno));
	sqlite3_stmt *stmt = NULL;
	int rc = store_prepare(store, &stmt, m->select, err);
	if (!rc) {
		store_bind(stmt, "t", experiment);
		csv_write_row(out, stmt, 1);
		while ((rc = store_step(store, stmt, err)) > 0)
			csv_write_row(out, stmt, 0);
	}
	sqlite3_finalize(stmt);
	int is_bad = ferror(out);
	if ((fclose(out) || is_bad) && rc == 0)
		rc = err_system(
		        err, errno, "%s: cannot be written: %s: free some space and dump again", path, strerror(errno));
	return rc;
}

int store_dump(struct store *store, const char *experiment, const char *folder, struct err *err)
{
	int64_t known;
	if (store_get(store, err, &known, 0, "SELECT id FROM experiment WHERE name = ?", "t", experiment))
		return -1;
	if (!known)
		return err_set(err, "%s: there is no experiment '%s': `kvlab show` lists what there is", store->path,
		        experiment);
	if (mkdir(folder, 0777) && errno != EEXIST)
		return err_system(
		        err, errno, "%s: folder cannot be made: %s: make it or name another", folder, strerror(errno));
	// One transaction, so that all files are of the same moment.
	if (store_exec(store, "BEGIN", err))
		return -1;
	int rc = 0;
	for (int i = 0; i < N_MOVED && rc == 0; i++)
		rc = dump_file(store, &moved[i], experiment, folder, err);
	return store_end(store, rc, err);
}

// The header line becomes a table temp.in_<name> and the statement that fills it.
static int prepare_input(struct store *store, const char *name, struct csv_reader *reader, sqlite3_stmt **insert,
        int *n_column, struct err *err)
{
	char *columns = NULL, *marks = NULL;
	enum csv_end end = CSV_COMMA;
	int quoted;
	for (*n_column = 0; end == CSV_COMMA; ++*n_column) {
		end = csv_read_field(reader, &quoted, err);
		columns = sqlite3_mprintf(
		        "%z%s\"%w\"", columns, *n_column ? "," : "", reader->field ? reader->field : "");
		marks = sqlite3_mprintf("%z%s?", marks, *n_column ? "," : "");
		if (!columns || !marks)
			die_no_memory(0);
	}
	char *create =
	        sqlite3_mprintf("DROP TABLE IF EXISTS temp.in_%s; CREATE TABLE temp.in_%s (%s)", name, name, columns);
	char *fill = sqlite3_mprintf("INSERT INTO temp.in_%s VALUES (%s)", name, marks);
	if (!create || !fill)
		die_no_memory(0);
	int rc = end == CSV_BAD ? -1 : store_exec(store, create, err);
	if (!rc)
		rc = store_prepare(store, insert, fill, err);
	sqlite3_free(columns);
	sqlite3_free(marks);
	sqlite3_free(create);
	sqlite3_free(fill);
	return rc;
}

// 1 a record is bound, 0 the file has ended, -1 error.
static int read_record(struct csv_reader *reader, sqlite3_stmt *insert, int n_column, struct err *err)
{
	sqlite3_reset(insert);
	for (int c = 1;; c++) {
		int quoted;
		enum csv_end end = csv_read_field(reader, &quoted, err);
		if (end == CSV_BAD)
			return -1;
		if (end == CSV_FILE && c == 1 && !quoted && !*reader->field)
			return 0;
		if (c > n_column || (end != CSV_COMMA && c != n_column))
			return err_set(err,
			        "%s:%ld: record does not have %d fields as the header has: take the file from an "
			        "unbroken dump",
			        reader->path, reader->line, n_column);
		if (csv_bind(insert, c, reader, quoted, err))
			return -1;
		if (end != CSV_COMMA)
			return 1;
	}
}

static int import_file(struct store *store, const char *name, const char *folder, struct err *err)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s.csv", folder, name);
	struct csv_reader reader = {.in = fopen(path, "r"), .path = path, .next_line = 1};
	if (!reader.in)
		return err_system(err, errno, "%s: cannot be read: %s: name a folder that `kvlab dump` has written",
		        path, strerror(errno));
	sqlite3_stmt *insert = NULL;
	int n_column, rc = prepare_input(store, name, &reader, &insert, &n_column, err);
	while (rc == 0 && (rc = read_record(&reader, insert, n_column, err)) > 0)
		rc = store_step(store, insert, err);
	sqlite3_finalize(insert);
	free(reader.field);
	fclose(reader.in);
	return rc;
}

// A run that waits here has no result to lose: the imported one takes its place. A running one keeps it.
static const char merge_sql[] =
        "INSERT INTO experiment (name, question, paper, spec_path, spec_text, report_json) "
        "SELECT name, question, paper, spec_path, spec_text, report_json FROM temp.in_experiment WHERE true "
        "ON CONFLICT DO NOTHING;"
        "CREATE TEMP TABLE map_experiment AS SELECT i.id AS old, e.id AS new FROM temp.in_experiment i "
        "JOIN experiment e ON e.name = i.name;"
        "INSERT INTO paper_value SELECT m.new, paper, \"table\", \"row\", \"column\", value, source "
        "FROM temp.in_paper_value i JOIN map_experiment m ON m.old = i.experiment_id WHERE true ON CONFLICT DO NOTHING;"
        "INSERT INTO point (key, json) SELECT key, json FROM temp.in_point WHERE true ON CONFLICT DO NOTHING;"
        "CREATE TEMP TABLE map_point AS SELECT i.id AS old, o.id AS new FROM temp.in_point i JOIN point o ON o.key = "
        "i.key;"
        "CREATE UNIQUE INDEX temp.map_point_old ON map_point(old);"
        // A scale that is planned here already keeps its plan: two half plans would be a third that nobody asked for.
        "INSERT INTO plan (experiment_id, scale, ordinal, point_id, seed, label) "
        "SELECT e.new, i.scale, i.ordinal, o.new, i.seed, i.label FROM temp.in_plan i "
        "JOIN map_experiment e ON e.old = i.experiment_id JOIN map_point o ON o.old = i.point_id "
        "WHERE NOT EXISTS (SELECT 1 FROM plan p WHERE p.experiment_id = e.new AND p.scale = i.scale);"
        "INSERT INTO machine (cpu, n_core, memory_gib, os) SELECT cpu, n_core, memory_gib, os FROM temp.in_machine "
        "WHERE true "
        "ON CONFLICT DO NOTHING;"
        "CREATE TEMP TABLE map_machine AS SELECT i.id AS old, m.id AS new FROM temp.in_machine i JOIN machine m "
        "USING (cpu, n_core, memory_gib, os);"
        "INSERT INTO build (git_commit, dirty, compiler, flags, blas, cuda, binary_hash) "
        "SELECT git_commit, dirty, compiler, flags, blas, cuda, binary_hash FROM temp.in_build WHERE true "
        "ON CONFLICT DO NOTHING;"
        "CREATE TEMP TABLE map_build AS SELECT i.id AS old, b.id AS new FROM temp.in_build i JOIN build b "
        "USING (git_commit, dirty, compiler, flags, blas, cuda, binary_hash);"
        "CREATE TEMP TABLE new_run AS SELECT i.id AS old, o.new AS point_id, i.seed FROM temp.in_run i "
        "JOIN map_point o ON o.old = i.point_id WHERE NOT EXISTS "
        "(SELECT 1 FROM run r WHERE r.point_id = o.new AND r.seed = i.seed AND r.state <> 'queued');"
        "DELETE FROM run WHERE state = 'queued' AND (point_id, seed) IN (SELECT point_id, seed FROM new_run);"
        // Ids stay where they are free, so that published tables still name the right runs.
        "INSERT INTO run (id, point_id, seed, state, attempt, fraction, machine_id, build_id, started_at, finished_at, "
        "wall_s, "
        "message) SELECT CASE WHEN i.id NOT IN (SELECT id FROM run) THEN i.id END, n.point_id, n.seed, i.state, "
        "i.attempt, "
        "i.fraction, m.new, b.new, i.started_at, i.finished_at, i.wall_s, i.message FROM new_run n "
        "JOIN temp.in_run i ON i.id = n.old LEFT JOIN map_machine m ON m.old = i.machine_id "
        "LEFT JOIN map_build b ON b.old = i.build_id ORDER BY i.id NOT IN (SELECT id FROM run) DESC, i.id;"
        "CREATE TEMP TABLE map_run AS SELECT n.old, r.id AS new FROM new_run n JOIN run r USING (point_id, seed);"
        "CREATE UNIQUE INDEX temp.map_run_old ON map_run(old);"
        "INSERT INTO metric (run_id, ordinal, name, split, step, value, special) SELECT m.new, i.ordinal, i.name, "
        "i.split, "
        "i.step, i.value, i.special FROM temp.in_metric i JOIN map_run m ON m.old = i.run_id;"
        "INSERT INTO sample (run_id, name, ordinal, unit, value, special) SELECT m.new, i.name, i.ordinal, i.unit, "
        "i.value, "
        "i.special FROM temp.in_sample i JOIN map_run m ON m.old = i.run_id;"
        "INSERT INTO artifact (run_id, kind, path, bytes, sha256) SELECT m.new, i.kind, i.path, i.bytes, i.sha256 "
        "FROM temp.in_artifact i JOIN map_run m ON m.old = i.run_id;";

static const char drop_sql[] = "DROP TABLE IF EXISTS temp.map_experiment; DROP TABLE IF EXISTS temp.map_point; DROP "
                               "TABLE IF EXISTS temp.map_run;"
                               "DROP TABLE IF EXISTS temp.map_machine; DROP TABLE IF EXISTS temp.map_build; DROP TABLE "
                               "IF EXISTS temp.new_run;";

// Views of experiments that came new: their text was left out above, so that this can tell them.
static int import_views(struct store *store, struct arena *arena, struct err *err)
{
	sqlite3_stmt *stmt;
	if (store_prepare(store, &stmt,
	            "SELECT e.id, e.name, i.view_sql FROM temp.in_experiment i JOIN experiment e ON e.name = i.name "
	            "WHERE e.view_sql IS NULL AND i.view_sql IS NOT NULL",
	            err))
		return -1;
	int rc = store_step(store, stmt, err); // a dump holds one experiment
	int64_t id = rc > 0 ? sqlite3_column_int64(stmt, 0) : 0;
	char *name = rc > 0 ? store_column_text(stmt, 1, arena) : NULL;
	char *sql = rc > 0 ? store_column_text(stmt, 2, arena) : NULL;
	sqlite3_finalize(stmt);
	if (rc <= 0)
		return rc;
	if (store_do(store, err, "UPDATE experiment SET view_sql = ? WHERE id = ?", "ti", sql, id))
		return -1;
	return store_replace_views(store, id, name, sql, err);
}

int store_import(struct store *store, const char *folder, struct err *err)
{
	struct arena arena;
	if (store_begin(store, err))
		return -1;
	arena_init(&arena, 1 << 16);
	int rc = 0;
	for (int i = 0; i < N_MOVED && rc == 0; i++)
		rc = import_file(store, moved[i].name, folder, err);
	if (!rc && sqlite3_exec(store->db, merge_sql, NULL, NULL, NULL) != SQLITE_OK)
		rc = store_fail(store, "import these files", err);
	if (!rc)
		rc = import_views(store, &arena, err);
	for (int i = 0; i < N_MOVED && rc == 0; i++) {
		char sql[64];
		snprintf(sql, sizeof(sql), "DROP TABLE temp.in_%s", moved[i].name);
		rc = store_exec(store, sql, err);
	}
	if (!rc)
		rc = store_exec(store, drop_sql, err);
	arena_release(&arena);
	return store_end(store, rc, err);
}
