// SPDX-License-Identifier: MIT
// kvlab run: plan what is missing, run it, print the tables, write them, draw the plots.
#include <string.h>
#include <unistd.h>

#include "harness/cli/command.h"
#include "harness/cli/given.h"
#include "harness/cli/plan.h"
#include "harness/cli/provenance.h"
#include "harness/num/device.h"
#include "harness/report/report.h"
#include "harness/run/worker.h"

extern const struct command command_run;

static const struct cli_option options[] = {
        {"scale", CLI_TEXT, "SCALE", "smoke, small, gpu or paper (default small)"},
        {"seeds", CLI_INT, "N", "run the first N seeds (default: the spec's own)"},
        {"jobs", CLI_INT, "N", "worker processes (default: one per core; one alone for timings and on a device)"},
        {"threads", CLI_INT, "N",
                "threads per worker (default: 1, for a worker alone one per core; results do not depend on it)"},
        {"db", CLI_TEXT, "FILE", "database (default results/results.db)"},
        {"checkpoint-every", CLI_INT, "SECONDS", "between checkpoints of a run (default 10)"},
        {"device", CLI_TEXT, "DEVICE",
                "cpu (default), cuda, or the path of a plugin; points of a device are others than the cpu's"},
        GIVEN_OPTIONS,
        {"plots", CLI_TEXT, "FOLDER", "where plots go (default plots)"},
        {"no-plots", CLI_FLAG, NULL, "draw nothing"},
        {0},
};

static int enqueue(struct store *store, const struct spec *spec, struct err *err)
{
	struct arena *arena = spec->arena;
	const long n = (long)spec->n_point * spec->n_seed;
	struct store_planned *planned = arena_alloc(arena, (size_t)n * sizeof(*planned));
	// Seed by seed, so that a grid that is cut short has every point before it has every seed.
	for (int s = 0; s < spec->n_seed; s++)
		for (int p = 0; p < spec->n_point; p++) {
			const struct spec_point *point = &spec->point[p];
			planned[(long)s * spec->n_point + p] =
			        (struct store_planned){point->key, point->json, point->label, spec->seed[s]};
		}
	const struct store_experiment experiment = {.name = spec->experiment,
	        .question = spec->question,
	        .paper = spec->paper,
	        .spec_path = spec->path,
	        .spec_text = spec->text,
	        .report_json = spec->report_json,
	        .paper_json = spec->paper_json,
	        .view_sql = spec->view_sql};
	return store_plan(store, &experiment, spec->scale, planned, n, 1, err);
}

// A path in the database's folder.
static const char *beside(const char *db, const char *name, struct arena *arena)
{
	const char *slash = strrchr(db, '/');
	return arena_printf(arena, "%.*s%s", slash ? (int)(slash + 1 - db) : 0, db, name);
}

// Tables to stdout and to files, plots to files.
static int report(const char *db, const struct spec *spec, const char *plots, struct err *err)
{
	struct store *store;
	if (store_open(&store, db, STORE_READ, err))
		return -1;
	int status = report_print(store, spec->experiment, spec->scale, REPORT_TERM, stdout, err);
	if (!status)
		status = report_write(store, spec->experiment, spec->scale, beside(db, "tables", spec->arena), err);
	if (!status && plots)
		status = report_plot(store, spec->experiment, spec->scale, plots, err);
	store_close(store);
	return status;
}

static int run_spec(struct spec *spec, const struct cli_args *args, struct err *err)
{
	struct store *store;
	struct store_build build;
	const char *db = cli_text(args, "db", "results/results.db");
	const int processors = (int)sysconf(_SC_NPROCESSORS_ONLN), cores = processors < 1 ? 1 : processors,
	          is_timed = spec->point[0].setup.procedure->is_timed;
	if (plan_set_device(spec, cli_text(args, "device", "cpu"), err))
		return COMMAND_ERROR;
	const char *device = plan_device(spec);
	const int is_alone = is_timed || strcmp(device, "cpu"); // several would share its memory
	const struct worker_plan worker = {.db_path = db,
	        .experiment = spec->experiment,
	        .scale = spec->scale,
	        .checkpoint_folder = beside(db, "checkpoints", spec->arena),
	        .build = &build,
	        .n_worker = cli_int(args, "jobs", is_alone ? 1 : cores),
	        .n_thread = cli_int(args, "threads", is_alone ? cores : 1),
	        .checkpoint_every_s = cli_int(args, "checkpoint-every", 10)};
	struct plan plan;
	struct device_look look;
	if (device_look(&look, device, err))
		return COMMAND_ERROR;
	if (worker.n_worker < 1 || worker.n_thread < 1) {
		err_set(err, "--jobs and --threads must be at least 1");
		return COMMAND_ERROR;
	}
	if (is_timed && worker.n_worker > 1) {
		err_set(err,
		        "--jobs %d: procedure '%s' times what it runs, and nothing may run beside it (leave JOBS out)",
		        worker.n_worker, spec->point[0].setup.procedure->name);
		return COMMAND_ERROR;
	}
	if (report_check(spec->report_json, err) || plan_estimate(&plan, spec, err) ||
	        plan_check_memory(&plan, spec, worker.n_worker, err))
		return COMMAND_ERROR;
	provenance_build(&build, spec->arena);
	build.cuda = look.library;
	if (store_open(&store, db, STORE_CREATE, err))
		return COMMAND_ERROR;
	int status = enqueue(store, spec, err);
	store_close(store);
	if (status)
		return COMMAND_ERROR;
	status = workers_run(&worker, err);
	if (status < 0)
		return COMMAND_ERROR;
	if (status == 2) {
		err_fault(err, "stopped; finished runs are kept, the same command goes on from here");
		return COMMAND_ERROR;
	}
	return report(db, spec, cli_flag(args, "no-plots") ? NULL : cli_text(args, "plots", "plots"), err)
	               ? COMMAND_ERROR
	       : status ? COMMAND_FAILED
	                : COMMAND_DONE;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct arena arena;
	struct spec spec;
	char *path;
	if (cli_parse(&args, &command_run, argc, argv, 1, 1, err))
		return COMMAND_ERROR;
	arena_init(&arena, 1 << 20);
	int status = COMMAND_ERROR;
	if (!cli_spec_path(&path, args.positional[0], &arena, err) && !given_load(&spec, path, &args, &arena, err))
		status = run_spec(&spec, &args, err);
	arena_release(&arena);
	return status;
}

const struct command command_run = {
        .name = "run",
        .summary = "run what is missing of an experiment, print its tables, draw its plots",
        .usage = "EXPERIMENT [--scale SCALE] [--seeds N] [--jobs N] [--model FOLDER]",
        .options = options,
        .run = run,
};
