// SPDX-License-Identifier: MIT
// kvlab list: what a spec can name, with the options of each.
#include <limits.h>
#include <math.h>
#include <string.h>

#include "harness/base/number.h"
#include "harness/cli/command.h"
#include "harness/spec/section.h"
#include "harness/spec/spec.h"

extern const struct command command_list;

enum { N_KIND = N_SECTION + 1, KIND_EXPERIMENT = N_SECTION };

// The order in which a newcomer would ask.
static const int kinds[N_KIND] = {
        KIND_EXPERIMENT, SECTION_VARIANT, SECTION_TASK, SECTION_MODEL, SECTION_PROCEDURE, SECTION_CACHE};

static const char *kind_name(int kind)
{
	return kind == KIND_EXPERIMENT ? "experiment" : section_kind((enum section_id)kind);
}

static void print_row(const char *name, const char *text)
{
	printf("  %-22s %s\n", name, text);
}

// A spec that cannot be read is listed with the reason.
static void list_experiments(struct arena *arena)
{
	for (const char **name = cli_experiments(arena); *name; name++) {
		struct err err = {0};
		char *path, *question;
		if (cli_spec_path(&path, *name, arena, &err) || spec_question(&question, path, arena, &err))
			print_row(*name, err.message);
		else
			print_row(*name, question);
	}
}

static void list_kind(int kind, struct arena *arena)
{
	struct choice choice;
	if (kind == KIND_EXPERIMENT) {
		list_experiments(arena);
		return;
	}
	for (int i = 0; choice_at(&choice, (enum section_id)kind, i) == 0; i++)
		print_row(choice.name, choice.summary);
}

static char *range_of(const struct option *option, struct arena *arena)
{
	char least[NUMBER_TEXT], most[NUMBER_TEXT];
	if (option->type == OPTION_BOOL)
		return arena_strdup(arena, "true|false");
	if (option->type == OPTION_CHOICE)
		return arena_strdup(arena, option->choices);
	if (option->type == OPTION_TEXT)
		return arena_printf(arena, "up to %d bytes", (int)option->most - 1);
	number_print(least, option->least);
	number_print(most, option->most);
	if (option->type == OPTION_INT && option->most >= INT_MAX)
		return arena_printf(arena, ">= %s", least);
	if (!isfinite(option->most))
		return arena_printf(arena, ">= %s", least);
	return arena_printf(arena, "%s to %s", least, most);
}

// What a spec gets that says nothing: for a model, after its family's own defaults.
static const char *default_of(const struct option *option, const void *config, struct arena *arena)
{
	const char *text = option_text(option, config, arena);
	return *text ? text : "\"\"";
}

static void show_choice(const struct choice *choice, struct arena *arena)
{
	static const char *const type[] = {"integer", "real", "truth", "choice", "text"};
	void *config = choice_config(choice, arena);
	if (section_is_optional(choice->id)) // there is only one
		printf("%s: %s\n", choice->name, choice->summary);
	else
		printf("%s %s: %s\n", section_kind(choice->id), choice->name, choice->summary);
	if (choice->id == SECTION_PROCEDURE)
		printf("its section in a spec: %s\n", ((const struct procedure *)choice->what)->section);
	if (!choice->options || !choice->options->key) {
		puts("\nno options");
		return;
	}
	printf("\n  %-20s %-8s %-10s %-24s %s\n", "option", "type", "default", "range", "meaning");
	for (const struct option *o = choice->options; o->key; o++)
		printf("  %-20s %-8s %-10s %-24s %s\n", o->key, type[o->type], default_of(o, config, arena),
		        range_of(o, arena), o->help);
}

static int find_kind(const char *word, int *kind, struct err *err)
{
	const char *names[N_KIND + 1] = {0};
	for (int i = 0; i < N_KIND; i++) {
		names[i] = kind_name(kinds[i]);
		*kind = kinds[i];
		if (strcmp(names[i], word) == 0)
			return 0;
	}
	const char *near = word_nearest(names, word);
	if (near)
		return err_set(err, "list: unknown kind '%s' (did you mean '%s'?)", word, near);
	return err_set(err, "list: unknown kind '%s' (experiment, variant, task, family, procedure or cache)", word);
}

// One experiment in detail is its plan; here only what it asks.
static int show_one(int kind, const char *name, struct arena *arena, struct err *err)
{
	if (kind == KIND_EXPERIMENT) {
		char *path, *question;
		if (cli_spec_path(&path, name, arena, err) || spec_question(&question, path, arena, err))
			return COMMAND_ERROR;
		printf("%s\n%s\n('kvlab plan %s' shows its points)\n", path, question, name);
		return COMMAND_DONE;
	}
	struct choice choice;
	if (choice_find(&choice, (enum section_id)kind, name, err))
		return COMMAND_ERROR;
	show_choice(&choice, arena);
	return COMMAND_DONE;
}

static int list(const struct cli_args *args, struct arena *arena, struct err *err)
{
	int kind;
	if (args->n_positional == 0) {
		for (int i = 0; i < N_KIND; i++) {
			printf("%s%s\n", i ? "\n" : "", kind_name(kinds[i]));
			list_kind(kinds[i], arena);
		}
		puts("\n'kvlab list KIND NAME' shows one with its options.");
		return COMMAND_DONE;
	}
	if (find_kind(args->positional[0], &kind, err))
		return COMMAND_ERROR;
	if (args->n_positional == 2)
		return show_one(kind, args->positional[1], arena, err);
	if (kind != KIND_EXPERIMENT && section_is_optional((enum section_id)kind)) // there is nothing to choose from
		return show_one(kind, kind_name(kind), arena, err);
	list_kind(kind, arena);
	return COMMAND_DONE;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct arena arena;
	if (cli_parse(&args, &command_list, argc, argv, 0, 2, err))
		return COMMAND_ERROR;
	arena_init(&arena, 1 << 20);
	int result = list(&args, &arena, err);
	arena_release(&arena);
	return result;
}

const struct command command_list = {
        .name = "list",
        .summary = "List experiments, variants, tasks, model families, procedures and the cache, with their options",
        .usage = "[experiment|variant|task|family|procedure|cache [NAME]]",
        .run = run,
};
