// SPDX-License-Identifier: MIT
// One progress line on stderr for anything over two seconds: done/total, rate, time left. On a terminal it is
// rewritten in place; otherwise a plain line is printed at most every ten seconds and at the end.
#ifndef KVLAB_BASE_PROGRESS_H
#define KVLAB_BASE_PROGRESS_H
#ifdef __cplusplus
extern "C" {
#endif

struct progress {
	const char *label;
	double total, started_s, shown_s, first_done; // first_done: what was already done when work began
	int is_terminal, is_shown;
};

// Seconds of a clock that never runs backwards.
double clock_s(void);
void progress_init(struct progress *p, const char *label, double total, double already_done);
// done in the units of total; note is a short text such as "3 running" or NULL.
void progress_update(struct progress *p, double done, const char *note);
// Finishes the line.
void progress_end(struct progress *p, double done, const char *note);

#ifdef __cplusplus
}
#endif
#endif
