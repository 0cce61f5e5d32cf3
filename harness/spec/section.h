// SPDX-License-Identifier: MIT
// The sections of a setup seen alike: each begins with a choice from the registry (a model's family, a variant's,
// task's or procedure's name) and goes on with the options of what was chosen. The cache's has one choice only,
// "cache".
#ifndef KVLAB_SPEC_SECTION_H
#define KVLAB_SPEC_SECTION_H
#include "harness/spec/setup.h"
#ifdef __cplusplus
extern "C" {
#endif

enum section_id { SECTION_MODEL, SECTION_VARIANT, SECTION_TASK, SECTION_PROCEDURE, SECTION_CACHE, N_SECTION };

// Key of the choice inside its section: "family" or "name". NULL for the procedure, which is chosen at top level, and
// for the cache, which is not chosen.
const char *section_selector(enum section_id id);
// "family", "variant", "task", "procedure", "cache": what messages call the choice, and `kvlab list` its kind.
const char *section_kind(enum section_id id);
// "model", "variant", "task", "cache" and the procedure's own section name.
const char *section_name(enum section_id id, const struct procedure *procedure);
// What a section without a selector has chosen: the procedure, or "cache".
const char *section_choice(enum section_id id, const struct procedure *procedure);
// All its options are late (base/option.h): a stored point may do without the section.
int section_is_optional(enum section_id id);

struct choice {
	enum section_id id;
	const char *name, *summary;
	const void *what; // struct family, variant, task or procedure; the cache's is nobody else's business
	const struct option *options;
	size_t config_bytes;
};

// Looks a name up in the registry. 0, or -1 with "unknown variant 'x' (did you mean 'y'?)".
int choice_find(struct choice *choice, enum section_id id, const char *name, struct err *err);
// Number i of the registry in order of name. 0, or -1 past its end.
int choice_at(struct choice *choice, enum section_id id, int i);
// A new config filled from the options' defaults and, for a model, the family's.
void *choice_config(const struct choice *choice, struct arena *arena);
// Puts the choice and its config into a setup.
void setup_put(struct setup *setup, const struct choice *choice, void *config);
// The reverse: what a setup has chosen, and its config in *config.
struct choice setup_choice(const struct setup *setup, enum section_id id, void **config);

// Derives what follows from other options and runs every check. 0, or -1 with the sentence; *blamed then tells whose.
int setup_check(struct setup *setup, enum section_id *blamed, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
