// SPDX-License-Identifier: MIT
// kvlab table: an experiment's tables, from the database alone.
#include <stdio.h>

#include "harness/cli/command.h"
#include "harness/report/report.h"

extern const struct command command_table;

static const struct cli_option options[] = {
        {"scale", CLI_TEXT, "SCALE", "smoke, small, gpu or paper (default: small, else what is there)"},
        {"format", CLI_TEXT, "FORMAT", "term, md, csv or tex (default term)"},
        {"table", CLI_TEXT, "NAME", "only this table"},
        {"write", CLI_FLAG, NULL, "write files in every format, with the run ids of each cell, instead of printing"},
        {"all", CLI_FLAG, NULL, "every experiment in the database: print and write"},
        {"folder", CLI_TEXT, "FOLDER", "where files go (default results/tables)"},
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {0},
};

struct wish {
	const char *scale, *table, *folder;
	int prints, writes;
	enum report_format format;
};

static int tell(struct store *store, const char *experiment, const struct wish *wish, struct err *err)
{
	const char *scale = wish->scale;
	if (!scale && report_scale(store, experiment, &scale, err))
		return -1;
	if (wish->prints && report_print_table(store, experiment, scale, wish->table, wish->format, stdout, err))
		return -1;
	return wish->writes ? report_write(store, experiment, scale, wish->folder, err) : 0;
}

static int tell_all(struct store *store, const struct wish *wish, struct arena *arena, struct err *err)
{
	char **name;
	if (report_experiments(store, &name, arena, err))
		return -1;
	for (int i = 0; name[i]; i++) {
		printf("%s%s\n\n", i ? "\n" : "", name[i]);
		if (tell(store, name[i], wish, err))
			return -1;
	}
	return 0;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct arena arena;
	struct store *store;
	if (cli_parse(&args, &command_table, argc, argv, 0, 1, err))
		return COMMAND_ERROR;
	int is_all = cli_flag(&args, "all"), writes = cli_flag(&args, "write");
	struct wish wish = {.scale = cli_text(&args, "scale", NULL),
	        .table = cli_text(&args, "table", NULL),
	        .folder = cli_text(&args, "folder", "results/tables"),
	        .prints = is_all || !writes,
	        .writes = is_all || writes};
	if (report_format_of(cli_text(&args, "format", "term"), &wish.format, err))
		return COMMAND_ERROR;
	if (is_all != (args.n_positional == 0)) {
		err_set(err, "table: name one experiment or give --all");
		return COMMAND_ERROR;
	}
	if (store_open(&store, cli_text(&args, "db", "results/results.db"), STORE_READ, err))
		return COMMAND_ERROR;
	arena_init(&arena, 1 << 12);
	int rc = is_all ? tell_all(store, &wish, &arena, err) : tell(store, args.positional[0], &wish, err);
	arena_release(&arena);
	store_close(store);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_table = {
        .name = "table",
        .summary = "print or write an experiment's tables, from the database alone",
        .usage = "EXPERIMENT|--all [--scale SCALE] [--format FORMAT] [--table NAME] [--write]",
        .options = options,
        .run = run,
};
