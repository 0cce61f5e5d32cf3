// SPDX-License-Identifier: MIT
#include <stdlib.h>
#include <string.h>

#include "harness/run/run.h"

void run_log_init(struct run_log *log)
{
	memset(log, 0, sizeof(*log));
	log->checkpoint_every_s = 10;
	log->build = "";
}

void run_log_release(struct run_log *log)
{
	free(log->metric);
	free(log->sample);
	run_log_init(log);
}

void run_log_metric(struct run_log *log, const char *name, const char *split, long step, double value)
{
	if (log->n_metric == log->capacity) {
		log->capacity = log->capacity ? 2 * log->capacity : 256;
		log->metric = realloc(log->metric, (size_t)log->capacity * sizeof(*log->metric));
		if (!log->metric)
			die_no_memory((unsigned long long)log->capacity * sizeof(*log->metric));
	}
	log->metric[log->n_metric++] = (struct metric){name, split, step, value};
}

void run_log_sample(struct run_log *log, const char *name, const char *unit, double value)
{
	if (log->n_sample == log->sample_capacity) {
		log->sample_capacity = log->sample_capacity ? 2 * log->sample_capacity : 256;
		log->sample = realloc(log->sample, (size_t)log->sample_capacity * sizeof(*log->sample));
		if (!log->sample)
			die_no_memory((unsigned long long)log->sample_capacity * sizeof(*log->sample));
	}
	long ordinal = 0;
	for (long i = log->n_sample - 1; i >= 0 && !ordinal; i--)
		if (!strcmp(log->sample[i].name, name))
			ordinal = log->sample[i].ordinal + 1;
	log->sample[log->n_sample++] = (struct sample){name, unit, ordinal, value};
}

const char *run_log_intern(const char *text)
{
	static char **known;
	static size_t n_known;
	for (size_t i = 0; i < n_known; i++)
		if (!strcmp(known[i], text))
			return known[i];
	if (n_known % 64 == 0)
		known = realloc(known, (n_known + 64) * sizeof(*known));
	char *copy = strdup(text);
	if (!known || !copy)
		die_no_memory(strlen(text));
	return known[n_known++] = copy;
}
