// SPDX-License-Identifier: MIT
// kvlab bench: the training step and its parts against what this machine can do. Timings never decide the exit status;
// a kernel that gives wrong numbers does, and then nothing is timed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "harness/base/load.h"
#include "harness/base/progress.h"
#include "harness/bench/bench.h"
#include "harness/bench/device.h"
#include "harness/bench/gate.h"
#include "harness/cli/command.h"

extern const struct command command_bench;

static const struct cli_option options[] = {
        {"threads", CLI_INT, "N", "threads of the many-thread rows (default: 2, or 1 where there is one processor)"},
        {"steps-only", CLI_FLAG, NULL, "print the seconds of single training steps, one a line, and nothing else"},
        {"model", CLI_TEXT, "MODEL",
                "which model's step: small, middle or gpt2 (default: all; variants: middle; --steps-only: small)"},
        {"what", CLI_TEXT, "PART",
                "one part only: workers, machine, step, gpt2, frozen, variants, attention, decode, tokenize, load or "
                "convert"},
        {"device", CLI_TEXT, "DEVICE",
                "train and decode there (cuda, or a plugin's path; --model gpt2-124m, gpt2-557m, llama-3.2-1b, "
                "qwen2-1.5b or tiny, a trial of the bench)"},
        {"layers", CLI_INT, "N", "layers of the models that decode (default: all of the published shape)"},
        {"weights", CLI_TEXT, "TYPE", "with --what decode --steps-only: f32 (default), f16, bf16 or q8"},
        {"depth", CLI_INT, "N", "with --what decode --steps-only: positions before each step (default 0)"},
        {"prefill", CLI_FLAG, NULL, "with --what decode --steps-only: prefills of 512 tokens in place of steps"},
        {"seconds", CLI_INT, "S", "how long --steps-only runs (default 2)"},
        {0},
};

static const char *const models[] = {"small", "middle", "gpt2", "gpt2-124m", "llama-3.2-1b"};
// Toys come first, then those that train; the rest decode.
enum { N_MODEL = sizeof(models) / sizeof(*models), N_TOY = 2, N_TRAINED = 3 };

static int run_workers(struct bench *bench, const char *model, struct err *err)
{
	(void)model;
	if (bench->n_thread > 1 && bench_workers(bench, err))
		return -1;
	return gate_check(bench->n_thread, err); // from here on there may be threads
}

static int run_machine(struct bench *bench, const char *model, struct err *err)
{
	(void)model, (void)err;
	bench_machine(bench);
	return 0;
}

static int run_steps(struct bench *bench, const char *model, struct err *err)
{
	for (int i = 0; i < N_TRAINED; i++)
		if ((model ? !strcmp(model, models[i]) : i < N_TOY) && bench_step(bench, models[i], err))
			return -1;
	return 0;
}

static int run_gpt2(struct bench *bench, const char *model, struct err *err)
{
	if (model && strcmp(model, "gpt2") != 0)
		return 0;
	return bench_memory(bench, "gpt2", err) || bench_step(bench, "gpt2", err) ? -1 : 0;
}

static int run_frozen(struct bench *bench, const char *model, struct err *err)
{
	for (int i = N_TOY - 1; i < N_MODEL; i++) // products are what is left out: the small one has little of them
		if ((!model || !strcmp(model, models[i])) && bench_frozen(bench, models[i], err))
			return -1;
	return 0;
}

static int run_load(struct bench *bench, const char *model, struct err *err)
{
	(void)model;
	return bench_load_model(bench, err);
}

static int run_convert(struct bench *bench, const char *model, struct err *err)
{
	(void)model;
	return bench_convert(bench, err);
}

static int run_variants(struct bench *bench, const char *model, struct err *err)
{
	return bench_variants(bench, model ? model : "middle", err);
}

static int run_attention(struct bench *bench, const char *model, struct err *err)
{
	(void)model, (void)err;
	bench_attention(bench);
	return 0;
}

static int n_layer; // option --layers

static int run_decode(struct bench *bench, const char *model, struct err *err)
{
	return bench_decode(bench, model, n_layer, err);
}

static int run_tokenize(struct bench *bench, const char *model, struct err *err)
{
	(void)model;
	return bench_tokenize(bench, err);
}

// In the order in which they must run (bench.h).
static const struct part {
	const char *name;
	int (*run)(struct bench *bench, const char *model, struct err *err);
} parts[] = {
        {"workers", run_workers},
        {"machine", run_machine},
        {"step", run_steps},
        {"gpt2", run_gpt2},
        {"frozen", run_frozen},
        {"variants", run_variants},
        {"attention", run_attention},
        {"decode", run_decode},
        {"tokenize", run_tokenize},
        {"load", run_load},
        {"convert", run_convert},
};
enum { N_PART = sizeof(parts) / sizeof(*parts) };

static int is_part(const char *what)
{
	for (int i = 0; i < N_PART; i++)
		if (!strcmp(parts[i].name, what))
			return 1;
	return 0;
}

static int is_model(const char *name)
{
	for (int i = 0; i < N_MODEL; i++)
		if (!strcmp(models[i], name))
			return 1;
	return 0;
}

