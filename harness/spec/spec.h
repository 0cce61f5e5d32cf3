// SPDX-License-Identifier: MIT
// An experiment spec: a YAML file resolved into a matrix of points (DESIGN section 5). The format is documented in
// experiments/README.md. Every error is one line `file:line:col: message` with a remedy; nothing is run or written.
#ifndef KVLAB_SPEC_SPEC_H
#define KVLAB_SPEC_SPEC_H
#include "harness/spec/setup.h"
#ifdef __cplusplus
extern "C" {
#endif

struct spec_point {
	struct setup setup;
	char *json; // canonical
	char key[HASH_TEXT];
	char *label; // the swept keys and the one that match solved for: "n_head=4 n_key=16 d_select_per_head=2"
	double match_target, match_reached; // of match_metric
};

struct spec_skip {
	char *label, *reason; // a point that the spec excludes
};

struct spec {
	struct arena *arena; // owns everything below
	char *path, *text;   // the file as read
	char *experiment, *question, *paper;
	char *scale;              // the one resolved for
	char *report_json;        // the `report:` section as JSON, or NULL
	char *paper_json;         // the `paper_values:` list as JSON, or NULL
	char *view_sql;           // text of the .sql file beside the spec (same name), or NULL
	const char *match_metric; // what points are matched by ("cache_bytes", "params", "flops"), or NULL
	int n_point, n_skip, n_seed;
	struct spec_point *point;
	struct spec_skip *skip;
	uint64_t *seed;
};

// Reads and resolves a spec at a scale ("smoke", "small", "gpu", "paper"). n_seed 0: the spec's own seeds; otherwise
// the first n, continued upward from the last where the spec lists fewer. All checks run on every point (variant, task,
// procedure). 0, or -1 with the message.
int spec_load(struct spec *spec, const char *path, const char *scale, int n_seed, struct arena *arena, struct err *err);

// What stands above the spec: an option's value, or a choice, that counts for every point, swept or not.
struct spec_override {
	const char *path;  // "model.n_layer"
	const char *value; // as a spec would spell it
	const char *place; // what messages call the place where it was said: "--model models/gpt2"
};
// The same with n overrides.
int spec_load_with(struct spec *spec, const char *path, const char *scale, int n_seed,
        const struct spec_override *override, int n, struct arena *arena, struct err *err);

// Only the procedure's name in the registry, without resolving the spec. 0, or -1 with the message.
int spec_procedure(const struct procedure **procedure, const char *path, struct arena *arena, struct err *err);
// Only what the spec asks, without resolving it: for lists of specs. 0, or -1 with the message.
int spec_question(char **question, const char *path, struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
