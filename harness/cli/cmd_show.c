// SPDX-License-Identifier: MIT
// kvlab show: what the database holds - its experiments, the runs of one, or one run in full.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/cli/command.h"
#include "harness/report/report.h"

extern const struct command command_show;

static const struct cli_option options[] = {
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {0},
};

static int show(struct store *store, const struct cli_args *args, struct err *err)
{
	char *end;
	if (!args->n_positional)
		return report_list(store, NULL, stdout, err);
	errno = 0;
	long long id = strtoll(args->positional[0], &end, 10);
	if (*end || errno)
		return report_list(store, args->positional[0], stdout, err);
	return report_show(store, id, stdout, err);
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct store *store;
	if (cli_parse(&args, &command_show, argc, argv, 0, 1, err))
		return COMMAND_ERROR;
	if (store_open(&store, cli_text(&args, "db", "results/results.db"), STORE_READ, err))
		return COMMAND_ERROR;
	int rc = show(store, &args, err);
	store_close(store);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_show = {
        .name = "show",
        .summary = "show what is stored: all experiments, the runs of one, or one run in full",
        .usage = "[EXPERIMENT|RUN_ID]",
        .options = options,
        .run = run,
};
