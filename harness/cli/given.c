// SPDX-License-Identifier: MIT
#include "harness/cli/given.h"

#include <string.h>

#include "harness/cli/subject.h"
#include "harness/run/source_model.h"
#include "harness/text/corpus.h"

enum { OVERRIDES_MOST = 128, BYTES = 256 };

struct given {
	struct spec_override override[OVERRIDES_MOST];
	int n;
	const char *place; // of those that follow
	struct arena *arena;
};

static void put(struct given *g, const char *section, const char *key, const char *value)
{
	if (g->n == OVERRIDES_MOST)
		BUG("more than %d overrides", OVERRIDES_MOST);
	const char *path = arena_printf(g->arena, "%s.%s", section, key);
	g->override[g->n++] = (struct spec_override){path, value, g->place};
}

// --- the tokenizer ---------------------------------------------------------------------------------------------------

// The folder around a path; NULL where the path names none.
static const char *folder_above(const char *path, struct arena *arena)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	return n > 1 ? arena_printf(arena, "%.*s", (int)n - 1, path) : NULL;
}

// How many ids the tokenizer there has; -1 with a message.
static int count_tokens(const char *path, struct err *err)
{
	char where[2 * PATH_TEXT];
	struct tokenizer *tokenizer;
	if (tokenizer_open(&tokenizer, corpus_path(where, path), NULL, err))
		return -1;
	const int n = tokenizer_n_vocab(tokenizer);
	tokenizer_free(tokenizer);
	return n;
}

// The text becomes ids of the model's tokenizer; a model of 256 tokens without one reads bytes.
static int put_tokens(
        struct given *g, const struct source_model *model, const char *folder, const char *said, struct err *err)
{
	struct err cause = {0}, above_cause = {0};
	const char *beside = said ? said : folder;
	int n = count_tokens(beside, &cause);
	const char *above = said || n >= 0 ? NULL : folder_above(folder, g->arena);
	if (above && (n = count_tokens(above, &above_cause)) >= 0)
		beside = above;
	const int n_vocab = model->config.n_vocab;
	if (n < 0 && !said && n_vocab == BYTES) {
		put(g, "task", "tokens", "bytes");
		put(g, "task", "tokenizer", "");
		return 0;
	}
	if (n < 0 && said)
		return err_set(err, "--tokenizer: %s", cause.message);
	if (n < 0)
		return err_set(err, "--model: %s, and none above it (say --tokenizer PATH, or make's TOKENIZER=PATH)",
		        cause.message);
	if (n > n_vocab)
		return err_set(err,
		        "%s: a tokenizer of %d ids, and %s has a vocabulary of %d: not the model's own (say "
		        "--tokenizer PATH, or make's TOKENIZER=PATH)",
		        beside, n, model->path, n_vocab);
	put(g, "task", "tokens", "bpe");
	put(g, "task", "tokenizer", beside);
	return 0;
}

// --- the model -------------------------------------------------------------------------------------------------------

static int put_model(struct given *g, const char *spec_path, const char *folder, const char *tokenizer, struct err *err)
{
	const struct procedure *procedure;
	const struct source_model *model;
	if (spec_procedure(&procedure, spec_path, g->arena, err))
		return -1;
	if (!option_find(procedure->options, "source"))
		return err_set(err, "%s: procedure '%s' starts from no trained model (leave MODEL out)", spec_path,
		        procedure->name);
	if (strlen(folder) >= PATH_TEXT)
		return err_set(
		        err, "--model: a path of %zu bytes is too long (at most %d)", strlen(folder), PATH_TEXT - 1);
	if (source_model_find(&model, folder, err))
		return -1;
	g->place = arena_printf(g->arena, "--model %s", folder);
	put(g, "model", "family", model->family->name);
	for (const struct option *o = model_options; o->key; o++)
		put(g, "model", o->key, option_text(o, &model->config, g->arena));
	put(g, procedure->section, "source", folder);
	return put_tokens(g, model, subject_tokenizer_place(folder, g->arena), tokenizer, err);
}

// --- single settings -------------------------------------------------------------------------------------------------

// "recover.n_test=40 task.length=512": words.
static int put_settings(struct given *g, const char *said, struct err *err)
{
	char *rest = arena_strdup(g->arena, said), *word;
	while ((word = strtok_r(rest, " \t\n", &rest))) {
		char *value = strchr(word, '='), *key = strchr(word, '.');
		if (!value || !key || key == word || key > value || key + 1 == value)
			return err_set(err, "--set: '%s' is no SECTION.OPTION=VALUE", word);
		g->place = arena_printf(g->arena, "--set %s", word);
		*value = *key = '\0';
		put(g, word, key + 1, value + 1);
	}
	return 0;
}

int given_load(struct spec *spec, const char *path, const struct cli_args *args, struct arena *arena, struct err *err)
{
	struct given *g = arena_zalloc(arena, sizeof(*g));
	const char *folder = cli_text(args, "model", NULL), *text = cli_text(args, "text", NULL);
	const char *tokenizer = cli_text(args, "tokenizer", NULL), *settings = cli_text(args, "set", NULL);
	g->arena = arena;
	if (tokenizer && !folder)
		return err_set(err, "--tokenizer: it is the model's, and no --model is given (leave it out)");
	if (folder && put_model(g, path, folder, tokenizer, err))
		return -1;
	if (text) {
		g->place = arena_printf(arena, "--text %s", text);
		put(g, "task", "corpus", "file");
		put(g, "task", "path", text);
	}
	if (settings && put_settings(g, settings, err))
		return -1;
	return spec_load_with(
	        spec, path, cli_text(args, "scale", "small"), cli_int(args, "seeds", 0), g->override, g->n, arena, err);
}
