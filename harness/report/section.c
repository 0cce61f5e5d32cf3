// SPDX-License-Identifier: MIT
#include "harness/report/section.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

struct reader {
	struct arena *arena;
	struct err *err;
	char place[128]; // "report.tables[2].pivot"
};

static int check_keys(struct reader *r, json_t *object, const char *const *known)
{
	const char *key;
	json_t *value;
	if (!json_is_object(object))
		return err_set(r->err, "%s: not a mapping: write its keys under it", r->place);
	json_object_foreach(object, key, value)
	{
		const char *const *at = known;
		while (*at && strcmp(*at, key))
			at++;
		if (!*at)
			return err_set(r->err, "%s: unknown key '%s' (see experiments/README.md)", r->place, key);
	}
	return 0;
}

// A text member; where `is_needed`, it must be there.
static int read_text(struct reader *r, json_t *object, const char *key, int is_needed, const char **text)
{
	json_t *value = json_object_get(object, key);
	*text = NULL;
	if (!value || json_is_null(value))
		return is_needed ? err_set(r->err, "%s: missing key '%s'", r->place, key) : 0;
	if (!json_is_string(value))
		return err_set(r->err, "%s: '%s' is not a text: put it in quotes", r->place, key);
	*text = arena_strdup(r->arena, json_string_value(value));
	return 0;
}

// Names become parts of file names.
static int read_name(struct reader *r, json_t *object, const char **name)
{
	if (read_text(r, object, "name", 1, name))
		return -1;
	for (const char *at = *name; *at; at++)
		if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-')
			return err_set(
			        r->err, "%s: name '%s' has other than letters, digits, '_' and '-'", r->place, *name);
	return **name ? 0 : err_set(r->err, "%s: 'name' is empty", r->place);
}

static int read_pivot(struct reader *r, json_t *object, struct section_pivot *pivot)
{
	static const char *const known[] = {"rows", "column", "cell", "half_width", "n", "of", NULL};
	if (check_keys(r, object, known) || read_text(r, object, "column", 1, &pivot->column) ||
	        read_text(r, object, "cell", 1, &pivot->cell) ||
	        read_text(r, object, "half_width", 0, &pivot->half_width) || read_text(r, object, "n", 0, &pivot->n) ||
	        read_text(r, object, "of", 0, &pivot->of))
		return -1;
	json_t *rows = json_object_get(object, "rows");
	size_t n = json_array_size(rows); // 0 for what is no array
	if (n < 1 || n > PIVOT_ROWS)
		return err_set(r->err, "%s: 'rows' is not a list of 1 to %d columns", r->place, PIVOT_ROWS);
	if (!pivot->n != !pivot->of)
		return err_set(r->err, "%s: 'n' and 'of' come together: give both or none", r->place);
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(rows, i));
		if (!text)
			return err_set(r->err, "%s: 'rows' holds other than names of columns", r->place);
		pivot->row[pivot->n_row++] = arena_strdup(r->arena, text);
	}
	return 0;
}

static int read_table(struct reader *r, json_t *object, struct section_table *table)
{
	static const char *const known[] = {"name", "title", "note", "digits", "sql", "pivot", NULL};
	if (check_keys(r, object, known) || read_name(r, object, &table->name) ||
	        read_text(r, object, "title", 1, &table->title) || read_text(r, object, "note", 0, &table->note) ||
	        read_text(r, object, "sql", 1, &table->sql))
		return -1;
	json_t *digits = json_object_get(object, "digits"), *pivot = json_object_get(object, "pivot");
	table->digits = digits ? (int)json_integer_value(digits) : 3;
	if (digits && (!json_is_integer(digits) || table->digits < 0 || table->digits > 15))
		return err_set(r->err, "%s: 'digits' is not a whole number from 0 to 15", r->place);
	if (!pivot)
		return 0;
	strcat(r->place, ".pivot");
	return read_pivot(r, pivot, &table->pivot);
}

static int read_plot(struct reader *r, json_t *object, struct section_plot *plot)
{
	static const char *const known[] = {"name", "title", "script", "data", NULL};
	if (check_keys(r, object, known) || read_name(r, object, &plot->name) ||
	        read_text(r, object, "title", 1, &plot->title) || read_text(r, object, "script", 1, &plot->script))
		return -1;
	json_t *data = json_object_get(object, "data"), *value;
	const char *key;
	size_t n = json_object_size(data);
	if (n < 1 || n > PLOT_DATA)
		return err_set(r->err, "%s: 'data' is not a mapping of 1 to %d queries", r->place, PLOT_DATA);
	json_object_foreach(data, key, value)
	{
		// The name is a prefix of gnuplot variables.
		for (const char *at = key; *at; at++)
			if (!islower((unsigned char)*at) && *at != '_')
				return err_set(r->err, "%s: data '%s' has other than small letters and '_' in its name",
				        r->place, key);
		if (!json_is_string(value))
			return err_set(r->err, "%s: data '%s' is not a query: put it in quotes", r->place, key);
		plot->data[plot->n_data].name = arena_strdup(r->arena, key);
		plot->data[plot->n_data++].sql = arena_strdup(r->arena, json_string_value(value));
	}
	return 0;
}

static int read_root(struct reader *r, struct section *section, json_t *root)
{
	static const char *const known[] = {"tables", "plots", NULL};
	if (check_keys(r, root, known))
		return -1;
	json_t *tables = json_object_get(root, "tables"), *plots = json_object_get(root, "plots");
	if ((tables && !json_is_array(tables)) || (plots && !json_is_array(plots)))
		return err_set(r->err, "report: 'tables' and 'plots' are lists: start each entry with '-'");
	section->table = arena_zalloc(r->arena, json_array_size(tables) * sizeof(*section->table));
	section->plot = arena_zalloc(r->arena, json_array_size(plots) * sizeof(*section->plot));
	for (size_t i = 0; i < json_array_size(tables); i++) {
		snprintf(r->place, sizeof(r->place), "report.tables[%zu]", i);
		if (read_table(r, json_array_get(tables, i), &section->table[section->n_table++]))
			return -1;
	}
	for (size_t i = 0; i < json_array_size(plots); i++) {
		snprintf(r->place, sizeof(r->place), "report.plots[%zu]", i);
		if (read_plot(r, json_array_get(plots, i), &section->plot[section->n_plot++]))
			return -1;
	}
	return 0;
}

int section_read(struct section *section, const char *json, struct arena *arena, struct err *err)
{
	struct reader r = {arena, err, "report"};
	json_error_t fault;
	memset(section, 0, sizeof(*section));
	if (!json)
		return 0;
	json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, &fault);
	if (!root)
		return err_set(err, "report:%d:%d: not JSON: %s", fault.line, fault.column, fault.text);
	int rc = read_root(&r, section, root);
	json_decref(root);
	return rc;
}
