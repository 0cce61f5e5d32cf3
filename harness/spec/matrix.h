// SPDX-License-Identifier: MIT
// A spec between reading and resolving: fixed settings, axes and excludes, each with the place it was written at.
// Call order: matrix_section() and sweep_read() for the spec and then for its scale (later ones override), then
// matrix_check(), then points_build().
#ifndef KVLAB_SPEC_MATRIX_H
#define KVLAB_SPEC_MATRIX_H
#include "harness/spec/node.h"
#include "harness/spec/section.h"
#include "harness/spec/spec.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { SETTINGS_MOST = 256, AXES_MOST = 64, EXCLUDES_MOST = 256, CHOICES_MOST = 64, POINTS_MOST = 100000 };

// "task.n_key": an option, or the choice itself when the key is the section's selector.
struct path {
	enum section_id section;
	const char *key;
	const char *text;
};

struct setting {
	struct path path;
	const struct node *key, *node; // node: the value
};

struct value {
	const char *text;        // NULL: this row of a list of cases does not say
	const struct node *node; // the value, the range it comes from, or the case that does not say
};

// Axes of a product advance one by one, those of zip together, and so do those of each list of cases.
enum axis_kind { AXIS_PRODUCT, AXIS_ZIP, AXIS_CASES };

struct axis {
	struct path path;
	const struct node *node; // the key
	const char *label;       // short name, unique among the axes
	enum axis_kind kind;
	int list;                // AXIS_CASES: which of matrix.list
	const struct node *from; // the `sweep:` section that it was read from
	int digit;               // of the odometer (points.c), from 0; the last advances fastest
	int n_value;
	struct value *value;
};

struct exclude {
	const struct node *node;
	const char *reason;
	int n_condition;
	struct axis *condition; // a path and the values that match
};

// The `match:` section (match.h).
enum match_metric { MATCH_CACHE_BYTES, MATCH_PARAMS, MATCH_FLOPS, N_MATCH_METRIC };
struct match_by {
	const char *variant;    // whose option this is; NULL: everyone's
	const struct node *key; // in a mapping by variant
	const struct node *node;
	struct path path;
};
struct match {
	const struct node *node; // NULL: the spec has none
	const struct node *to;   // a number, or the reference's settings
	enum match_metric metric;
	double number; // what to reach, unless there is a reference
	double within; // largest relative gap
	int n_reference, n_by;
	struct setting *reference; // what the reference point has otherwise than the point itself
	struct match_by *by;
};

// One possible choice of a section, with a config to try values on.
struct candidate {
	struct choice choice;
	void *scratch;
};

struct matrix {
	struct arena *arena;
	struct err *err;
	const struct procedure *procedure;
	const struct node *root;               // of the spec
	const struct node *sweep;              // place of messages about the sweep as a whole; NULL without one
	const struct node *section[N_SECTION]; // the spec's own sections; NULL where left out
	int n_setting, n_axis, n_exclude;
	struct setting setting[SETTINGS_MOST];
	struct axis axis[AXES_MOST]; // product axes, then zip axes, then those of each list of cases
	int n_list;
	const char *list[AXES_MOST]; // names of the lists of cases, "" where there is none, in the order written
	struct exclude exclude[EXCLUDES_MOST];
	struct match match;
	int n_candidate[N_SECTION];
	struct candidate candidate[N_SECTION][CHOICES_MOST];
};

// Takes over the settings under one section's name; `section` must be a mapping.
int matrix_section(struct matrix *m, enum section_id id, const struct node *section);
// Takes over a `sweep:` section; an axis replaces an earlier one of the same path, excludes add up.
int sweep_read(struct matrix *m, const struct node *sweep);
// Puts the axes in the order of the odometer and numbers its digits.
void sweep_sort(struct matrix *m);
// Adds one axis of a sweep; it replaces an axis of the same path that another sweep has.
int axis_add(struct matrix *m, const struct axis *axis);
// Takes over `cases:` of a sweep (cases.c); a list replaces an earlier sweep's of the same name.
int cases_read(struct matrix *m, const struct node *sweep, const struct node *cases);
// Refuses an axis with a value twice.
int axis_refuse_repeats(struct matrix *m, const struct axis *axis);
// A list of scalars or a range ({from, to, step} or {from, to, times}) as values. `what` names it in messages.
int values_read(struct matrix *m, const struct node *node, const char *what, int *n_value, struct value **value);
// Splits "task.n_key"; whether the key exists is known only when every choice is (path_check). `what` names it in
// messages: "sweep path".
int path_read(struct matrix *m, const struct node *node, const char *what, struct path *path);
// Whether some candidate has the option. `what` as above; NULL: the key stands in its own section.
int path_check(const struct matrix *m, const struct path *path, const struct node *node, const char *what);
// Whether some candidate with that option takes the value.
int value_check(const struct matrix *m, const struct path *path, const struct value *value);
// Sets an option for every point: its axes are dropped. The node is the value and the place of messages about it.
int matrix_override(struct matrix *m, const char *path, const struct node *node);
// Looks every name and path up and tries every value on its option.
int matrix_check(struct matrix *m);
// The setting of a path, or NULL.
const struct setting *matrix_setting(const struct matrix *m, enum section_id id, const char *key);
// The axis of a path, or NULL.
struct axis *matrix_axis(struct matrix *m, enum section_id id, const char *key);
// Fills spec->point and spec->skip.
int points_build(struct matrix *m, struct spec *spec);

// Refuses keys that are not in the NULL-terminated list. `where` is the mapping's name; NULL for the top level.
int keys_check(const struct node *mapping, const char *const *known, const char *where, struct err *err);
// Refuses a node that is not a mapping.
int mapping_check(const struct node *node, const char *what, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
