// SPDX-License-Identifier: MIT
#include "harness/report/section.h"

#include <ctype.h>
#include <string.h>

#include "harness/base/json.h"

struct reader {
	struct arena *arena;
	struct err *err;
	char place[128]; // "report.tables[2].pivot"
};

static int check_keys(struct reader *r, const struct doc *object, const char *const *known)
{
	if (doc_kind(object) != DOC_OBJECT)
		return err_set(r->err, "%s: not a mapping: write its keys under it", r->place);
	for (struct doc_walk w = {object}; doc_next(&w);) {
		const char *const *at = known;
		while (*at && strcmp(*at, w.key))
			at++;
		if (!*at)
			return err_set(r->err, "%s: unknown key '%s' (see experiments/README.md)", r->place, w.key);
	}
	return 0;
}

// A text member; where `is_needed`, it must be there.
static int read_text(struct reader *r, const struct doc *object, const char *key, int is_needed, const char **text)
{
	const struct doc *value = doc_member(object, key);
	*text = NULL;
	if (doc_kind(value) == DOC_NULL)
		return is_needed ? err_set(r->err, "%s: missing key '%s'", r->place, key) : 0;
	if (doc_kind(value) != DOC_TEXT)
		return err_set(r->err, "%s: '%s' is not a text: put it in quotes", r->place, key);
	*text = arena_strdup(r->arena, doc_text(value, NULL));
	return 0;
}

// Names become parts of file names.
static int read_name(struct reader *r, const struct doc *object, const char **name)
{
	if (read_text(r, object, "name", 1, name))
		return -1;
	for (const char *at = *name; *at; at++)
		if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-')
			return err_set(
			        r->err, "%s: name '%s' has other than letters, digits, '_' and '-'", r->place, *name);
	return **name ? 0 : err_set(r->err, "%s: 'name' is empty", r->place);
}

static int read_pivot(struct reader *r, const struct doc *object, struct section_pivot *pivot)
{
	static const char *const known[] = {"rows", "column", "cell", "half_width", "n", "of", NULL};
	if (check_keys(r, object, known) || read_text(r, object, "column", 1, &pivot->column) ||
	        read_text(r, object, "cell", 1, &pivot->cell) ||
	        read_text(r, object, "half_width", 0, &pivot->half_width) || read_text(r, object, "n", 0, &pivot->n) ||
	        read_text(r, object, "of", 0, &pivot->of))
		return -1;
	const struct doc *rows = doc_member(object, "rows");
	const size_t n = doc_kind(rows) == DOC_LIST ? doc_count(rows) : 0;
	if (n < 1 || n > PIVOT_ROWS)
		return err_set(r->err, "%s: 'rows' is not a list of 1 to %d columns", r->place, PIVOT_ROWS);
	if (!pivot->n != !pivot->of)
		return err_set(r->err, "%s: 'n' and 'of' come together: give both or none", r->place);
	for (size_t i = 0; i < n; i++) {
		const char *text = doc_text(doc_at(rows, i), NULL);
		if (!text)
			return err_set(r->err, "%s: 'rows' holds other than names of columns", r->place);
		pivot->row[pivot->n_row++] = arena_strdup(r->arena, text);
	}
	return 0;
}

static int read_table(struct reader *r, const struct doc *object, struct section_table *table)
{
	static const char *const known[] = {"name", "title", "note", "digits", "sql", "pivot", NULL};
	if (check_keys(r, object, known) || read_name(r, object, &table->name) ||
	        read_text(r, object, "title", 1, &table->title) || read_text(r, object, "note", 0, &table->note) ||
	        read_text(r, object, "sql", 1, &table->sql))
		return -1;
	const struct doc *digits = doc_member(object, "digits"), *pivot = doc_member(object, "pivot");
	long long n_digit = 3;
	if (digits && (doc_integer(digits, &n_digit) || n_digit < 0 || n_digit > 15))
		return err_set(r->err, "%s: 'digits' is not a whole number from 0 to 15", r->place);
	table->digits = (int)n_digit;
	if (!pivot)
		return 0;
	strcat(r->place, ".pivot");
	return read_pivot(r, pivot, &table->pivot);
}

static int read_plot(struct reader *r, const struct doc *object, struct section_plot *plot)
{
	static const char *const known[] = {"name", "title", "script", "data", NULL};
	if (check_keys(r, object, known) || read_name(r, object, &plot->name) ||
	        read_text(r, object, "title", 1, &plot->title) || read_text(r, object, "script", 1, &plot->script))
		return -1;
	const struct doc *data = doc_member(object, "data");
	const size_t n = doc_kind(data) == DOC_OBJECT ? doc_count(data) : 0;
	if (n < 1 || n > PLOT_DATA)
		return err_set(r->err, "%s: 'data' is not a mapping of 1 to %d queries", r->place, PLOT_DATA);
	for (struct doc_walk w = {data}; doc_next(&w);) {
		const char *sql = doc_text(w.member, NULL);
		// The name is a prefix of gnuplot variables.
		for (const char *at = w.key; *at; at++)
			if (!islower((unsigned char)*at) && *at != '_')
				return err_set(r->err, "%s: data '%s' has other than small letters and '_' in its name",
				        r->place, w.key);
		if (!sql)
			return err_set(r->err, "%s: data '%s' is not a query: put it in quotes", r->place, w.key);
		plot->data[plot->n_data].name = arena_strdup(r->arena, w.key);
		plot->data[plot->n_data++].sql = arena_strdup(r->arena, sql);
	}
	return 0;
}

static int read_root(struct reader *r, struct section *section, const struct doc *root)
{
	static const char *const known[] = {"tables", "plots", NULL};
	if (check_keys(r, root, known))
		return -1;
	const struct doc *tables = doc_member(root, "tables"), *plots = doc_member(root, "plots");
	if ((tables && doc_kind(tables) != DOC_LIST) || (plots && doc_kind(plots) != DOC_LIST))
		return err_set(r->err, "report: 'tables' and 'plots' are lists: start each entry with '-'");
	section->table = arena_zalloc(r->arena, doc_count(tables) * sizeof(*section->table));
	section->plot = arena_zalloc(r->arena, doc_count(plots) * sizeof(*section->plot));
	for (size_t i = 0; i < doc_count(tables); i++) {
		snprintf(r->place, sizeof(r->place), "report.tables[%zu]", i);
		if (read_table(r, doc_at(tables, i), &section->table[section->n_table++]))
			return -1;
	}
	for (size_t i = 0; i < doc_count(plots); i++) {
		snprintf(r->place, sizeof(r->place), "report.plots[%zu]", i);
		if (read_plot(r, doc_at(plots, i), &section->plot[section->n_plot++]))
			return -1;
	}
	return 0;
}

int section_read(struct section *section, const char *json, struct arena *arena, struct err *err)
{
	struct reader r = {arena, err, "report"};
	struct doc *root;
	memset(section, 0, sizeof(*section));
	if (!json)
		return 0;
	if (doc_read(&root, "report", json, strlen(json), 0, err))
		return -1;
	const int rc = read_root(&r, section, root);
	doc_free(root);
	return rc;
}
