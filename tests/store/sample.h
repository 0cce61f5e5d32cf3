// SPDX-License-Identifier: MIT
// Made-up results that look like an experiment's, put into a database through the store's own calls.
#ifndef KVLAB_TESTS_STORE_SAMPLE_H
#define KVLAB_TESTS_STORE_SAMPLE_H
#include "harness/store/store.h"

// A new folder under $TMPDIR; the text lives until the program ends. sample_remove deletes it with what it holds.
char *sample_folder(void);
void sample_remove(const char *folder);
// A whole file as text, from the arena; NULL when it cannot be read.
char *sample_read_file(const char *path, struct arena *arena);
// Opens (creating) and ends the test program with the message when that fails.
struct store *sample_open(const char *path);

struct sample_grid {
	const char *experiment; // "log2n_retrieval" or any name without views
	const char *report_json, *paper_json, *view_sql;
	const int *n_head, *n_key, *d_select_per_head;
	int n_n_head, n_n_key, n_d_select_per_head, n_seed;
};
// Plans the grid at scale "small". 0 or -1.
int sample_plan(struct store *store, const struct sample_grid *grid, struct err *err);
// Claims and finishes up to `most` runs with made-up accuracies; returns how many, or -1.
long sample_finish(struct store *store, const char *experiment, long most, struct err *err);
// The test accuracy that sample_finish stores for a setting.
double sample_accuracy(int n_head, int n_key, int d_select_per_head, uint64_t seed);

#endif
