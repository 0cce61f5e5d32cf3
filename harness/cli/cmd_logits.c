// SPDX-License-Identifier: MIT
// kvlab logits: what a model says after each token, for anyone who wants to compare.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/cli/subject.h"

extern const struct command command_logits;

static const struct cli_option options[] = {
        {"ids", CLI_TEXT, "ID,ID,...", "the tokens, by number"},
        {"last", CLI_FLAG, NULL, "only the line of the last position"},
        SUBJECT_DEVICE,
        {0},
};

enum { CHUNK = 1 << 20 };

// "1,2,3" as numbers of tokens. Returns how many, or -1 with a message.
static int parse_ids(
        int **ids, const char *text, const struct model_config *config, struct arena *arena, struct err *err)
{
	int n = 1;
	for (const char *at = text; *at; at++)
		n += *at == ',';
	if (n > config->n_ctx)
		return err_set(err, "logits: %d tokens are more than the model's %d positions", n, config->n_ctx);
	*ids = arena_alloc(arena, (size_t)n * sizeof(**ids));
	for (int i = 0; i < n; i++) {
		char *end;
		errno = 0;
		const long id = strtol(text, &end, 10);
		if (*text < '0' || *text > '9' || *end != (i < n - 1 ? ',' : '\0'))
			return err_set(
			        err, "logits: option '--ids': token %d is no whole number (say --ids 1,2,3)", i + 1);
		if (errno || id >= config->n_vocab)
			return err_set(err, "logits: option '--ids': token %d is beyond the model's vocabulary of %d",
			        i + 1, config->n_vocab);
		(*ids)[i] = (int)id;
		text = end + 1;
	}
	return n;
}

// Nine digits bring every float back.
static void print_rows(struct tape *tape, const struct tensor *logits)
{
	const real *x = tensor_on_host(tape, logits);
	for (int t = 0; t < logits->T; t++)
		for (int j = 0; j < logits->C; j++)
			printf("%.9g%c", (double)x[t * logits->t_stride + j], j < logits->C - 1 ? ' ' : '\n');
}

static int logits(const struct cli_args *args, struct arena *arena, struct err *err)
{
	struct pretrained p;
	int *ids = NULL;
	const char *text = cli_text(args, "ids", NULL);
	if (!text)
		return err_set(err, "logits: which tokens? say --ids 1,2,3");
	const struct backend *backend = subject_device(args, err);
	if (!backend || model_load(&p, args->positional[0], PRETRAINED_TO_READ, arena, err))
		return COMMAND_ERROR;
	const int n = parse_ids(&ids, text, &p.model.config, arena, err), first = cli_flag(args, "last") ? n - 1 : 0;
	struct arena memory;
	struct model model;
	arena_init_from(&memory, CHUNK, backend->memory);
	const int is_placed = n > 0 && subject_place(&model, &p.model, backend, arena, &memory, err) == 0;
	if (is_placed) {
		struct tape tape;
		struct tape_memory work;
		tape_open(&tape, &work, backend, 1, CHUNK);
		tape_begin(&tape, TAPE_RUN);
		print_rows(&tape, model_forward(&tape, &model, ids, 1, n, first, n - first, NULL));
		tape_close(&work);
	}
	arena_release(&memory);
	pretrained_close(&p);
	return is_placed ? COMMAND_DONE : COMMAND_ERROR;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct arena arena;
	if (cli_parse(&args, &command_logits, argc, argv, 1, 1, err))
		return COMMAND_ERROR;
	arena_init(&arena, CHUNK);
	const int result = logits(&args, &arena, err);
	arena_release(&arena);
	return result;
}

const struct command command_logits = {
        .name = "logits",
        .summary = "print a model's logits after each of some tokens, a line per position",
        .usage = "FILE|FOLDER --ids ID,ID,... [--last]",
        .options = options,
        .run = run,
};
