// SPDX-License-Identifier: MIT
// Tables and plots of an experiment, from the database alone. What they show is said in the `report:` section of the
// spec, which the store keeps as JSON; the format is documented in experiments/README.md:
//   tables: [{name, title, note, digits, sql, pivot: {rows, column, cell, half_width, n, of}}]
//   plots:  [{name, title, script, data: {name: sql}}]
// Every query gets :scale. A column run_ids is not printed: it goes into a file that traces each cell to its runs.
// Nothing here depends on when or in how many attempts a run was made, so a resumed grid prints the same bytes.
#ifndef KVLAB_REPORT_REPORT_H
#define KVLAB_REPORT_REPORT_H
#include <stdio.h>

#include "harness/base/err.h"
#include "harness/store/store.h"
#ifdef __cplusplus
extern "C" {
#endif

enum report_format { REPORT_TERM, REPORT_MD, REPORT_CSV, REPORT_TEX };

// "term", "md", "csv", "tex". 0, or -1 with a message.
int report_format_of(const char *name, enum report_format *format, struct err *err);
// Reads a `report:` section as JSON (NULL: none) for its form only, so that a spec is refused before it runs.
int report_check(const char *report_json, struct err *err);
// The scale to show where none was asked for: small, else paper, else smoke, whichever has a plan.
int report_scale(struct store *store, const char *experiment, const char **scale, struct err *err);
// Names of all stored experiments, NULL-terminated, in order; arena owns them.
int report_experiments(struct store *store, char ***name, struct arena *arena, struct err *err);

// Every table of the experiment.
int report_print(struct store *store, const char *experiment, const char *scale, enum report_format format, FILE *out,
        struct err *err);
// One of them.
int report_print_table(struct store *store, const char *experiment, const char *scale, const char *table,
        enum report_format format, FILE *out, struct err *err);
// Files <experiment>.<scale>.<table>.{md,csv,tex,runs.csv} in a folder, which is made when missing. runs.csv traces
// each cell to its run ids.
int report_write(struct store *store, const char *experiment, const char *scale, const char *folder, struct err *err);
// Files <experiment>.<plot>.{svg,png} in a folder, drawn by gnuplot; <experiment>.<scale>.<plot> for scales other
// than small, so that a smoke run does not overwrite a finding.
int report_plot(struct store *store, const char *experiment, const char *scale, const char *folder, struct err *err);
// The experiments in the database with how far each scale is, or (experiment not NULL) the runs of one.
int report_list(struct store *store, const char *experiment, FILE *out, struct err *err);
// Everything about one run: setup, state, where it was made, metrics.
int report_show(struct store *store, int64_t run_id, FILE *out, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
