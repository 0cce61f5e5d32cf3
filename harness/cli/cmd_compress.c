// SPDX-License-Identifier: MIT
// kvlab compress: a model becomes one of a smaller cache, and is tuned on a text to win back what that costs. What
// procedure recover does with a point of a spec (run/recovery.h), with a model of the user's and its result kept.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/cli/compress.h"
#include "harness/cli/provenance.h"
#include "harness/cli/subject.h"
#include "harness/spec/section.h"
#include "harness/text/corpus.h"

extern const struct command command_compress;

static const struct cli_option options[] = {
        {"o", CLI_TEXT, "OUT", "the new folder"},
        {"variant", CLI_TEXT, "NAME", "what it becomes (default factored_keys; 'kvlab list variant')"},
        {"finetune", CLI_TEXT, "TEXT", "file, folder or corpus: tuned on, its held-out part measured on"},
        {"context", CLI_INT, "N", "tokens of a sequence of it (default: the model's positions, 1024 at most)"},
        {"tokenizer", CLI_TEXT, "PATH", "the tokenizer's file or folder, where it is not beside the model"},
        {"seed", CLI_INT, "N", "of the order in which the text is tuned on (default 1)"},
        {"threads", CLI_INT, "N", "threads to compute with (default: one per processor); no result changes"},
        // The rest are options of the variant or of procedure recover, with their defaults (kvlab list).
        {"d-select", CLI_TEXT, "N", "numbers cached for keys a token and layer"},
        {"per", CLI_TEXT, "layer|head", "one latent for all heads of a layer, or one for each key head"},
        {"rope", CLI_TEXT, "MODE", "what is turned, in models with rotary positions (kvlab list variant NAME)"},
        {"d-rope", CLI_TEXT, "N", "numbers of d-select that are turned"},
        {"factor", CLI_TEXT, "WHAT", "key, query, both, product, stacked: what is approximated best"},
        {"whiten", CLI_FLAG, NULL, "approximate what the weights make of the text, not the weights"},
        {"ranks", CLI_TEXT, "HOW", "uniform, energy or fisher: how layers share out d-select"},
        {"n-kv-head", CLI_TEXT, "N", "key and value heads, each the mean of several"},
        {"pool", CLI_TEXT, "WHICH", "neighbours or similar: which heads become one"},
        {"n-calibration", CLI_TEXT, "N", "sequences of the text for whiten and ranks"},
        {"steps", CLI_TEXT, "N", "fine-tuning steps (default 0: none, the text is for measuring alone)"},
        {"batch", CLI_TEXT, "N", "sequences a step"},
        {"lr", CLI_TEXT, "RATE", "highest learning rate; it falls to a tenth"},
        {"warmup", CLI_TEXT, "N", "steps of its linear rise (default a tenth of the steps, 100 at most)"},
        {"train-only", CLI_TEXT, "NAMES", "parameters that are tuned, 'w_q b_q w_latent w_up' (default: all)"},
        {"rank-kept", CLI_TEXT, "true|false", "tune the factors, or their dense product and cut it again"},
        {"n-test", CLI_TEXT, "N", "sequences of the held-out part that are measured on"},
        {0},
};
enum { CONTEXT_MOST = 1024, WARMUP_MOST = 100, CHUNK = 1 << 20, SETTINGS_FROM = 7, OPTION_NAME = 64 };

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

static int tick(void *context, double fraction)
{
	progress_update(context, fraction, "tuning");
	return stop_asked;
}

// --- the setup -----------------------------------------------------------------------------------------------------

// An option is the variant's where it has it. Both know `ranks`: a list for each layer is not for the command line.
static int set_option(const struct setup *setup, const char *key, const char *value, struct err *err)
{
	const int is_variants =
	        strcmp(key, "ranks") && setup->variant->options && option_find(setup->variant->options, key);
	if (!is_variants && !option_find(setup->procedure->options, key))
		return err_set(err, "compress: variant '%s' has no option '%s'", setup->variant->name, key);
	return option_set(is_variants ? setup->variant->options : setup->procedure->options,
	        is_variants ? setup->variant_config : setup->procedure_config, key, value, err);
}

static int set_options(struct compress *c, const struct cli_args *args, struct err *err)
{
	for (int i = SETTINGS_FROM; options[i].name; i++) {
		char key[OPTION_NAME];
		if (!args->given[i])
			continue;
		snprintf(key, sizeof(key), "%s", options[i].name);
		for (char *dash = key; (dash = strchr(dash, '-'));)
			*dash = '_';
		if (set_option(&c->setup, key, options[i].type == CLI_FLAG ? "true" : args->given[i], err))
			return -1;
	}
	struct recovery_config *config = c->setup.procedure_config;
	const int tenth = config->steps / 10;
	config->lr_floor = config->lr / 10;
	if (!cli_flag(args, "warmup"))
		config->warmup = tenth < WARMUP_MOST ? tenth : WARMUP_MOST;
	return 0;
}

static int choose(struct compress *c, enum section_id id, const char *name, struct err *err)
{
	struct choice choice;
	if (choice_find(&choice, id, name, err))
		return -1;
	setup_put(&c->setup, &choice, choice_config(&choice, &c->arena));
	return 0;
}

