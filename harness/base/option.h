// SPDX-License-Identifier: MIT
// One table of rows per settable thing (model, variant, task, procedure): it parses specs, checks ranges, prints
// help, suggests the near miss, and writes the canonical JSON that a point's hash is taken of.
#ifndef KVLAB_BASE_OPTION_H
#define KVLAB_BASE_OPTION_H
#include <stddef.h>
#include <stdio.h>

#include "harness/base/arena.h"
#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

enum option_type {
	OPTION_INT,    // int
	OPTION_REAL,   // double
	OPTION_BOOL,   // int, "true" or "false"
	OPTION_CHOICE, // int, the index of the value in `choices`
	OPTION_TEXT,   // char[most], with its terminator: a path, a name; bytes behind the terminator are zero
};

// A table ends with a row whose key is NULL. Keys are the project's one spelling: spec key, SQL column, axis label.
struct option {
	const char *key;
	enum option_type type;
	size_t offset;       // of the field in the config struct
	const char *initial; // default, spelled as a spec would spell it
	double least, most; // allowed range of OPTION_INT and OPTION_REAL, both ends included; OPTION_TEXT: most is the
	                    // size of the array
	const char *choices; // OPTION_CHOICE: "constant|linear|cosine"
	const char *help;    // one line, with the unit
	// Added after runs were stored: left out of the canonical JSON while at its default, which must be what
	// programs without the option did. So older points keep their key and can be read back.
	int is_late;
};

// Fills every field of config from the defaults. Aborts if a default does not parse (our bug).
void options_init(const struct option *table, void *config);
// The same for one field.
void option_init(const struct option *option, void *config);
// True when the field holds the option's default.
int option_is_initial(const struct option *option, const void *config);
// Whether both configs say the same.
int option_equal(const struct option *option, const void *a, const void *b);
// Copies one field.
void option_copy(const struct option *option, void *to, const void *from);
// Sets one field from text. 0, or -1 with a message without place ("d_select: 'x' is not an integer").
int option_set(const struct option *table, void *config, const char *key, const char *value, struct err *err);
// The row with that key, or NULL.
const struct option *option_find(const struct option *table, const char *key);
// Writes the value as canonical JSON text: integers in decimal, reals as the shortest text that reads back to
// the same double, booleans, choices and texts as strings (a choice that is a truth value as one: an option that was a
// boolean can get a third value).
void option_print(FILE *out, const struct option *option, const void *config);
// The value as a spec would spell it, without quotes; memory of the arena.
char *option_text(const struct option *option, const void *config, struct arena *arena);
// The key nearest to `word` by edit distance, or NULL when none is near (distance above half the word).
const char *option_nearest(const struct option *table, const char *word);
// The same over a NULL-terminated list of words.
const char *word_nearest(const char *const *words, const char *word);

#ifdef __cplusplus
}
#endif
#endif
