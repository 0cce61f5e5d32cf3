// SPDX-License-Identifier: MIT
#include "harness/report/grid.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char runs_column[] = "run_ids";

static int find_column(const struct table *t, const char *name)
{
	for (int c = 0; c < t->n_column; c++)
		if (!strcmp(t->column[c], name))
			return c;
	return -1;
}

static char *cell_of(const struct table *t, long row, int column)
{
	return t->cell[row * t->n_column + column];
}

// Decimals for a column: none where all numbers are whole and some are beyond 1, so that steps read 1900 and an
// accuracy of 1 reads 1.000 beside its neighbours.
static int decimals_of(const struct table *t, int column, int digits)
{
	double most = 0;
	int is_real = 0;
	for (long r = 0; r < t->n_row; r++) {
		const char *text = cell_of(t, r, column);
		if (!text || !t->is_number[r * t->n_column + column])
			continue;
		double value = strtod(text, NULL);
		if (value != floor(value))
			return digits;
		most = fmax(most, fabs(value));
		is_real |= text[strspn(text, "-0123456789")] != '\0';
	}
	return is_real && most <= 1 ? digits : 0;
}

static char *number_text(const struct table *t, long row, int column, int decimals, struct arena *arena)
{
	char *text = cell_of(t, row, column);
	if (!text || !t->is_number[row * t->n_column + column])
		return text;
	double value = strtod(text, NULL);
	return isfinite(value) ? arena_printf(arena, "%.*f", decimals, value) : text;
}

static void grid_alloc(struct grid *grid, int n_column, long n_row, struct arena *arena)
{
	size_t n = (size_t)n_column * (size_t)n_row;
	grid->n_column = n_column;
	grid->n_row = n_row;
	grid->head = arena_zalloc(arena, (size_t)n_column * sizeof(*grid->head));
	grid->is_right = arena_zalloc(arena, (size_t)n_column);
	grid->cell = arena_zalloc(arena, n * sizeof(*grid->cell));
	grid->run_ids = arena_zalloc(arena, n * sizeof(*grid->run_ids));
}

static void make_flat(struct grid *grid, const struct table *t, int digits, struct arena *arena)
{
	int runs = find_column(t, runs_column);
	grid_alloc(grid, t->n_column - (runs >= 0), t->n_row, arena);
	grid->n_key = 1;
	for (int c = 0, to = 0; c < t->n_column; c++) {
		if (c == runs)
			continue;
		int decimals = decimals_of(t, c, digits);
		grid->head[to] = t->column[c];
		for (long r = 0; r < t->n_row; r++) {
			char *text = number_text(t, r, c, decimals, arena);
			grid->cell[r * grid->n_column + to] = text ? text : arena_strdup(arena, "-");
			// Numbers that a query has formatted ("99.7 %", "1.40 to 1.84") stand like numbers.
			grid->is_right[to] |= t->is_number[r * t->n_column + c] ||
			                      (text && isdigit((unsigned char)text[*text == '-']));
			if (runs >= 0 && to >= grid->n_key)
				grid->run_ids[r * grid->n_column + to] = cell_of(t, r, runs);
		}
		to++;
	}
}

struct pivot_columns {
	int row[PIVOT_ROWS], n_row, column, cell, half_width, n, of, runs;
};

static int find_needed(const struct table *t, const char *name, const char *table, int *at, struct err *err)
{
	*at = name ? find_column(t, name) : -1;
	if (!name || *at >= 0)
		return 0;
	return err_set(err,
	        "report table '%s': its query has no column '%s' that the pivot names: add it to the select", table,
	        name);
}

static int find_pivot(
        struct pivot_columns *p, const struct table *t, const struct section_table *table, struct err *err)
{
	const struct section_pivot *pivot = &table->pivot;
	p->n_row = pivot->n_row;
	p->runs = find_column(t, runs_column);
	for (int i = 0; i < p->n_row; i++)
		if (find_needed(t, pivot->row[i], table->name, &p->row[i], err))
			return -1;
	if (find_needed(t, pivot->column, table->name, &p->column, err) ||
	        find_needed(t, pivot->cell, table->name, &p->cell, err) ||
	        find_needed(t, pivot->half_width, table->name, &p->half_width, err) ||
	        find_needed(t, pivot->n, table->name, &p->n, err) ||
	        find_needed(t, pivot->of, table->name, &p->of, err))
		return -1;
	return 0;
}

static const char *or_null(const char *text)
{
	return text ? text : "NULL";
}

