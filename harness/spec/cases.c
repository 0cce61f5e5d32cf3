// SPDX-License-Identifier: MIT
// Lists of cases in a `sweep:` section. A case is a mapping from paths to values; a path with several values makes as
// many rows of it, and `cases` inside it adds those of its own to each. A list of cases becomes axes that advance
// together, like zip's, with holes where a case does not say.
#include <string.h>

#include "harness/spec/matrix.h"

enum { ROWS_MOST = 4096 };

struct row {
	const struct node *node; // the case that it comes from
	struct value cell[AXES_MOST];
};

struct rows {
	int n;
	struct row *row;
};

struct reader {
	struct matrix *m;
	const struct node *sweep;
	int n_column;
	struct axis column[AXES_MOST]; // what the cells of a row are of
};

static int too_many(struct reader *r, const struct node *node, double n)
{
	return n > ROWS_MOST ? node_fail(r->m->err, node, "more than %d cases (shorten a list)", ROWS_MOST) : 0;
}

// b's rows behind a's.
static int append(struct reader *r, struct rows *a, const struct rows *b, const struct node *node)
{
	const int n = a->n + b->n;
	if (too_many(r, node, n))
		return -1;
	struct row *row = arena_alloc(r->m->arena, (size_t)n * sizeof(*row));
	if (a->n)
		memcpy(row, a->row, (size_t)a->n * sizeof(*row));
	memcpy(row + a->n, b->row, (size_t)b->n * sizeof(*row));
	*a = (struct rows){n, row};
	return 0;
}

// Every row of a with every row of b, which advances faster.
static int cross(struct reader *r, struct rows *a, const struct rows *b, const struct node *node)
{
	if (too_many(r, node, (double)a->n * b->n))
		return -1;
	struct row *row = arena_alloc(r->m->arena, (size_t)a->n * (size_t)b->n * sizeof(*row));
	for (int i = 0; i < a->n * b->n; i++) {
		const struct row *more = &b->row[i % b->n];
		row[i] = a->row[i / b->n];
		row[i].node = more->node;
		for (int c = 0; c < r->n_column; c++) {
			if (!more->cell[c].text)
				continue;
			if (row[i].cell[c].text)
				return node_fail(r->m->err, more->cell[c].node,
				        "'%s' is given twice for one case, here and on line %d (give it once)",
				        r->column[c].path.text, row[i].cell[c].node->line);
			row[i].cell[c] = more->cell[c];
		}
	}
	*a = (struct rows){a->n * b->n, row};
	return 0;
}

// The column of a path, a new one where it has none; -1 with a message.
static int find_column(struct reader *r, const struct node *key)
{
	struct axis axis = {.node = key, .kind = AXIS_CASES, .from = r->sweep};
	if (path_read(r->m, key, "sweep path", &axis.path))
		return -1;
	for (int c = 0; c < r->n_column; c++)
		if (strcmp(r->column[c].path.text, key->text) == 0)
			return c;
	if (r->n_column == AXES_MOST)
		return node_fail(r->m->err, key, "more than %d axes", AXES_MOST);
	r->column[r->n_column] = axis;
	return r->n_column++;
}

// The values of one path of a case as rows.
static int read_axis(struct reader *r, struct rows *rows, const struct node *key, const struct node *node)
{
	struct axis axis = {.n_value = 1, .value = &(struct value){node->text, node}};
	const int column = find_column(r, key);
	if (column < 0)
		return -1;
	axis.path = r->column[column].path;
	if (node->kind != NODE_SCALAR &&
	        (values_read(r->m, node, key->text, &axis.n_value, &axis.value) || axis_refuse_repeats(r->m, &axis)))
		return -1;
	rows->n = axis.n_value;
	rows->row = arena_zalloc(r->m->arena, (size_t)rows->n * sizeof(*rows->row));
	for (int i = 0; i < rows->n; i++)
		rows->row[i].cell[column] = axis.value[i];
	return 0;
}

static int read_cases(struct reader *r, struct rows *rows, const struct node *cases);

