// SPDX-License-Identifier: MIT
// One SELECT into a table of text, for reports: they know SQL and views, not SQLite.
#include <stdlib.h>
#include <string.h>

#include "harness/store/internal.h"

// The shortest text that reads back to the same double; a whole one keeps ".0", so that readers can tell it is real.
static void real_text(char out[40], double value)
{
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(out, 32, "%.*g", digits, value);
		if (strtod(out, NULL) == value)
			break;
	}
	if (!out[strspn(out, "-0123456789")])
		strcat(out, ".0");
}

static char *cell_text(sqlite3_stmt *stmt, int at, unsigned char *is_number, struct arena *arena)
{
	char text[40];
	int type = sqlite3_column_type(stmt, at);
	*is_number = type == SQLITE_INTEGER || type == SQLITE_FLOAT;
	if (type == SQLITE_NULL)
		return NULL;
	if (type != SQLITE_FLOAT)
		return store_column_text(stmt, at, arena);
	real_text(text, sqlite3_column_double(stmt, at));
	return arena_strdup(arena, text);
}

static int bind_parameters(struct store *store, sqlite3_stmt *stmt, const char *const *parameters, struct err *err)
{
	for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); i++) {
		const char *name = sqlite3_bind_parameter_name(stmt, i), *const *at = parameters;
		while (at && *at && (!name || strcmp(*at, name)))
			at += 2;
		if (!at || !*at)
			return err_set(err, "%s: query has the parameter '%s', which is unknown here: use %s",
			        store->path, name ? name : "?", parameters && *parameters ? *parameters : "none");
		sqlite3_bind_text(stmt, i, at[1], -1, SQLITE_STATIC);
	}
	return 0;
}

static int read_rows(struct store *store, sqlite3_stmt *stmt, struct table *table, struct arena *arena, struct err *err)
{
	size_t n = (size_t)table->n_column;
	long room = 0;
	int rc;
	while ((rc = store_step(store, stmt, err)) > 0) {
		if (table->n_row == room) { // the old half stays in the arena: at most as much again
			char **cell = table->cell;
			unsigned char *is_number = table->is_number;
			size_t used = (size_t)room * n;
			room = room ? 2 * room : 64;
			table->cell = arena_alloc(arena, (size_t)room * n * sizeof(*table->cell));
			table->is_number = arena_alloc(arena, (size_t)room * n);
			if (used) {
				memcpy(table->cell, cell, used * sizeof(*cell));
				memcpy(table->is_number, is_number, used);
			}
		}
		size_t at = (size_t)table->n_row++ * n;
		for (size_t c = 0; c < n; c++)
			table->cell[at + c] = cell_text(stmt, (int)c, &table->is_number[at + c], arena);
	}
	return rc;
}

int store_query(struct store *store, const char *sql, const char *const *parameters, struct table *table,
        struct arena *arena, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	const char *rest = "";
	memset(table, 0, sizeof(*table));
	if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, &rest) != SQLITE_OK)
		return store_fail(store, "run a query", err);
	int rc = 0;
	if (!stmt || !sqlite3_stmt_readonly(stmt) || rest[strspn(rest, " \t\n;")])
		rc = err_set(err, "%s: a query must be one SELECT: '%.200s'", store->path, sql);
	if (!rc)
		rc = bind_parameters(store, stmt, parameters, err);
	if (!rc) {
		table->n_column = sqlite3_column_count(stmt);
		table->column = arena_alloc(arena, (size_t)table->n_column * sizeof(*table->column));
		for (int c = 0; c < table->n_column; c++)
			table->column[c] = arena_strdup(arena, sqlite3_column_name(stmt, c));
		rc = read_rows(store, stmt, table, arena, err);
	}
	sqlite3_finalize(stmt);
	return rc < 0 ? -1 : 0;
}
