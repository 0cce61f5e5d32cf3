// SPDX-License-Identifier: MIT
// The `sweep:` section: axes written as lists or ranges, crossed (product) or linked (zip), and excludes. Lists of
// cases are read in cases.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/number.h"
#include "harness/spec/matrix.h"

enum { VALUES_MOST = 10000 };

// --- values -------------------------------------------------------------------------------------------------

static int range_number(struct matrix *m, const struct node *range, const char *key, double *value)
{
	const struct node *node = node_find(range, key);
	if (!node)
		return node_fail(
		        m->err, range, "missing key '%s' in a range ({from, to, step} or {from, to, times})", key);
	if (node->kind != NODE_SCALAR || number_parse(value, node->text) || !isfinite(*value))
		return node_fail(m->err, node, "'%s' of a range is not a number", key);
	return 0;
}

static int read_range(struct matrix *m, const struct node *node, int *n_value, struct value **value)
{
	static const char *const known[] = {"from", "to", "step", "times", NULL};
	double from, to, by;
	int is_times = node_find(node, "times") != NULL;
	if (keys_check(node, known, "a range", m->err))
		return -1;
	if (is_times && node_find(node, "step"))
		return node_fail(m->err, node, "a range with both 'step' and 'times' (give one)");
	if (range_number(m, node, "from", &from) || range_number(m, node, "to", &to) ||
	        range_number(m, node, is_times ? "times" : "step", &by))
		return -1;
	if (is_times ? by <= 1 : by <= 0)
		return node_fail(
		        m->err, node, "a range whose '%s' is not above %d", is_times ? "times" : "step", is_times);
	if (is_times && from <= 0)
		return node_fail(m->err, node, "a range with 'times' whose 'from' is not above 0");
	if (from > to)
		return node_fail(m->err, node, "a range whose 'from' is above its 'to'");
	// A hair of slack, so that 0.1 to 0.3 by 0.1 has three values; computed from the start, so errors do not add
	// up.
	double last = is_times ? log(to / from) / log(by) : (to - from) / by;
	last = floor(last + 1e-9 * (1 + last));
	if (!(last < VALUES_MOST))
		return node_fail(m->err, node, "a range of more than %d values", VALUES_MOST);
	*n_value = (int)last + 1;
	*value = arena_alloc(m->arena, (size_t)*n_value * sizeof(**value));
	for (int i = 0; i < *n_value; i++) {
		char text[NUMBER_TEXT];
		double number = is_times ? from * pow(by, i) : from + i * by;
		// Twelve digits drop the rounding of the steps (0.30000000000000004) and keep every integer option.
		snprintf(text, sizeof(text), "%.12g", number);
		number_print(text, strtod(text, NULL));
		(*value)[i] = (struct value){arena_strdup(m->arena, text), node};
	}
	return 0;
}

int values_read(struct matrix *m, const struct node *node, const char *what, int *n_value, struct value **value)
{
	if (node->kind == NODE_MAPPING)
		return read_range(m, node, n_value, value);
	if (node->kind == NODE_SCALAR)
		return node_fail(m->err, node, "'%s' is a single value (write a list: [%s])", what, node->text);
	if (node->n_child == 0)
		return node_fail(m->err, node, "'%s' is an empty list (give it a value or leave it out)", what);
	if (node->n_child > VALUES_MOST)
		return node_fail(m->err, node, "'%s' has more than %d values", what, VALUES_MOST);
	*n_value = node->n_child;
	*value = arena_alloc(m->arena, (size_t)node->n_child * sizeof(**value));
	for (int i = 0; i < node->n_child; i++) {
		const struct node *child = node->child[i];
		if (child->kind != NODE_SCALAR)
			return node_fail(m->err, child, "%s among the values of '%s'", node_kind_text(child), what);
		(*value)[i] = (struct value){child->text, child};
	}
	return 0;
}

int axis_refuse_repeats(struct matrix *m, const struct axis *axis)
{
	for (int i = 0; i < axis->n_value; i++)
		for (int k = 0; k < i; k++)
			if (strcmp(axis->value[i].text, axis->value[k].text) == 0)
				return node_fail(m->err, axis->value[i].node, "value '%s' of '%s' is given twice",
				        axis->value[i].text, axis->path.text);
	return 0;
}

// --- axes ---------------------------------------------------------------------------------------------------

int path_read(struct matrix *m, const struct node *key, const char *what, struct path *path)
{
	const char *section[N_SECTION + 1] = {0};
	for (int id = 0; id < N_SECTION; id++)
		section[id] = section_name((enum section_id)id, m->procedure);
	const char *dot = strchr(key->text, '.');
	if (!dot)
		return node_fail(
		        m->err, key, "%s '%s' has no section (write one as in 'task.%s')", what, key->text, key->text);
	char *first = arena_printf(m->arena, "%.*s", (int)(dot - key->text), key->text);
	for (int id = 0; id < N_SECTION; id++)
		if (strcmp(section[id], first) == 0) {
			*path = (struct path){(enum section_id)id, dot + 1, key->text};
			return 0;
		}
	const char *near = word_nearest(section, first);
	if (near)
		return node_fail(
		        m->err, key, "%s '%s' does not exist (did you mean '%s%s'?)", what, key->text, near, dot);
	return node_fail(m->err, key, "%s '%s' does not exist (sections are model, variant, task, cache and %s)", what,
	        key->text, section[SECTION_PROCEDURE]);
}

struct axis *matrix_axis(struct matrix *m, enum section_id id, const char *key)
{
	for (int i = 0; i < m->n_axis; i++)
		if (m->axis[i].path.section == id && strcmp(m->axis[i].path.key, key) == 0)
			return &m->axis[i];
	return NULL;
}

