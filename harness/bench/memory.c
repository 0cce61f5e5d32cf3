// SPDX-License-Identifier: MIT
#include "harness/bench/memory.h"

#include <stdio.h>
#include <string.h>

#include "harness/bench/bench.h"
#include "harness/bench/workload.h"

static const double most_over_sum = 1.15;

int memory_now(struct memory *memory)
{
	static const struct {
		const char *name;
		size_t at;
	} rows[] = {{"VmRSS:", offsetof(struct memory, resident)}, {"VmHWM:", offsetof(struct memory, most)},
	        {"RssAnon:", offsetof(struct memory, own)}, {"RssFile:", offsetof(struct memory, mapped)}};
	enum { N_ROW = sizeof(rows) / sizeof(*rows) };
	char line[256];
	int n_found = 0;
	FILE *file = fopen("/proc/self/status", "r");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		for (int i = 0; i < N_ROW; i++) {
			const size_t n = strlen(rows[i].name);
			double *to = (double *)((char *)memory + rows[i].at);
			if (!strncmp(line, rows[i].name, n) && sscanf(line + n, "%lf", to) == 1) {
				*to *= 1024;
				n_found++;
			}
		}
	fclose(file);
	return n_found == N_ROW ? 0 : -1;
}

int memory_forget_peak(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");
	if (!file)
		return -1;
	const int is_written = fputs("5", file) >= 0; // proc(5): resets the peak resident set
	return fclose(file) || !is_written ? -1 : 0;
}

int bench_memory(struct bench *bench, const char *model, struct err *err)
{
	struct workload w;
	struct stepper s;
	struct memory before, after;
	const struct arena_mark mark = arena_mark(&bench->arena);
	if (workload_init(&w, model, NULL, &bench->arena, err))
		return -1;
	const struct step_cost cost = trainer_count(&w.setup, w.batch, 0);
	const double state = 4 * (double)sizeof(real) * (double)cost.n_param, activations = 2 * cost.tensor_bytes,
	             sum = state + activations;
	if (memory_forget_peak() || memory_now(&before)) {
		printf("\nmemory of a step, %s: skipped: the system does not tell a process's peak\n", w.name);
		return 0;
	}
	stepper_init(&s, &w, bench->n_thread);
	for (int i = 0; i < 2; i++)
		stepper_run(&s);
	const int is_known = !memory_now(&after);
	trainer_release(&s.trainer);
	arena_rewind(&bench->arena, mark);
	if (!is_known)
		return 0;
	const double ratio = (after.most - before.resident) / sum;
	printf("\nmemory of a step, %s: %s\n", w.name, w.text);
	printf("  weights, gradients and two moments %.1f MB + activations and their gradients %.1f MB = %.1f MB; peak "
	       "%.1f MB, of which the process had %.1f MB before   %.3f of the sum   target at most %.2f: %s\n",
	        state / 1e6, activations / 1e6, sum / 1e6, after.most / 1e6, before.resident / 1e6, ratio,
	        most_over_sum, ratio <= most_over_sum ? "met" : "missed");
	return 0;
}
