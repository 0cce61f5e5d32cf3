// SPDX-License-Identifier: MIT
// Plots: each query becomes a file of tab-separated columns, and gnuplot draws the script once as SVG and once as PNG.
// A script finds these variables (plots/style.gp has helpers):
//   title, footer                the plot's own, and where the numbers come from
//   <data>_file                  a path; columns by name: using (column("n_key")):(column("accuracy"))
//   <data>_n                     how many blocks the file has: `index 0` to `index n-1`
//   <data>_<column>              space-separated words, one per block: the column in the block's first row
//                                (panel and series are there without such a column, too: "all")
// A new block starts where `panel` or `series` changes; NULL is written as NaN, which gnuplot leaves out.
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/report/job.h"
#include "harness/report/report.h"

// A gnuplot string in single quotes; TABs and line ends would end a title line.
static void print_string(FILE *out, const char *name, const char *text)
{
	fprintf(out, "%s = '", name);
	for (; *text; text++) {
		if (*text == '\'')
			fputc('\'', out);
		fputc(*text == '\n' || *text == '\t' ? ' ' : *text, out);
	}
	fputs("'\n", out);
}

static int find_column(const struct table *t, const char *name)
{
	for (int c = 0; c < t->n_column; c++)
		if (!strcmp(t->column[c], name))
			return c;
	return -1;
}

static const char *cell_or(const struct table *t, long row, int column, const char *otherwise)
{
	const char *text = column < 0 ? NULL : t->cell[row * t->n_column + column];
	return text && *text ? text : otherwise;
}

static int block_starts(const struct table *t, long row, const int key[2])
{
	for (int i = 0; i < 2 && row; i++)
		if (strcmp(cell_or(t, row, key[i], "all"), cell_or(t, row - 1, key[i], "all")))
			return 1;
	return row == 0;
}

static void print_line(FILE *out, const struct table *t, long row)
{
	for (int c = 0; c < t->n_column; c++)
		fprintf(out, "%s%s", c ? "\t" : "", row < 0 ? t->column[c] : cell_or(t, row, c, "NaN"));
	fputc('\n', out);
}

// A block's first row, column by column. Blanks would make two words of one.
static void print_words(
        FILE *out, const struct table *t, const int key[2], const char *data, const char *name, int column)
{
	const char *otherwise = column < 0 ? "all" : "NaN";
	fprintf(out, "%s_%s = '", data, name);
	for (long r = 0; r < t->n_row; r++) {
		if (!block_starts(t, r, key))
			continue;
		fputs(r ? " " : "", out);
		for (const char *at = cell_or(t, r, column, otherwise); *at; at++)
			fputc(*at == ' ' || *at == '\'' ? '_' : *at, out);
	}
	fputs("'\n", out);
}

static int write_data(struct job *job, FILE *preamble, const char *folder, const char *name, const char *sql)
{
	struct table t;
	if (job_query(job, sql, &t))
		return -1;
	char *path = arena_printf(&job->arena, "%s/%s.tsv", folder, name);
	FILE *out = fopen(path, "w");
	if (!out)
		return err_system(job->err, errno, "%s: cannot be written: %s: free some space or set TMPDIR", path,
		        strerror(errno));
	int key[2] = {find_column(&t, "panel"), find_column(&t, "series")}, n_block = 0;
	for (long r = 0; r < t.n_row; r++) {
		if (block_starts(&t, r, key)) {
			fputs(n_block++ ? "\n\n" : "", out);
			print_line(out, &t, -1); // column("name") reads the first line of each block
		}
		print_line(out, &t, r);
	}
	if (!t.n_row)
		print_line(out, &t, -1);
	if (fclose(out))
		return err_system(job->err, errno, "%s: cannot be written: %s: free some space or set TMPDIR", path,
		        strerror(errno));
	print_string(preamble, arena_printf(&job->arena, "%s_file", name), path);
	fprintf(preamble, "%s_n = %d\n", name, n_block);
	for (int c = 0; c < t.n_column; c++)
		print_words(preamble, &t, key, name, t.column[c], c);
	for (int i = 0; i < 2; i++)
		if (key[i] < 0)
			print_words(preamble, &t, key, name, i ? "series" : "panel", -1);
	return 0;
}

static const struct {
	const char *ending, *terminal;
} kinds[] = {
        {"svg", "svg size 900,600 dynamic enhanced font 'DejaVu Sans,13' background rgb 'white'"},
        {"png", "pngcairo size 1350,900 enhanced font 'DejaVu Sans,13' fontscale 1.35 linewidth 1.4 pointscale 1.4"},
};
enum { N_KIND = sizeof(kinds) / sizeof(kinds[0]) };

