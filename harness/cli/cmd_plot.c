// SPDX-License-Identifier: MIT
// kvlab plot: an experiment's plots as SVG and PNG, from the database alone.
#include "harness/cli/command.h"
#include "harness/report/report.h"

extern const struct command command_plot;

static const struct cli_option options[] = {
        {"scale", CLI_TEXT, "SCALE", "smoke, small, gpu or paper (default: small, else what is there)"},
        {"all", CLI_FLAG, NULL, "every experiment in the database"},
        {"folder", CLI_TEXT, "FOLDER", "where pictures go (default plots)"},
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {0},
};

static int draw(struct store *store, const char *experiment, const struct cli_args *args, struct err *err)
{
	const char *scale = cli_text(args, "scale", NULL);
	if (!scale && report_scale(store, experiment, &scale, err))
		return -1;
	return report_plot(store, experiment, scale, cli_text(args, "folder", "plots"), err);
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct arena arena;
	struct store *store;
	char **name;
	if (cli_parse(&args, &command_plot, argc, argv, 0, 1, err))
		return COMMAND_ERROR;
	if (cli_flag(&args, "all") != (args.n_positional == 0)) {
		err_set(err, "plot: name one experiment or give --all");
		return COMMAND_ERROR;
	}
	if (store_open(&store, cli_text(&args, "db", "results/results.db"), STORE_READ, err))
		return COMMAND_ERROR;
	arena_init(&arena, 1 << 12);
	int rc;
	if (args.n_positional) {
		rc = draw(store, args.positional[0], &args, err);
	} else {
		rc = report_experiments(store, &name, &arena, err);
		for (int i = 0; !rc && name[i]; i++)
			rc = draw(store, name[i], &args, err);
	}
	arena_release(&arena);
	store_close(store);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_plot = {
        .name = "plot",
        .summary = "draw an experiment's plots as SVG and PNG, from the database alone",
        .usage = "EXPERIMENT|--all [--scale SCALE] [--folder FOLDER]",
        .options = options,
        .run = run,
};
