// SPDX-License-Identifier: MIT
// A printable table: a query's result after pivoting and rounding, and how it looks in each format.
#ifndef KVLAB_REPORT_GRID_H
#define KVLAB_REPORT_GRID_H
#include "harness/report/report.h"
#include "harness/report/section.h"
#ifdef __cplusplus
extern "C" {
#endif

struct grid {
	int n_column;
	long n_row;
	char **head;    // n_column
	char **cell;    // n_row * n_column, never NULL
	char *is_right; // per column: numbers stand at the right
	int n_key;      // leading columns that name the row
	char **run_ids; // n_row * n_column, NULL where there are none
	char *legend;   // one line on what columns and cells are, or NULL
};

// Lays a result out for people. -1 when the pivot names a column that the query does not have.
int grid_make(struct grid *grid, const struct table *result, const struct section_table *table, struct arena *arena,
        struct err *err);
void grid_print(FILE *out, const struct grid *grid, enum report_format format);
// Rows of "row,column,run_ids".
void grid_print_runs(FILE *out, const struct grid *grid);
// The result as it came, every digit, for machines.
void table_print_csv(FILE *out, const struct table *result);
// A text as the format writes it: escaped for tex, quoted for csv where needed.
void text_print(FILE *out, const char *text, enum report_format format);

#ifdef __cplusplus
}
#endif
#endif