// The text as a task, of its training part what is tuned on. Fewer sequences than a setting's default are enough.
static int set_text(struct compress *c, const struct cli_args *args, struct err *err)
{
	struct recovery_config *config = c->setup.procedure_config;
	struct err no_name = {0};
	char number[16];
	const int n_ctx = c->base.model.config.n_ctx;
	if (choose(c, SECTION_TASK, "text", err))
		return -1;
	const struct option *o = c->setup.task->options;
	void *task = c->setup.task_config;
	if (option_set(o, task, "corpus", c->text, &no_name) &&
	        (option_set(o, task, "corpus", "file", err) || option_set(o, task, "path", c->text, err)))
		return -1;
	snprintf(number, sizeof(number), "%d", cli_int(args, "context", n_ctx < CONTEXT_MOST ? n_ctx : CONTEXT_MOST));
	if (option_set(o, task, "tokens", "bpe", err) || option_set(o, task, "tokenizer", c->tokenizer_path, err) ||
	        option_set(o, task, "length", number, err) || c->setup.task->check(task, err))
		return -1;
	const struct task_shape shape = c->setup.task->shape(task);
	if (shape.n_vocab > c->base.model.config.n_vocab)
		return err_set(err,
		        "%s: a tokenizer of %d ids, and a model with a vocabulary of %d: not the model's own",
		        c->tokenizer_path, shape.n_vocab, c->base.model.config.n_vocab);
	if (!cli_flag(args, "n-test") && config->n_test > shape.n_test)
		config->n_test = (int)shape.n_test;
	if (!cli_flag(args, "n-calibration") && config->n_calibration > shape.n_train)
		config->n_calibration = (int)shape.n_train;
	if (config->n_validation > shape.n_validation)
		config->n_validation = (int)shape.n_validation;
	return 0;
}

static int make_setup(struct compress *c, const struct cli_args *args, struct err *err)
{
	struct model_config *model = arena_alloc(&c->arena, sizeof(*model));
	*model = c->base.model.config;
	if (choose(c, SECTION_VARIANT, cli_text(args, "variant", "factored_keys"), err) ||
	        choose(c, SECTION_PROCEDURE, "recover", err) || choose(c, SECTION_CACHE, "cache", err))
		return -1;
	c->setup.family = c->base.family;
	c->setup.model = model;
	c->text = cli_text(args, "finetune", NULL);
	if (set_option(&c->setup, "source", c->model_path, err) || set_options(c, args, err) ||
	        (c->text && set_text(c, args, err)))
		return -1;
	return recovery_check(&c->setup, c->setup.procedure_config, err);
}

// --- the work ------------------------------------------------------------------------------------------------------

static int keep(void *context, struct model *result, struct err *err)
{
	return compress_save(context, result, err);
}

static int work(struct compress *c, const struct cli_args *args, struct err *err)
{
	struct progress progress;
	struct store_build build;
	char *checkpoint = arena_printf(&c->arena, "%s.checkpoint", c->folder);
	if (make_setup(c, args, err))
		return -1;
	provenance_build(&build, &c->arena);
	progress_init(&progress, "compress", 1, 0);
	c->log.build = build.binary_hash;
	c->log.checkpoint_path = checkpoint;
	c->log.tick = tick;
	c->log.context = &progress;
	const struct recovery recovery = {.setup = &c->setup,
	        .config = c->setup.procedure_config,
	        .base = &c->base.model,
	        .seed = (uint64_t)cli_int(args, "seed", 1),
	        .n_thread = c->n_thread,
	        .log = &c->log,
	        .keep = keep,
	        .keep_context = c};
	const int status = recovery_run(&recovery, err);
	progress_end(&progress, status == 0, NULL);
	if (status == 2)
		return err_fault(err, "stopped; the same command goes on from %s", checkpoint);
	if (status == 1)
		err_set(err, "tuning diverges, and nothing is kept (lower --lr)");
	if (status == 0 || status == 1)
		checkpoint_remove(checkpoint);
	return status ? -1 : 0;
}

static int compress(const struct cli_args *args, struct err *err)
{
	struct compress c = {.model_path = args->positional[0],
	        .folder = cli_text(args, "o", NULL),
	        .n_thread = cli_int(args, "threads", (int)sysconf(_SC_NPROCESSORS_ONLN))};
	struct stat info;
	struct sigaction action = {.sa_handler = on_signal};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (!c.folder)
		return err_set(err, "compress: where to? (say -o OUT)");
	if (c.n_thread < 1)
		return err_set(err, "compress: option '--threads' needs at least 1");
	if (stat(c.folder, &info) == 0)
		return err_set(err, "%s: is there already (remove it, or name another folder)", c.folder);
	arena_init(&c.arena, CHUNK);
	run_log_init(&c.log);
	c.tokenizer_path = cli_text(args, "tokenizer", subject_tokenizer_place(c.model_path, &c.arena));
	int rc = model_load(&c.base, c.model_path, PRETRAINED_TO_READ, &c.arena, err);
	if (!rc) {
		rc = work(&c, args, err);
		pretrained_close(&c.base);
	}
	run_log_release(&c.log);
	arena_release(&c.arena);
	return rc;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	if (cli_parse(&args, &command_compress, argc, argv, 1, 1, err))
		return COMMAND_ERROR;
	return compress(&args, err) ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_compress = {
        .name = "compress",
        .summary = "Make a model's cache smaller, tune it to win back what that costs, and save it",
        .usage = "MODEL -o OUT --d-select N [--variant NAME] [--finetune TEXT --steps N] [...]",
        .options = options,
        .run = run,
};
