// SPDX-License-Identifier: MIT
// Tables: from the section in the database to text, on a stream or as files.
#include "harness/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/folders.h"
#include "harness/report/grid.h"
#include "harness/report/job.h"
#include "harness/report/section.h"
#include "harness/report/source.h"

static const char *const format_name[] = {"term", "md", "csv", "tex"};
enum { N_FORMAT = sizeof(format_name) / sizeof(format_name[0]), OPEN_SHOWN = 10 };

int report_format_of(const char *name, enum report_format *format, struct err *err)
{
	for (int i = 0; i < N_FORMAT; i++) {
		if (strcmp(format_name[i], name))
			continue;
		*format = (enum report_format)i;
		return 0;
	}
	return err_set(err, "unknown format '%s': use term, md, csv or tex", name);
}

int report_check(const char *report_json, struct err *err)
{
	struct arena arena;
	struct section section;
	arena_init(&arena, 1 << 14);
	int rc = section_read(&section, report_json, &arena, err);
	arena_release(&arena);
	return rc;
}

int job_begin(struct job *job, struct store *store, const char *experiment, const char *scale, struct err *err)
{
	const char *parameters[] = {":experiment", experiment, NULL};
	struct table table;
	memset(job, 0, sizeof(*job));
	job->store = store;
	job->experiment = experiment;
	job->scale = scale;
	job->err = err;
	arena_init(&job->arena, 1 << 18);
	if (store_query(store, "SELECT report_json FROM experiment WHERE name = :experiment", parameters, &table,
	            &job->arena, err))
		return -1;
	if (!table.n_row)
		return err_set(err,
		        "no experiment '%s' in this database: run it first (kvlab show lists what there is)",
		        experiment);
	if (section_read(&job->section, table.cell[0], &job->arena, err))
		return -1;
	return source_read(&job->source, store, experiment, scale, &job->arena, err);
}

void job_end(struct job *job)
{
	arena_release(&job->arena);
}

int job_query(struct job *job, const char *sql, struct table *table)
{
	const char *const parameters[] = {":scale", job->scale, ":experiment", job->experiment, NULL};
	return store_query(job->store, sql, parameters, table, &job->arena, job->err);
}

// A line under a table: Markdown needs a list, TeX comments hold what is no part of the table.
static void print_note(FILE *out, enum report_format format, const char *text)
{
	fprintf(out, "%s%s\n", format == REPORT_MD ? "- " : format == REPORT_TEX ? "% " : "", text);
}

static void print_notes(
        FILE *out, const struct section_table *table, const struct grid *grid, enum report_format format)
{
	if (format == REPORT_MD)
		fputc('\n', out);
	if (grid->legend)
		print_note(out, format, grid->legend);
	if (table->note)
		print_note(out, format, table->note);
}

// Which runs the numbers are of, where they were made, and which are without a result.
static void print_source(FILE *out, const struct source *s, enum report_format format)
{
	print_note(out, format, s->scope);
	print_note(out, format, s->origin);
	for (long i = 0; i < s->n_open && i < OPEN_SHOWN; i++)
		print_note(out, format, s->open[i]);
	if (s->n_open > OPEN_SHOWN) {
		char text[64];
		snprintf(text, sizeof(text), "and %ld more", s->n_open - OPEN_SHOWN);
		print_note(out, format, text);
	}
}

static int print_table(
        FILE *out, struct job *job, const struct section_table *table, enum report_format format, int with_source)
{
	struct table result;
	struct grid grid;
	if (job_query(job, table->sql, &result))
		return -1;
	if (format == REPORT_CSV) {
		table_print_csv(out, &result);
		return 0;
	}
	if (grid_make(&grid, &result, table, &job->arena, job->err))
		return -1;
	static const char *const before[] = {[REPORT_TERM] = "", [REPORT_MD] = "### ", [REPORT_TEX] = "% "};
	fprintf(out, "%s%s\n\n", before[format], table->title);
	grid_print(out, &grid, format);
	print_notes(out, table, &grid, format);
	if (with_source)
		print_source(out, &job->source, format);
	return 0;
}

static int print_tables(struct job *job, const char *only, enum report_format format, FILE *out)
{
	// All tables are of the same runs: who reads them one after another is told once, below the last. In the
	// formats that are pasted elsewhere each table brings its own.
	const int is_once = format == REPORT_TERM && !only && job->section.n_table > 1;
	int n = 0;
	for (int i = 0; i < job->section.n_table; i++) {
		const struct section_table *table = &job->section.table[i];
		if (only && strcmp(only, table->name))
			continue;
		if (n++)
			fputc('\n', out);
		if (print_table(out, job, table, format, !is_once))
			return -1;
	}
	if (is_once) {
		fputc('\n', out);
		print_source(out, &job->source, format);
	}
	if (only && !n)
		return err_set(job->err, "%s: no table '%s': leave --table out to see all", job->experiment, only);
	return 0;
}

