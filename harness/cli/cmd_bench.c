// SPDX-License-Identifier: MIT
// kvlab bench: the training step and its parts against what this machine can do. Timings never decide the exit status;
// a kernel that gives wrong numbers does, and then nothing is timed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/bench/bench.h"
#include "harness/bench/gate.h"
#include "harness/bench/load.h"
#include "harness/cli/command.h"

extern const struct command command_bench;

static const struct cli_option options[] = {
        {"threads", CLI_INT, "N", "threads of the many-thread rows (default: 2, or 1 where there is one processor)"},
        {"steps-only", CLI_FLAG, NULL, "print the seconds of single training steps, one a line, and nothing else"},
        {"model", CLI_TEXT, "MODEL", "which model's step: small or middle (default: both; with --steps-only: small)"},
        {"seconds", CLI_INT, "S", "how long --steps-only runs (default 2)"},
        {0},
};

static const char *const models[] = {"small", "middle"};

static int measure(struct bench *bench, const char *model, struct err *err)
{
	struct progress progress;
	const char *policy = getenv("OMP_WAIT_POLICY");
	struct load load = load_now();
	progress_init(&progress, "bench", 6, 0);
	if (gate_check(1, err))
		return COMMAND_ERROR;
	if (!policy || strcasecmp(policy, "active") != 0)
		printf("note: threads sleep between parallel regions; 'make bench' runs with OMP_WAIT_POLICY=active\n");
	progress_update(&progress, 1, "workers");
	if (bench->n_thread > 1 && bench_workers(bench, err))
		return COMMAND_ERROR;
	load_print(&load);
	if (gate_check(bench->n_thread, err))
		return COMMAND_ERROR;
	progress_update(&progress, 2, "machine");
	load = load_now();
	bench_machine(bench);
	load_print(&load);
	for (int i = 0; i < 2; i++) {
		progress_update(&progress, 3 + i, models[i]);
		if (model && strcmp(model, models[i]) != 0)
			continue;
		load = load_now();
		if (bench_step(bench, models[i], err))
			return COMMAND_ERROR;
		load_print(&load);
	}
	progress_update(&progress, 5, "attention");
	load = load_now();
	bench_attention(bench);
	load_print(&load);
	progress_end(&progress, 6, NULL);
	return COMMAND_DONE;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	if (cli_parse(&args, &command_bench, argc, argv, 0, 0, err))
		return COMMAND_ERROR;
	const int n_processor = (int)sysconf(_SC_NPROCESSORS_ONLN),
	          n_thread = cli_int(&args, "threads", n_processor < 2 ? 1 : 2);
	const char *model = cli_text(&args, "model", NULL);
	if (model && strcmp(model, models[0]) != 0 && strcmp(model, models[1]) != 0)
		return err_set(err, "bench: option '--model': there is no model '%s' (small or middle)", model),
		       COMMAND_ERROR;
	if (n_thread < 1 || n_thread > n_processor)
		return err_set(err, "bench: option '--threads': %d threads on %d processors (1 to %d)", n_thread,
		               n_processor, n_processor),
		       COMMAND_ERROR;
	struct bench bench = {.n_thread = n_thread, .rng = rng_make(1, RNG_CHECK, 0)};
	arena_init(&bench.arena, 64 << 20);
	int result = COMMAND_DONE;
	if (!cli_flag(&args, "steps-only"))
		result = measure(&bench, model, err);
	else if (gate_check(n_thread, err) ||
	         bench_steps_only(&bench, model ? model : models[0], cli_int(&args, "seconds", 2), err))
		result = COMMAND_ERROR;
	arena_release(&bench.arena);
	return result;
}

const struct command command_bench = {
        .name = "bench",
        .summary = "Time the training step and attention against the machine's ceilings",
        .usage = "[--model MODEL] [--threads N] [--steps-only] [--seconds S]",
        .options = options,
        .run = run,
};
