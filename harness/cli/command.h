// SPDX-License-Identifier: MIT
// The contract of a subcommand, and the one parser of their arguments. A subcommand is one file
// harness/cli/cmd_<name>.c that exports `const struct command command_<name>`; main.c finds it by its file name,
// prints its help from its tables, and is the only one that prints errors and exits.
//
//     extern const struct command command_plan; // defined at the end of the file
//
//     static int run(int argc, char **argv, struct err *err)   // argv[0] is the command's own name
//     {
//             struct cli_args args;
//             if (cli_parse(&args, &command_plan, argc, argv, 1, 1, err))
//                     return COMMAND_ERROR;
//             const char *scale = cli_text(&args, "scale", "small");
#ifndef KVLAB_CLI_COMMAND_H
#define KVLAB_CLI_COMMAND_H
#include "harness/base/arena.h"
#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

// What run() returns.
enum command_result {
	COMMAND_DONE = 0,     // exit 0
	COMMAND_FAILED = 1,   // exit 1: a run or test failed, and the command has said which
	COMMAND_SKIPPED = 77, // exit 77: nothing to do here; err may say why
	COMMAND_ERROR = -1,   // with a message in err. Exit 2, or 1 where err says that the world is at fault
};

enum cli_type {
	CLI_FLAG, // --quiet
	CLI_TEXT, // --scale small or --scale=small
	CLI_INT,  // --seeds 3: a whole number of at least 0, within int
	CLI_REAL, // --top-p 0.9: a number of at least 0
};

// A table ends with a row whose name is NULL. `--help` is added to every command.
struct cli_option {
	const char *name; // without the dashes: "scale"; of one letter: -o
	enum cli_type type;
	const char *value; // how help calls the value: "SCALE"; NULL for a flag
	const char *help;  // one line, with the default
};

struct command {
	const char *name, *summary;       // summary: one line for `kvlab help`
	const char *usage;                // arguments after the name: "EXPERIMENT [--scale SCALE]"
	const struct cli_option *options; // may be NULL
	int (*run)(int argc, char **argv, struct err *err);
};

enum { CLI_OPTIONS = 32 };

struct cli_args {
	const struct command *command;
	const char *given[CLI_OPTIONS]; // per row of the option table: the value's text ("" for a flag), NULL if absent
	int n_positional;
	char **positional; // points into argv, whose order is changed
};

// Options may stand anywhere; "--" ends them; the last of a repeated option counts. Refuses fewer positional
// arguments than least_positional or more than most_positional.
int cli_parse(struct cli_args *args, const struct command *command, int argc, char **argv, int least_positional,
        int most_positional, struct err *err);
// Whether the option was given. The name must be in the command's table (else BUG()).
int cli_flag(const struct cli_args *args, const char *name);
// Its value, or `otherwise` where it was not given.
const char *cli_text(const struct cli_args *args, const char *name, const char *otherwise);
int cli_int(const struct cli_args *args, const char *name, int otherwise);
double cli_real(const struct cli_args *args, const char *name, double otherwise);

// The spec that an EXPERIMENT argument means: a path (with a slash or ending in .yaml) as it stands, or a name:
// experiments/<name>.yaml. 0, or -1 with a message that lists what is near.
int cli_spec_path(char **path, const char *argument, struct arena *arena, struct err *err);
// Names of the specs in experiments/ in order, NULL-terminated. Empty where the folder cannot be read.
const char **cli_experiments(struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
