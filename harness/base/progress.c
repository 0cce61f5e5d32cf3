// SPDX-License-Identifier: MIT
#include "harness/base/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Work shorter than this prints nothing; a plain line is printed no more often than PLAIN_S, a terminal's line
// REDRAW_S.
static const double QUIET_S = 2, PLAIN_S = 10, REDRAW_S = 0.2;

double clock_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_init(struct progress *p, const char *label, double total, double already_done)
{
	memset(p, 0, sizeof(*p));
	p->label = label;
	p->total = total;
	p->first_done = already_done;
	p->started_s = p->shown_s = clock_s();
	p->is_terminal = isatty(STDERR_FILENO);
}

static void duration_text(char *out, size_t size, double seconds)
{
	long s = lround(seconds);
	if (s < 60)
		snprintf(out, size, "%ld s", s);
	else if (s < 3600)
		snprintf(out, size, "%ld min %02ld s", s / 60, s % 60);
	else
		snprintf(out, size, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

// "3.2/s" for fast work, "41 s each" for slow work: never a rate of 0.0.
static void rate_text(char *out, size_t size, double rate)
{
	if (rate >= 1)
		snprintf(out, size, "%.*f/s", rate < 10, rate);
	else
		snprintf(out, size, "%.*f s each", 1 / rate < 10, 1 / rate);
}

static void show(struct progress *p, double done, const char *note, double now)
{
	char rate[32] = "", left[32] = "", took[32];
	double new_done = done - p->first_done, elapsed = now - p->started_s;
	if (new_done > 0 && elapsed > 0) {
		rate_text(rate, sizeof(rate), new_done / elapsed);
		duration_text(left, sizeof(left), (p->total - done) * elapsed / new_done);
	}
	duration_text(took, sizeof(took), elapsed);
	// Work that is counted in whole units but measured in fractions shows one decimal while it is between two.
	int decimals = done != floor(done);
	fprintf(stderr, "%s%s: %.*f/%.0f", p->is_terminal ? "\r" : "", p->label, decimals, done, p->total);
	if (*rate)
		fprintf(stderr, ", %s", rate);
	if (done < p->total)
		fprintf(stderr, "%s%s%s", *left ? ", " : "", left, *left ? " left" : "");
	else
		fprintf(stderr, ", took %s", took);
	if (note && *note)
		fprintf(stderr, ", %s", note);
	fputs(p->is_terminal ? "\033[K" : "\n", stderr);
	fflush(stderr);
	p->shown_s = now;
	p->is_shown = 1;
}

void progress_update(struct progress *p, double done, const char *note)
{
	double now = clock_s();
	double wait = !p->is_shown ? QUIET_S : p->is_terminal ? REDRAW_S : PLAIN_S;
	if (now - p->shown_s >= wait)
		show(p, done, note, now);
}

void progress_end(struct progress *p, double done, const char *note)
{
	double now = clock_s();
	if (!p->is_shown && now - p->started_s < QUIET_S)
		return;
	show(p, done, note, now);
	if (p->is_terminal)
		fputc('\n', stderr);
}
