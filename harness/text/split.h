// SPDX-License-Identifier: MIT
// Cutting text into words before merging, by regular expressions: one or more in turn, each on the pieces of the one
// before. split.c is the only file that knows PCRE2.
//
// The expressions were written for Oniguruma; with UTF and UCP, PCRE2 means the same by all that the four families use,
// but for \s, which takes U+180E too: \s and \S are therefore written out as Unicode's White_Space.
#ifndef KVLAB_TEXT_SPLIT_H
#define KVLAB_TEXT_SPLIT_H
#include <stddef.h>

#include "harness/base/arena.h"
#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

// What becomes of the text that matches, and of what lies between.
enum split_keep { SPLIT_MATCHES = 1, SPLIT_GAPS = 2 };

struct split;
struct split *split_new(struct arena *arena);
// Appends a stage. 0, or -1 with the message of the pattern's fault, without place.
int split_add(struct split *split, const char *pattern, size_t length, int is_literal, int keep, struct err *err);
void split_free(struct split *split);

// One thread's state for any number of runs.
struct split_work;
struct split_work *split_work_new(const struct split *split);
void split_work_free(struct split_work *work);

// Calls word for each piece in order, until it returns other than 0. The text must be well-formed UTF-8. Returns what
// word did, or -1 with a message when a pattern needs more steps or memory than any sane one does.
int split_run(struct split_work *work, const char *text, size_t n, int (*word)(void *arg, const char *text, size_t n),
        void *arg, struct err *err);

// "PCRE2 10.42 2022-12-11".
const char *split_library(void);

#ifdef __cplusplus
}
#endif
#endif