static const char *const kind_name[] = {"product", "zip", "cases"};

int axis_add(struct matrix *m, const struct axis *axis)
{
	struct axis *before = matrix_axis(m, axis->path.section, axis->path.key);
	if (before && before->from == axis->from && before->kind == axis->kind)
		return node_fail(m->err, axis->node, "'%s' is in two lists of '%s' (give it once)", axis->path.text,
		        kind_name[axis->kind]);
	if (before && before->from == axis->from)
		return node_fail(m->err, axis->node, "'%s' is in both '%s' and '%s' (give it once)", axis->path.text,
		        kind_name[before->kind], kind_name[axis->kind]);
	if (!before && m->n_axis == AXES_MOST)
		return node_fail(m->err, axis->node, "more than %d axes", AXES_MOST);
	*(before ? before : &m->axis[m->n_axis++]) = *axis;
	return 0;
}

static int read_axes(struct matrix *m, const struct node *sweep, const struct node *axes, enum axis_kind kind)
{
	const char *what = kind_name[kind];
	if (mapping_check(axes, what, m->err))
		return -1;
	if (axes->n_child == 0)
		return node_fail(m->err, axes, "'%s' is empty (give it an axis or leave it out)", what);
	for (int i = 0; i < axes->n_child; i++) {
		struct axis axis = {.node = axes->key[i], .kind = kind, .from = sweep};
		if (path_read(m, axis.node, "sweep path", &axis.path) ||
		        values_read(m, axes->child[i], axis.path.text, &axis.n_value, &axis.value))
			return -1;
		if (kind == AXIS_PRODUCT && axis_refuse_repeats(m, &axis))
			return -1;
		if (axis_add(m, &axis))
			return -1;
	}
	return 0;
}

// --- excludes -----------------------------------------------------------------------------------------------

static int read_exclude(struct matrix *m, const struct node *node)
{
	struct exclude exclude = {.node = node};
	if (mapping_check(node, "an exclude", m->err))
		return -1;
	exclude.condition = arena_zalloc(m->arena, (size_t)node->n_child * sizeof(*exclude.condition));
	for (int i = 0; i < node->n_child; i++) {
		const struct node *child = node->child[i];
		if (strcmp(node->key[i]->text, "reason") == 0) {
			if (child->kind != NODE_SCALAR || node_is_null(child))
				return node_fail(m->err, child, "'reason' of an exclude is not a text");
			exclude.reason = child->text;
			continue;
		}
		struct axis *condition = &exclude.condition[exclude.n_condition++];
		condition->node = node->key[i];
		if (path_read(m, condition->node, "sweep path", &condition->path))
			return -1;
		if (child->kind == NODE_SCALAR) {
			condition->n_value = 1;
			condition->value = arena_alloc(m->arena, sizeof(*condition->value));
			condition->value[0] = (struct value){child->text, child};
		} else if (values_read(m, child, condition->path.text, &condition->n_value, &condition->value)) {
			return -1;
		}
	}
	if (!exclude.reason)
		return node_fail(m->err, node, "an exclude without 'reason' (it is stored beside the points left out)");
	if (exclude.n_condition == 0)
		return node_fail(m->err, node, "an exclude that excludes everything (give it a path and its values)");
	if (m->n_exclude == EXCLUDES_MOST)
		return node_fail(m->err, node, "more than %d excludes", EXCLUDES_MOST);
	m->exclude[m->n_exclude++] = exclude;
	return 0;
}

// --- the section --------------------------------------------------------------------------------------------

static int axes_before(const struct axis *a, const struct axis *b)
{
	return a->kind != b->kind ? a->kind < b->kind : a->kind == AXIS_CASES && a->list < b->list;
}

// Product axes, then zip axes, then lists of cases, each kind in the order it was written; and who advances with whom.
void sweep_sort(struct matrix *m)
{
	for (int i = 1; i < m->n_axis; i++) {
		const struct axis axis = m->axis[i];
		int k = i;
		for (; k > 0 && axes_before(&axis, &m->axis[k - 1]); k--)
			m->axis[k] = m->axis[k - 1];
		m->axis[k] = axis;
	}
	for (int i = 0; i < m->n_axis; i++) {
		struct axis *axis = &m->axis[i];
		const int is_alone = i == 0 || axis->kind == AXIS_PRODUCT || axes_before(axis - 1, axis);
		axis->digit = i == 0 ? 0 : axis[-1].digit + is_alone;
	}
}

int sweep_read(struct matrix *m, const struct node *sweep)
{
	static const char *const known[] = {"product", "zip", "cases", "exclude", NULL};
	if (mapping_check(sweep, "sweep", m->err) || keys_check(sweep, known, "sweep", m->err))
		return -1;
	const struct node *product = node_find(sweep, "product"), *zip = node_find(sweep, "zip");
	const struct node *cases = node_find(sweep, "cases"), *exclude = node_find(sweep, "exclude");
	if (sweep->n_child == 0)
		return node_fail(
		        m->err, sweep, "'sweep' is empty (give it 'product', 'zip' or 'cases', or leave it out)");
	m->sweep = sweep;
	if (product && read_axes(m, sweep, product, AXIS_PRODUCT))
		return -1;
	if (zip && read_axes(m, sweep, zip, AXIS_ZIP))
		return -1;
	if (cases && cases_read(m, sweep, cases))
		return -1;
	sweep_sort(m);
	if (exclude && exclude->kind != NODE_SEQUENCE)
		return node_fail(m->err, exclude, "'exclude' is %s, not a list", node_kind_text(exclude));
	for (int i = 0; exclude && i < exclude->n_child; i++)
		if (read_exclude(m, exclude->child[i]))
			return -1;
	return 0;
}
