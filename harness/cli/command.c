// SPDX-License-Identifier: MIT
#include "harness/cli/command.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/number.h"
#include "harness/base/option.h"

static int row_of(const struct command *command, const char *name, size_t length)
{
	for (int i = 0; command->options && command->options[i].name; i++)
		if (strlen(command->options[i].name) == length && memcmp(command->options[i].name, name, length) == 0)
			return i;
	return -1;
}

static int refuse_option(const struct command *command, const char *word, struct err *err)
{
	const char *names[CLI_OPTIONS + 1];
	int n = 0;
	for (; command->options && n < CLI_OPTIONS && command->options[n].name; n++)
		names[n] = command->options[n].name;
	names[n] = NULL;
	const char *near = word_nearest(names, word);
	if (near)
		return err_set(err, "%s: unknown option '--%s' (did you mean '--%s'?)", command->name, word, near);
	return err_set(err, "%s: unknown option '--%s' (see 'kvlab help %s')", command->name, word, command->name);
}

static int to_int(const char *text, int *value)
{
	char *end;
	errno = 0;
	long number = strtol(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || number > INT_MAX)
		return -1;
	*value = (int)number;
	return 0;
}

static int to_real(const char *text, double *value)
{
	return number_parse(value, text) || !isfinite(*value) || *value < 0 ? -1 : 0;
}

// One "--name", "--name=value", "--name value" or "-n value" (an option of one letter); *at is moved past what was
// used.
static int parse_option(struct cli_args *args, int argc, char **argv, int *at, struct err *err)
{
	const struct command *command = args->command;
	const char *word = argv[*at] + 1 + (argv[*at][1] == '-');
	size_t length = strcspn(word, "=");
	const char *value = word[length] ? word + length + 1 : NULL;
	int row = row_of(command, word, length), number;
	double real_number;
	if (row < 0) {
		char name[128];
		snprintf(name, sizeof(name), "%.*s", (int)(length < sizeof(name) ? length : sizeof(name) - 1), word);
		return refuse_option(command, name, err);
	}
	if (row >= CLI_OPTIONS)
		BUG("command %s has more than %d options", command->name, CLI_OPTIONS);
	const struct cli_option *option = &command->options[row];
	if (option->type == CLI_FLAG) {
		if (value)
			return err_set(err, "%s: option '--%s' takes no value", command->name, option->name);
		args->given[row] = "";
		return 0;
	}
	if (!value && *at + 1 < argc)
		value = argv[++*at];
	if (!value)
		return err_set(err, "%s: option '--%s' without a value (write '--%s %s')", command->name, option->name,
		        option->name, option->value);
	if (option->type == CLI_INT && to_int(value, &number))
		return err_set(err, "%s: option '--%s': '%s' is not a whole number from 0 to %d", command->name,
		        option->name, value, INT_MAX);
	if (option->type == CLI_REAL && to_real(value, &real_number))
		return err_set(err, "%s: option '--%s': '%s' is not a number of at least 0", command->name,
		        option->name, value);
	args->given[row] = value;
	return 0;
}

int cli_parse(struct cli_args *args, const struct command *command, int argc, char **argv, int least_positional,
        int most_positional, struct err *err)
{
	int n = 1, only_positional = 0;
	memset(args, 0, sizeof(*args));
	args->command = command;
	for (int i = 1; i < argc; i++) {
		char *word = argv[i];
		if (!only_positional && strcmp(word, "--") == 0) {
			only_positional = 1;
		} else if (!only_positional && word[0] == '-' &&
		           (word[1] == '-' || (word[1] && !word[2] && row_of(command, word + 1, 1) >= 0))) {
			if (parse_option(args, argc, argv, &i, err))
				return -1;
		} else if (!only_positional && word[0] == '-' && word[1]) {
			return err_set(err, "%s: unknown option '%s' (options begin with '--'; see 'kvlab help %s')",
			        command->name, word, command->name);
		} else {
			argv[n++] = word;
		}
	}
	args->positional = argv + 1;
	args->n_positional = n - 1;
	if (args->n_positional < least_positional)
		return err_set(err, "%s: an argument is missing (usage: kvlab %s %s)", command->name, command->name,
		        command->usage);
	if (args->n_positional > most_positional)
		return err_set(err, "%s: unexpected argument '%s' (usage: kvlab %s %s)", command->name,
		        args->positional[most_positional], command->name, command->usage);
	return 0;
}

static const char *given(const struct cli_args *args, const char *name)
{
	int row = row_of(args->command, name, strlen(name));
	if (row < 0)
		BUG("command %s has no option '%s'", args->command->name, name);
	return args->given[row];
}

int cli_flag(const struct cli_args *args, const char *name)
{
	return given(args, name) != NULL;
}

const char *cli_text(const struct cli_args *args, const char *name, const char *otherwise)
{
	const char *value = given(args, name);
	return value ? value : otherwise;
}

int cli_int(const struct cli_args *args, const char *name, int otherwise)
{
	const char *text = given(args, name);
	int value = otherwise;
	if (text && to_int(text, &value))
		BUG("option '%s' of command %s is not of type CLI_INT", name, args->command->name);
	return value;
}

double cli_real(const struct cli_args *args, const char *name, double otherwise)
{
	const char *text = given(args, name);
	double value = otherwise;
	if (text && to_real(text, &value))
		BUG("option '%s' of command %s is not of type CLI_REAL", name, args->command->name);
	return value;
}

// --- experiments --------------------------------------------------------------------------------------------

static const char folder[] = "experiments", suffix[] = ".yaml";

static int is_spec(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name), s = sizeof(suffix) - 1;
	return n > s && entry->d_name[0] != '.' && strcmp(entry->d_name + n - s, suffix) == 0;
}

const char **cli_experiments(struct arena *arena)
{
	struct dirent **entry = NULL;
	int n = scandir(folder, &entry, is_spec, alphasort);
	if (n < 0)
		n = 0;
	const char **names = arena_zalloc(arena, (size_t)(n + 1) * sizeof(*names));
	for (int i = 0; i < n; i++) {
		size_t length = strlen(entry[i]->d_name) - (sizeof(suffix) - 1);
		names[i] = arena_printf(arena, "%.*s", (int)length, entry[i]->d_name);
		free(entry[i]);
	}
	free(entry);
	return names;
}

int cli_spec_path(char **path, const char *argument, struct arena *arena, struct err *err)
{
	size_t n = strlen(argument), s = sizeof(suffix) - 1;
	if (strchr(argument, '/') || (n > s && strcmp(argument + n - s, suffix) == 0)) {
		*path = arena_strdup(arena, argument);
		return 0;
	}
	*path = arena_printf(arena, "%s/%s%s", folder, argument, suffix);
	if (access(*path, F_OK) == 0)
		return 0;
	const char **names = cli_experiments(arena), *near = word_nearest(names, argument);
	if (!names[0])
		return err_set(err, "%s: no specs here (run kvlab where %s/ is, or name a file)", folder, folder);
	if (near)
		return err_set(err, "%s: no such spec (did you mean '%s'?)", *path, near);
	return err_set(err, "%s: no such spec ('kvlab list experiment' shows them all)", *path);
}