static int same_row(const struct table *t, const struct pivot_columns *p, long a, long b)
{
	for (int i = 0; i < p->n_row; i++)
		if (strcmp(or_null(cell_of(t, a, p->row[i])), or_null(cell_of(t, b, p->row[i]))))
			return 0;
	return 1;
}

// Numbers by value, others as text: the first row of a query need not have every column.
static int compare_heads(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	char *x_end, *y_end;
	double u = strtod(x, &x_end), v = strtod(y, &y_end);
	return *x_end || *y_end ? strcmp(x, y) : (u > v) - (u < v);
}

static char *pivot_cell(
        const struct table *t, const struct pivot_columns *p, long row, int decimals, struct arena *arena)
{
	char *text = number_text(t, row, p->cell, decimals, arena);
	if (!text)
		return arena_strdup(arena, "missing");
	if (p->half_width >= 0 && cell_of(t, row, p->half_width))
		text = arena_printf(arena, "%s ± %s", text, number_text(t, row, p->half_width, decimals, arena));
	if (p->n >= 0 && strcmp(or_null(cell_of(t, row, p->n)), or_null(cell_of(t, row, p->of))))
		text = arena_printf(
		        arena, "%s (%s of %s)", text, or_null(cell_of(t, row, p->n)), or_null(cell_of(t, row, p->of)));
	return text;
}

static int make_pivot(struct grid *grid, const struct table *t, const struct section_table *table, struct arena *arena,
        struct err *err)
{
	struct pivot_columns p;
	if (find_pivot(&p, t, table, err))
		return -1;
	char **head = arena_alloc(arena, (size_t)t->n_row * sizeof(*head));
	long *first = arena_alloc(arena, (size_t)t->n_row * sizeof(*first)),
	     *row_of = arena_alloc(arena, (size_t)t->n_row * sizeof(*row_of));
	long n_row = 0;
	int n_head = 0;
	for (long r = 0; r < t->n_row; r++) {
		long at = n_row; // rows of one group come together as a rule: look at the last one first
		while (at > 0 && !same_row(t, &p, first[at - 1], r))
			at--;
		row_of[r] = at ? at - 1 : n_row;
		if (!at)
			first[n_row++] = r;
		const char *name = or_null(cell_of(t, r, p.column));
		int h = 0;
		while (h < n_head && strcmp(head[h], name))
			h++;
		if (h == n_head)
			head[n_head++] = arena_strdup(arena, name);
	}
	qsort(head, (size_t)n_head, sizeof(*head), compare_heads);
	grid_alloc(grid, p.n_row + n_head, n_row, arena);
	grid->n_key = p.n_row;
	memset(grid->is_right, 1, (size_t)grid->n_column);
	for (int i = 0; i < p.n_row; i++) {
		grid->head[i] = t->column[p.row[i]];
		for (long r = 0; r < n_row; r++)
			grid->cell[r * grid->n_column + i] =
			        arena_strdup(arena, or_null(cell_of(t, first[r], p.row[i])));
	}
	memcpy(grid->head + p.n_row, head, (size_t)n_head * sizeof(*head));
	int decimals = decimals_of(t, p.cell, table->digits);
	for (long r = 0; r < t->n_row; r++) {
		int h = 0;
		while (strcmp(head[h], or_null(cell_of(t, r, p.column))))
			h++;
		long at = row_of[r] * grid->n_column + p.n_row + h;
		if (grid->cell[at])
			return err_set(err,
			        "report table '%s': two rows of its query fall into one cell: add what tells them "
			        "apart to "
			        "the pivot's rows",
			        table->name);
		grid->cell[at] = pivot_cell(t, &p, r, decimals, arena);
		grid->run_ids[at] = p.runs >= 0 ? cell_of(t, r, p.runs) : NULL;
	}
	int has_gap = 0;
	for (long at = 0; at < n_row * grid->n_column; at++)
		if (!grid->cell[at]) {
			grid->cell[at] = arena_strdup(arena, "-");
			has_gap = 1;
		}
	grid->legend = arena_printf(arena, "columns: %s; cells: %s%s%s", table->pivot.column, table->pivot.cell,
	        p.half_width >= 0 ? " ± half width of its 95 % interval" : "", has_gap ? "; -: not planned" : "");
	return 0;
}

int grid_make(struct grid *grid, const struct table *result, const struct section_table *table, struct arena *arena,
        struct err *err)
{
	memset(grid, 0, sizeof(*grid));
	if (table->pivot.n_row)
		return make_pivot(grid, result, table, arena, err);
	make_flat(grid, result, table->digits, arena);
	return 0;
}