static int measure(struct bench *bench, const char *what, const char *model, struct err *err)
{
	struct progress progress;
	const char *policy = getenv("OMP_WAIT_POLICY");
	progress_init(&progress, "bench", N_PART, 0);
	// Workers are forked before this process has threads, and check for themselves what they time.
	if (gate_check(1, err) || (what && strcmp(what, "workers") && gate_check(bench->n_thread, err)))
		return COMMAND_ERROR;
	if (!policy || strcasecmp(policy, "active") != 0)
		printf("note: threads sleep between parallel regions; 'make bench' runs with OMP_WAIT_POLICY=active\n");
	for (int i = 0; i < N_PART; i++) {
		if (what && strcmp(what, parts[i].name) != 0)
			continue;
		progress_update(&progress, i, parts[i].name);
		const struct load load = load_now();
		if (parts[i].run(bench, model, err))
			return COMMAND_ERROR;
		load_print(&load);
	}
	progress_end(&progress, N_PART, NULL);
	return COMMAND_DONE;
}

// Which type of weights it names, or -1 with the sentence.
static int weights_of(const char *name, struct err *err)
{
	for (int i = 0; i <= DTYPE_Q8; i++)
		if (!strcmp(name, dtype_name[i]))
			return i;
	return err_set(err, "bench: option '--weights': there are none of type '%s' (f32, f16, bf16 or q8)", name);
}

static int run_steps_only(
        struct bench *bench, const char *what, const char *model, const struct cli_args *args, struct err *err)
{
	const int seconds = cli_int(args, "seconds", 2), weights = weights_of(cli_text(args, "weights", "f32"), err);
	const struct decode_steps decode = {.model = model ? model : "gpt2-124m",
	        .weights = (enum dtype)weights,
	        .n_layer = n_layer,
	        .depth = cli_int(args, "depth", 0),
	        .is_prefill = cli_flag(args, "prefill")};
	if (weights < 0 || gate_check(bench->n_thread, err))
		return -1;
	if (decode.depth < 0)
		return err_set(err, "bench: option '--depth': %d positions (0 or more)", decode.depth);
	if (what && !strcmp(what, "decode"))
		return bench_decode_steps_only(bench, &decode, seconds, err);
	return bench_steps_only(bench, model ? model : models[0], seconds, err);
}

// Parts that run on a device; both, where none is named.
static int run_on_device(
        struct bench *bench, const char *what, const char *model, const struct cli_args *args, struct err *err)
{
	static const struct {
		const char *name;
		int (*run)(struct bench *, struct device *, const char *model, struct err *);
	} device_parts[] = {{"train", bench_device_train}, {"decode", bench_device_decode}};
	struct device d;
	int n = 0, failed = 0;
	if (cli_flag(args, "steps-only") && (!what || strcmp(what, "train") != 0 || !model))
		return err_set(err, "bench: option '--steps-only': on a device of --what train and a --model alone");
	if (device_begin(&d, cli_text(args, "device", NULL), model && !strcmp(model, DEVICE_TRIAL), err))
		return -1;
	if (!cli_flag(args, "steps-only"))
		printf("%s%s\n", d.backend->library(),
		        d.is_trial ? ": a trial of the bench, whose figures say nothing" : "");
	else
		failed = bench_device_train_steps(bench, &d, model, cli_int(args, "seconds", 2), err), n = 1;
	for (int i = 0; !n && i < 2; i++)
		failed |= (!what || !strcmp(what, device_parts[i].name)) && device_parts[i].run(bench, &d, model, err);
	device_end(&d);
	return failed ? -1 : 0;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	if (cli_parse(&args, &command_bench, argc, argv, 0, 0, err))
		return COMMAND_ERROR;
	const int n_processor = (int)sysconf(_SC_NPROCESSORS_ONLN),
	          n_thread = cli_int(&args, "threads", n_processor < 2 ? 1 : 2);
	const char *model = cli_text(&args, "model", NULL);
	const int is_device = cli_text(&args, "device", NULL) != NULL;
	if (!is_device && model && !is_model(model))
		return err_set(err,
		               "bench: option '--model': there is no model '%s' (small, middle or gpt2; decode: "
		               "gpt2-124m or llama-3.2-1b)",
		               model),
		       COMMAND_ERROR;
	const char *what = cli_text(&args, "what", NULL);
	if (is_device && what && strcmp(what, "train") != 0 && strcmp(what, "decode") != 0)
		return err_set(err, "bench: option '--what': '%s' does not run on a device (train or decode)", what),
		       COMMAND_ERROR;
	if (!is_device && what && !is_part(what))
		return err_set(err,
		               "bench: option '--what': there is no part '%s' (workers, machine, step, gpt2, "
		               "frozen, variants, attention, decode, tokenize, load or convert)",
		               what),
		       COMMAND_ERROR;
	n_layer = cli_int(&args, "layers", 0);
	if (n_layer < 0)
		return err_set(err, "bench: option '--layers': %d layers (1 or more; 0: all)", n_layer), COMMAND_ERROR;
	if (n_thread < 1 || n_thread > n_processor)
		return err_set(err, "bench: option '--threads': %d threads on %d processors (1 to %d)", n_thread,
		               n_processor, n_processor),
		       COMMAND_ERROR;
	struct bench bench = {.n_thread = n_thread, .rng = rng_make(1, RNG_CHECK, 0)};
	arena_init(&bench.arena, 64 << 20);
	int result = COMMAND_DONE;
	if (is_device)
		result = run_on_device(&bench, what, model, &args, err) ? COMMAND_ERROR : COMMAND_DONE;
	else if (!cli_flag(&args, "steps-only"))
		result = measure(&bench, what, model, err);
	else if (run_steps_only(&bench, what, model, &args, err))
		result = COMMAND_ERROR;
	arena_release(&bench.arena);
	return result;
}

const struct command command_bench = {
        .name = "bench",
        .summary = "Time the training step and attention against the machine's ceilings",
        .usage = "[--what PART] [--model MODEL] [--layers N] [--threads N] [--steps-only] [--seconds S]",
        .options = options,
        .run = run,
};