int report_print_table(struct store *store, const char *experiment, const char *scale, const char *table,
        enum report_format format, FILE *out, struct err *err)
{
	struct job job;
	int rc = job_begin(&job, store, experiment, scale, err);
	if (!rc)
		rc = print_tables(&job, table, format, out);
	job_end(&job);
	return rc;
}

int report_print(struct store *store, const char *experiment, const char *scale, enum report_format format, FILE *out,
        struct err *err)
{
	return report_print_table(store, experiment, scale, NULL, format, out, err);
}

int job_folder(const char *folder, struct err *err)
{
	char failed[FOLDERS_TEXT];
	if (folders_make(folder, failed))
		return err_system(err, errno, "%s: folder cannot be made: %s: make it or free some space", failed,
		        strerror(errno));
	return 0;
}

// Written beside the file and moved over it: readers see the old table or the new one.
static int write_file(
        struct job *job, const char *folder, const struct section_table *table, const char *ending, int format)
{
	char *path =
	        arena_printf(&job->arena, "%s/%s.%s.%s.%s", folder, job->experiment, job->scale, table->name, ending);
	char *fresh = arena_printf(&job->arena, "%s.new", path);
	FILE *out = fopen(fresh, "w");
	if (!out)
		return err_system(
		        job->err, errno, "%s: cannot be written: %s: make the folder writable", path, strerror(errno));
	int rc = 0;
	if (format >= 0) {
		rc = print_table(out, job, table, (enum report_format)format, 1);
	} else {
		struct table result;
		struct grid grid;
		rc = job_query(job, table->sql, &result);
		if (!rc)
			rc = grid_make(&grid, &result, table, &job->arena, job->err);
		if (!rc)
			grid_print_runs(out, &grid);
	}
	int is_bad = ferror(out);
	if ((fclose(out) || is_bad || (!rc && rename(fresh, path))) && !rc)
		rc = err_system(job->err, errno, "%s: cannot be written: %s: free some space", path, strerror(errno));
	if (rc)
		unlink(fresh);
	return rc;
}

int report_write(struct store *store, const char *experiment, const char *scale, const char *folder, struct err *err)
{
	struct job job;
	int rc = job_begin(&job, store, experiment, scale, err);
	if (!rc)
		rc = job_folder(folder, err);
	for (int i = 0; i < job.section.n_table && !rc; i++) {
		for (int format = REPORT_MD; format < N_FORMAT && !rc; format++)
			rc = write_file(&job, folder, &job.section.table[i], format_name[format], format);
		if (!rc)
			rc = write_file(&job, folder, &job.section.table[i], "runs.csv", -1);
	}
	job_end(&job);
	return rc;
}

int report_scale(struct store *store, const char *experiment, const char **scale, struct err *err)
{
	static const char *const known[] = {"small", "paper", "smoke"};
	const char *parameters[] = {":experiment", experiment, NULL};
	struct arena arena;
	struct table table;
	*scale = known[0];
	arena_init(&arena, 1 << 12);
	int rc = store_query(store,
	        "SELECT s.column2 FROM (VALUES (1, 'small'), (2, 'paper'), (3, 'smoke')) s WHERE EXISTS (SELECT 1 FROM "
	        "plan p "
	        "JOIN experiment e ON e.id = p.experiment_id WHERE e.name = :experiment AND p.scale = s.column2) "
	        "ORDER BY s.column1 LIMIT 1",
	        parameters, &table, &arena, err);
	for (int i = 0; i < 3 && !rc && table.n_row; i++)
		if (!strcmp(known[i], table.cell[0]))
			*scale = known[i];
	arena_release(&arena);
	return rc;
}

int report_experiments(struct store *store, char ***name, struct arena *arena, struct err *err)
{
	struct table table;
	if (store_query(store, "SELECT name FROM experiment ORDER BY name", NULL, &table, arena, err))
		return -1;
	*name = arena_zalloc(arena, ((size_t)table.n_row + 1) * sizeof(**name));
	if (table.n_row)
		memcpy(*name, table.cell, (size_t)table.n_row * sizeof(**name));
	return 0;
}
