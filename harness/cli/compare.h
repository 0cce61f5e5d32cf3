// SPDX-License-Identifier: MIT
// Two sets of stored runs, paired by what they ran: for `kvlab compare`.
#ifndef KVLAB_CLI_COMPARE_H
#define KVLAB_CLI_COMPARE_H
#include "harness/store/store.h"
#ifdef __cplusplus
extern "C" {
#endif

// What one argument names: a run of the database, all finished runs of a commit in it, or all of another database.
struct compare_side {
	const char *argument;
	const char *db_path;
	struct store *store; // its own: a side is closed alone
	long n_run;
	struct compare_run {
		int64_t id;
		const char *json, *seed; // of the point; as text
	} * run;                         // in order of json, then seed, then the newest first
};
// db: the database that run ids and commits are of. experiment: only its runs, or NULL. 0, or -1 with a message.
int compare_open(struct compare_side *side, const char *argument, const char *db, const char *experiment,
        struct arena *arena, struct err *err);
void compare_close(struct compare_side *side);

struct compare_pair {
	int64_t a, b;
};
// Runs of the same point and seed on both sides; of two single runs, these, whatever they are of. -1 with a message
// when there are none.
long compare_pairs(struct compare_pair **pair, const struct compare_side *a, const struct compare_side *b,
        struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
