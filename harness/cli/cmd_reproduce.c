// SPDX-License-Identifier: MIT
// kvlab reproduce: run a stored run again from nothing and compare every metric bit for bit.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/cli/command.h"
#include "harness/cli/provenance.h"
#include "harness/run/run.h"
#include "harness/spec/setup.h"

extern const struct command command_reproduce;

static const struct cli_option options[] = {
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {"threads", CLI_INT, "N", "threads (default 1; results do not depend on it)"},
        {0},
};

static int tick(void *context, double fraction)
{
	progress_update(context, fraction * 100, "%");
	return 0;
}

static const struct metric *find(const struct metric *list, long n, const struct metric *like)
{
	for (long i = 0; i < n; i++)
		if (list[i].step == like->step && !strcmp(list[i].name, like->name) &&
		        !strcmp(list[i].split, like->split))
			return &list[i];
	return NULL;
}

static int same_bits(double a, double b)
{
	return !memcmp(&a, &b, sizeof(a));
}

// Prints what differs. Returns the number of metrics that are not the same, what was measured left out.
static long compare(const struct store_run_full *stored, const struct run_log *again, long *n_compared)
{
	long n_different = 0;
	*n_compared = 0;
	for (long i = 0; i < stored->n_metric; i++) {
		const struct metric *a = &stored->metric[i], *b = find(again->metric, again->n_metric, a);
		if (metric_is_measured(a->split))
			continue;
		++*n_compared;
		if (b && same_bits(a->value, b->value))
			continue;
		n_different++;
		if (!b)
			printf("differs: %s/%s step %ld: stored %.17g (%a), now missing\n", a->name, a->split, a->step,
			        a->value, a->value);
		else
			printf("differs: %s/%s step %ld: stored %.17g (%a), now %.17g (%a)\n", a->name, a->split,
			        a->step, a->value, a->value, b->value, b->value);
	}
	for (long i = 0; i < again->n_metric; i++) {
		const struct metric *b = &again->metric[i];
		if (metric_is_measured(b->split) || find(stored->metric, stored->n_metric, b))
			continue;
		n_different++;
		printf("differs: %s/%s step %ld: not stored, now %.17g (%a)\n", b->name, b->split, b->step, b->value,
		        b->value);
	}
	return n_different;
}

static void explain(struct store *store, const struct store_run_full *stored)
{
	const int other_build = stored->build_id != store_build_id(store),
	          other_machine = stored->machine_id != store_machine_id(store);
	if (other_build)
		printf("the run was made by another build (commit %.12s, binary %.12s): compiler, flags, BLAS or "
		       "sources may change bits\n",
		        stored->git_commit, stored->binary_hash);
	if (other_machine)
		printf("the run was made on another machine (%s): BLAS and the maths library choose their kernels by "
		       "CPU\n",
		        stored->machine);
	if (!other_build && !other_machine)
		printf("same build, same machine: this should not happen; it is a bug or a fault of the hardware\n");
}

static int reproduce(struct store *store, long long id, int n_thread, struct arena *arena, struct err *err)
{
	struct store_build build;
	struct store_run_full stored;
	struct setup setup;
	provenance_build(&build, arena);
	if (store_identify(store, &build, err))
		return COMMAND_ERROR;
	if (store_read_run(store, id, &stored, arena, err) || setup_parse(&setup, stored.run.json, arena, err))
		return COMMAND_ERROR;
	if (stored.state != RUN_DONE && stored.state != RUN_DIVERGED) {
		err_set(err, "run %lld is %s: only a finished run can be reproduced", id, run_state_name(stored.state));
		return COMMAND_ERROR;
	}
	char key[HASH_TEXT];
	setup_key(key, &setup, arena);
	printf("run %lld: %s, seed %llu, stored as %s\n", id, stored.run.label, (unsigned long long)stored.run.seed,
	        run_state_name(stored.state));
	if (strcmp(key, stored.run.key))
		printf("the task, the procedure, the variant or the kernels have another version since, or the text or "
		       "the model that it began with is another: other results are expected\n");

	struct progress bar;
	struct run_log log;
	run_log_init(&log);
	log.tick = tick;
	log.context = &bar;
	progress_init(&bar, "reproduce", 100, 0);
	int status = setup.procedure->run(&setup, stored.run.seed, n_thread, &log, err);
	progress_end(&bar, 100, NULL);
	long n_compared = 0, n_different = status < 0 ? 0 : compare(&stored, &log, &n_compared);
	run_log_release(&log);
	if (status < 0)
		return COMMAND_ERROR;
	if (!n_different) {
		printf("identical: %ld of %ld metrics have the same bits\n", n_compared, n_compared);
		return COMMAND_DONE;
	}
	printf("%ld metrics differ (of %ld stored)\n", n_different, n_compared);
	explain(store, &stored);
	return COMMAND_FAILED;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct store *store;
	struct arena arena;
	if (cli_parse(&args, &command_reproduce, argc, argv, 1, 1, err))
		return COMMAND_ERROR;
	char *end;
	const long long id = strtoll(args.positional[0], &end, 10);
	if (*end || id < 1) {
		err_set(err, "'%s' is not a run id: give a number from the run_ids of a table", args.positional[0]);
		return COMMAND_ERROR;
	}
	if (cli_int(&args, "threads", 1) < 1) {
		err_set(err, "--threads must be at least 1");
		return COMMAND_ERROR;
	}
	if (store_open(&store, cli_text(&args, "db", "results/results.db"), STORE_WRITE, err))
		return COMMAND_ERROR;
	arena_init(&arena, 1 << 16);
	int status = reproduce(store, id, cli_int(&args, "threads", 1), &arena, err);
	arena_release(&arena);
	store_close(store);
	return status;
}

const struct command command_reproduce = {
        .name = "reproduce",
        .summary = "run a stored run again and compare every metric bit for bit",
        .usage = "RUN_ID [--db FILE]",
        .options = options,
        .run = run,
};
