// SPDX-License-Identifier: MIT
// kvlab dump: an experiment's rows as CSV files.
#include "harness/cli/command.h"
#include "harness/store/store.h"

extern const struct command command_dump;

static const struct cli_option options[] = {
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {0},
};

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct store *store;
	if (cli_parse(&args, &command_dump, argc, argv, 2, 2, err))
		return COMMAND_ERROR;
	if (store_open(&store, cli_text(&args, "db", "results/results.db"), STORE_READ, err))
		return COMMAND_ERROR;
	int rc = store_dump(store, args.positional[0], args.positional[1], err);
	store_close(store);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_dump = {
        .name = "dump",
        .summary = "write an experiment's rows as CSV files that import rebuilds them from",
        .usage = "EXPERIMENT FOLDER",
        .options = options,
        .run = run,
};
