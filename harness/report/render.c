// SPDX-License-Identifier: MIT
// The looks of a grid: aligned text, Markdown, TeX; and CSV.
#include <stdlib.h>
#include <string.h>

#include "harness/report/grid.h"

// Columns a terminal needs: UTF-8 continuation bytes take none.
static int width_of(const char *text)
{
	int n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static int column_width(const struct grid *grid, int c)
{
	int most = width_of(grid->head[c]);
	for (long r = 0; r < grid->n_row; r++) {
		int width = width_of(grid->cell[r * grid->n_column + c]);
		most = width > most ? width : most;
	}
	return most;
}

static void print_padded(FILE *out, const char *text, int width, int is_right)
{
	int pad = width > width_of(text) ? width - width_of(text) : 0; // a negative width would pad the other side
	fprintf(out, "%*s%s%*s", is_right ? pad : 0, "", text, is_right ? 0 : pad, "");
}

// A line of aligned cells; the last column is not padded at its end.
static void print_line(FILE *out, const struct grid *grid, char **cell, const int *width, enum report_format format)
{
	int is_md = format == REPORT_MD;
	for (int c = 0; c < grid->n_column; c++) {
		fputs(is_md ? "| " : c ? "  " : "", out);
		int is_last = c == grid->n_column - 1;
		print_padded(out, cell[c], is_last && !is_md && !grid->is_right[c] ? 0 : width[c], grid->is_right[c]);
		fputs(is_md ? " " : "", out);
	}
	fputs(is_md ? "|\n" : "\n", out);
}

static void print_rule(FILE *out, const struct grid *grid, const int *width, enum report_format format)
{
	for (int c = 0; c < grid->n_column; c++) {
		int is_md = format == REPORT_MD, n = width[c] + (is_md ? 2 - grid->is_right[c] : 0);
		fputs(is_md ? "|" : c ? "  " : "", out);
		for (int i = 0; i < n; i++)
			fputc('-', out);
		if (is_md && grid->is_right[c])
			fputc(':', out);
	}
	fputs(format == REPORT_MD ? "|\n" : "\n", out);
}

static void print_aligned(FILE *out, const struct grid *grid, enum report_format format)
{
	int *width = malloc((size_t)grid->n_column * sizeof(*width) + 1);
	if (!width)
		die_no_memory((unsigned long long)grid->n_column * sizeof(*width));
	for (int c = 0; c < grid->n_column; c++)
		width[c] = column_width(grid, c);
	print_line(out, grid, grid->head, width, format);
	print_rule(out, grid, width, format);
	for (long r = 0; r < grid->n_row; r++)
		print_line(out, grid, grid->cell + r * grid->n_column, width, format);
	free(width);
}

static void print_tex_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (!strncmp(text, "±", strlen("±"))) {
			fputs("$\\pm$", out);
			text += strlen("±") - 1;
		} else if (strchr("&%$#_{}", *text)) {
			fprintf(out, "\\%c", *text);
		} else if (*text == '\\') {
			fputs("\\textbackslash{}", out);
		} else if (*text == '~' || *text == '^') {
			fprintf(out, "\\%c{}", *text);
		} else if (*text == '<' || *text == '>') {
			fprintf(out, "$%c$", *text);
		} else {
			fputc(*text, out);
		}
	}
}

static void print_csv_text(FILE *out, const char *text)
{
	if (!text[strcspn(text, ",\"\n\r")]) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

void text_print(FILE *out, const char *text, enum report_format format)
{
	if (format == REPORT_TEX)
		print_tex_text(out, text);
	else if (format == REPORT_CSV)
		print_csv_text(out, text);
	else
		fputs(text, out);
}

static void print_tex(FILE *out, const struct grid *grid)
{
	fputs("\\begin{tabular}{", out);
	for (int c = 0; c < grid->n_column; c++)
		fputc(grid->is_right[c] ? 'r' : 'l', out);
	fputs("}\n\\hline\n", out);
	for (long r = -1; r < grid->n_row; r++) {
		for (int c = 0; c < grid->n_column; c++) {
			fputs(c ? " & " : "", out);
			print_tex_text(out, r < 0 ? grid->head[c] : grid->cell[r * grid->n_column + c]);
		}
		fputs(r < 0 ? " \\\\\n\\hline\n" : " \\\\\n", out);
	}
	fputs("\\hline\n\\end{tabular}\n", out);
}

void grid_print(FILE *out, const struct grid *grid, enum report_format format)
{
	if (format == REPORT_CSV)
		BUG("csv is printed from the result, not from the grid");
	if (format == REPORT_TEX)
		print_tex(out, grid);
	else
		print_aligned(out, grid, format);
}

void grid_print_runs(FILE *out, const struct grid *grid)
{
	fputs("row,column,run_ids\n", out);
	for (long r = 0; r < grid->n_row; r++)
		for (int c = 0; c < grid->n_column; c++) {
			char **cell = grid->cell + r * grid->n_column;
			if (!grid->run_ids[r * grid->n_column + c])
				continue;
			for (int k = 0; k < grid->n_key; k++)
				fprintf(out, "%s%s=%s", k ? " " : "", grid->head[k], cell[k]);
			fputc(',', out);
			print_csv_text(out, grid->head[c]);
			fputc(',', out);
			print_csv_text(out, grid->run_ids[r * grid->n_column + c]);
			fputc('\n', out);
		}
}

void table_print_csv(FILE *out, const struct table *result)
{
	for (long r = -1; r < result->n_row; r++) {
		int n = 0;
		for (int c = 0; c < result->n_column; c++) {
			const char *text = r < 0 ? result->column[c] : result->cell[r * result->n_column + c];
			if (!strcmp(result->column[c], "run_ids"))
				continue;
			fputs(n++ ? "," : "", out);
			print_csv_text(out, text ? text : "");
		}
		fputc('\n', out);
	}
}
