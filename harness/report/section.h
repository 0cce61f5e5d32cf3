// SPDX-License-Identifier: MIT
// The `report:` section of a spec, read from its JSON.
#ifndef KVLAB_REPORT_SECTION_H
#define KVLAB_REPORT_SECTION_H
#include "harness/base/arena.h"
#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { PIVOT_ROWS = 8, PLOT_DATA = 8 };

// Long to wide: a printed row per distinct `rows`, a printed column per distinct `column`.
struct section_pivot {
	int n_row;
	const char *row[PIVOT_ROWS];
	const char *column, *cell;
	const char *half_width; // printed after +-, or NULL
	const char *n, *of;     // seeds done and planned: a cell with fewer says so, or NULL
};

struct section_table {
	const char *name, *title, *note, *sql;
	int digits;                 // decimals of numbers that are not whole
	struct section_pivot pivot; // n_row 0: none
};

struct section_plot {
	const char *name, *title, *script;
	int n_data;
	struct {
		const char *name, *sql;
	} data[PLOT_DATA];
};

struct section {
	int n_table, n_plot;
	struct section_table *table;
	struct section_plot *plot;
};

// json NULL: no tables, no plots. Everything lives on the arena. Messages start with "report".
int section_read(struct section *section, const char *json, struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
