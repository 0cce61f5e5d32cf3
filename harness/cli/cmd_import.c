// SPDX-License-Identifier: MIT
// kvlab import: the rows of a dump into the database, which is made when missing.
#include "harness/cli/command.h"
#include "harness/store/store.h"

extern const struct command command_import;

static const struct cli_option options[] = {
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {0},
};

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct store *store;
	if (cli_parse(&args, &command_import, argc, argv, 1, 1, err))
		return COMMAND_ERROR;
	if (store_open(&store, cli_text(&args, "db", "results/results.db"), STORE_CREATE, err))
		return COMMAND_ERROR;
	int rc = store_import(store, args.positional[0], err);
	store_close(store);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_import = {
        .name = "import",
        .summary = "read the CSV files of a dump into the database; rows that are there stay",
        .usage = "FOLDER",
        .options = options,
        .run = run,
};