static int read_case(struct reader *r, struct rows *rows, const struct node *node)
{
	if (mapping_check(node, "a case", r->m->err))
		return -1;
	*rows = (struct rows){1, arena_zalloc(r->m->arena, sizeof(*rows->row))};
	for (int i = 0; i < node->n_child; i++) {
		const struct node *key = node->key[i], *child = node->child[i];
		const int is_nested = strcmp(key->text, "cases") == 0;
		struct rows more;
		if (is_nested ? read_cases(r, &more, child) : read_axis(r, &more, key, child))
			return -1;
		if (cross(r, rows, &more, key))
			return -1;
	}
	for (int i = 0; i < rows->n; i++)
		if (!rows->row[i].node)
			rows->row[i].node = node;
	return 0;
}

static int read_list(struct reader *r, struct rows *rows, const struct node *list, const char *name)
{
	*rows = (struct rows){0};
	if (list->kind != NODE_SEQUENCE)
		return node_fail(r->m->err, list, "'%s' is %s, not a list of cases", name, node_kind_text(list));
	if (list->n_child == 0)
		return node_fail(r->m->err, list, "'%s' is an empty list (give it a case or leave it out)", name);
	for (int i = 0; i < list->n_child; i++) {
		struct rows one;
		if (read_case(r, &one, list->child[i]) || append(r, rows, &one, list->child[i]))
			return -1;
	}
	return 0;
}

static int refuse_empty(struct matrix *m, const struct node *cases)
{
	return cases->n_child ? 0 : node_fail(m->err, cases, "'cases' is empty (give it a list or leave it out)");
}

// Cases inside a case: a list, or several with names, which are crossed.
static int read_cases(struct reader *r, struct rows *rows, const struct node *cases)
{
	if (cases->kind != NODE_MAPPING)
		return read_list(r, rows, cases, "cases");
	if (refuse_empty(r->m, cases))
		return -1;
	*rows = (struct rows){1, arena_zalloc(r->m->arena, sizeof(*rows->row))};
	for (int i = 0; i < cases->n_child; i++) {
		struct rows more;
		if (read_list(r, &more, cases->child[i], cases->key[i]->text) || cross(r, rows, &more, cases->key[i]))
			return -1;
	}
	return 0;
}

// --- lists as axes --------------------------------------------------------------------------------------------------

// The list of that name; what an earlier sweep had in it is dropped.
static int take_list(struct matrix *m, const char *name)
{
	int list = 0, n = 0;
	while (list < m->n_list && strcmp(m->list[list], name) != 0)
		list++;
	if (list == AXES_MOST)
		return -1;
	if (list == m->n_list)
		m->list[m->n_list++] = name;
	for (int i = 0; i < m->n_axis; i++)
		if (m->axis[i].kind != AXIS_CASES || m->axis[i].list != list)
			m->axis[n++] = m->axis[i];
	m->n_axis = n;
	return list;
}

static int add_list(struct matrix *m, const struct node *sweep, const struct node *node, const char *name)
{
	struct reader *r = arena_zalloc(m->arena, sizeof(*r));
	struct rows rows;
	r->m = m;
	r->sweep = sweep;
	if (read_list(r, &rows, node, *name ? name : "cases"))
		return -1;
	const int list = take_list(m, name);
	if (list < 0)
		return node_fail(m->err, node, "more than %d lists of cases", AXES_MOST);
	for (int c = 0; c < r->n_column; c++) {
		struct axis *axis = &r->column[c];
		axis->list = list;
		axis->n_value = rows.n;
		axis->value = arena_alloc(m->arena, (size_t)rows.n * sizeof(*axis->value));
		for (int i = 0; i < rows.n; i++) {
			const struct row *row = &rows.row[i];
			axis->value[i] = row->cell[c].text ? row->cell[c] : (struct value){NULL, row->node};
		}
		if (axis_add(m, axis))
			return -1;
	}
	return 0;
}

int cases_read(struct matrix *m, const struct node *sweep, const struct node *cases)
{
	if (cases->kind != NODE_MAPPING)
		return add_list(m, sweep, cases, "");
	if (refuse_empty(m, cases))
		return -1;
	for (int i = 0; i < cases->n_child; i++)
		if (add_list(m, sweep, cases->child[i], cases->key[i]->text))
			return -1;
	return 0;
}