// The last line of what gnuplot said, for one-line errors.
static void last_line(char out[512], const char *path)
{
	char line[512];
	snprintf(out, 512, "no message");
	FILE *in = fopen(path, "r");
	while (in && fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[strspn(line, " \t^")])
			memcpy(out, line, sizeof(line));
	}
	if (in)
		fclose(in);
}

static int run_gnuplot(struct job *job, const char *script, const char *main_path, const char *log_path)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = {(char[]){"gnuplot"}, arena_strdup(&job->arena, main_path), NULL};
	pid_t child;
	int status;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log_path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	int fault = posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (fault)
		return err_fault(job->err, "gnuplot cannot be run: %s: install it (make deps names the package)",
		        strerror(fault));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	char line[512];
	last_line(line, log_path);
	return err_set(job->err, "%s: gnuplot ended with an error: %s", script, line);
}

static char *picture_path(struct job *job, const struct section_plot *plot, const char *folder, const char *ending)
{
	int is_small = !strcmp(job->scale, "small");
	return arena_printf(&job->arena, "%s/%s%s%s.%s.%s", folder, job->experiment, is_small ? "" : ".",
	        is_small ? "" : job->scale, plot->name, ending);
}

// The script around the script: variables, then each terminal in turn.
static int write_main(
        struct job *job, const struct section_plot *plot, const char *folder, const char *scratch, const char *path)
{
	const struct source *s = &job->source;
	FILE *out = fopen(path, "w");
	if (!out)
		return err_system(job->err, errno, "%s: cannot be written: %s: free some space or set TMPDIR", path,
		        strerror(errno));
	print_string(out, "title", plot->title);
	print_string(out, "footer", arena_printf(&job->arena, "%s; %s", s->scope, s->origin));
	print_string(out, "script", plot->script);
	int rc = 0;
	for (int i = 0; i < plot->n_data && !rc; i++)
		rc = write_data(job, out, scratch, plot->data[i].name, plot->data[i].sql);
	for (int i = 0; i < N_KIND; i++) {
		fprintf(out, "reset\nset terminal %s\n", kinds[i].terminal);
		print_string(out, "drawn",
		        arena_printf(&job->arena, "%s.new", picture_path(job, plot, folder, kinds[i].ending)));
		fputs("set output drawn\nload script\nset output\n", out);
	}
	if (fclose(out) && !rc)
		rc = err_system(job->err, errno, "%s: cannot be written: %s: free some space or set TMPDIR", path,
		        strerror(errno));
	return rc;
}

static int draw(struct job *job, const struct section_plot *plot, const char *folder, const char *scratch)
{
	char *main_path = arena_printf(&job->arena, "%s/main.gp", scratch);
	char *log_path = arena_printf(&job->arena, "%s/log", scratch);
	if (access(plot->script, R_OK))
		return err_set(job->err, "%s: plot script cannot be read: %s: start kvlab in the project's folder",
		        plot->script, strerror(errno));
	int rc = write_main(job, plot, folder, scratch, main_path);
	if (!rc)
		rc = run_gnuplot(job, plot->script, main_path, log_path);
	for (int i = 0; i < N_KIND; i++) {
		char *path = picture_path(job, plot, folder, kinds[i].ending);
		char *fresh = arena_printf(&job->arena, "%s.new", path);
		if (!rc && rename(fresh, path))
			rc = err_system(job->err, errno, "%s: cannot be written: %s: make the folder writable", path,
			        strerror(errno));
		if (rc)
			unlink(fresh);
	}
	for (int i = 0; i < plot->n_data; i++)
		unlink(arena_printf(&job->arena, "%s/%s.tsv", scratch, plot->data[i].name));
	unlink(main_path);
	unlink(log_path);
	return rc;
}

int report_plot(struct store *store, const char *experiment, const char *scale, const char *folder, struct err *err)
{
	struct job job;
	const char *parent = getenv("TMPDIR");
	char scratch[4096];
	int rc = job_begin(&job, store, experiment, scale, err);
	if (!rc)
		rc = job_folder(folder, err);
	if (!rc && job.section.n_plot) {
		snprintf(scratch, sizeof(scratch), "%s/kvlab-plot-XXXXXX", parent && *parent ? parent : "/tmp");
		if (!mkdtemp(scratch))
			rc = err_system(err, errno, "%s: folder cannot be made: %s: set TMPDIR to a writable one",
			        scratch, strerror(errno));
		for (int i = 0; i < job.section.n_plot && !rc; i++)
			rc = draw(&job, &job.section.plot[i], folder, scratch);
		rmdir(scratch);
	}
	job_end(&job);
	return rc;
}
