// SPDX-License-Identifier: MIT
// Finds the subcommand, prints help from its tables, turns what it returns into a message and an exit status.
#include <stdio.h>
#include <string.h>

#include "harness/base/option.h"
#include "harness/cli/command.h"

#define COMMAND(name) extern const struct command command_##name;
#include "generated/command_list.inc"
#undef COMMAND

static const struct command *const commands[] = {
#define COMMAND(name) &command_##name,
#include "generated/command_list.inc"
#undef COMMAND
        NULL,
};

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, NAMES_MOST = 64 };

static const struct command *find_command(const char *name)
{
	for (const struct command *const *c = commands; *c; c++)
		if (strcmp((*c)->name, name) == 0)
			return *c;
	return NULL;
}

static void print_help(void)
{
	puts("kvlab: how small can a transformer's KV cache be, and what does it cost?\n");
	puts("usage: kvlab COMMAND [ARGUMENT...]\n");
	for (const struct command *const *c = commands; *c; c++)
		printf("  %-11s %s\n", (*c)->name, (*c)->summary);
	puts("\n'kvlab help COMMAND' shows a command's arguments. Exit status: 0 done, 1 a run failed or the machine "
	     "is at\n"
	     "fault, 2 wrong usage or bad spec, 77 skipped.");
}

static void print_command_help(const struct command *command)
{
	printf("usage: kvlab %s %s\n\n%s\n", command->name, command->usage, command->summary);
	const char *gap = "\n";
	for (const struct cli_option *o = command->options; o && o->name; o++) {
		char left[64];
		snprintf(left, sizeof(left), "%s%s%s%s", o->name[1] ? "--" : "-", o->name,
		        o->type == CLI_FLAG ? "" : " ", o->type == CLI_FLAG ? "" : o->value);
		printf("%s  %-22s %s\n", gap, left, o->help);
		gap = "";
	}
}

static int fail_usage(const char *message)
{
	fprintf(stderr, "kvlab: %s\n", message);
	return EXIT_USAGE;
}

static int refuse_command(const char *name)
{
	const char *names[NAMES_MOST + 1];
	char message[256];
	int n = 0;
	for (; commands[n] && n < NAMES_MOST; n++)
		names[n] = commands[n]->name;
	names[n] = NULL;
	const char *near = word_nearest(names, name);
	if (near)
		snprintf(message, sizeof(message), "unknown command '%s' (did you mean '%s'?)", name, near);
	else
		snprintf(message, sizeof(message), "unknown command '%s' (see 'kvlab help')", name);
	return fail_usage(message);
}

static int help(int argc, char **argv)
{
	if (argc < 2) {
		print_help();
		return EXIT_DONE;
	}
	const struct command *command = find_command(argv[1]);
	if (!command)
		return refuse_command(argv[1]);
	print_command_help(command);
	return EXIT_DONE;
}

static int wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return 1;
	return 0;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct err err = {0};
	int result = command->run(argc, argv, &err);
	if (result < 0 && !err.is_set)
		BUG("command %s failed without a message", command->name);
	if (err.is_set && result != COMMAND_DONE)
		fprintf(stderr, "kvlab: %s\n", err.message);
	if (result >= 0)
		return result;
	return err.is_fault ? EXIT_FAILED : EXIT_USAGE;
}

static int dispatch(int argc, char **argv)
{
	if (argc < 2)
		return fail_usage("no command given (see 'kvlab help')");
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(argc - 1, argv + 1);
	const struct command *command = find_command(argv[1]);
	if (!command)
		return refuse_command(argv[1]);
	if (wants_help(argc - 1, argv + 1)) {
		print_command_help(command);
		return EXIT_DONE;
	}
	return run(command, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status = dispatch(argc, argv);
	// Results go to stdout: a full disk behind it must not look like success.
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "kvlab: standard output cannot be written (disk full?)\n");
		return status ? status : EXIT_FAILED;
	}
	return status;
}
