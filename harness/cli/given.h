// SPDX-License-Identifier: MIT
// What a command line puts above a spec: a model to begin with, a text, single options. Shared by `kvlab plan` and
// `kvlab run`.
#ifndef KVLAB_CLI_GIVEN_H
#define KVLAB_CLI_GIVEN_H
#include "harness/cli/command.h"
#include "harness/spec/spec.h"
#ifdef __cplusplus
extern "C" {
#endif

// Rows for a command's option table.
#define GIVEN_OPTIONS                                                                                                  \
	{"model", CLI_TEXT, "FOLDER",                                                                                  \
	        "a trained model to begin with, for procedures that take one: section model and the tokenizer "        \
	        "follow it"},                                                                                          \
	        {"tokenizer", CLI_TEXT, "PATH",                                                                        \
	                "its tokenizer, where it lies neither beside it nor one folder above"},                        \
	        {"text", CLI_TEXT, "FILE", "a text of your own, or a folder of them, instead of the spec's corpus"},   \
	{                                                                                                              \
		"set", CLI_TEXT, "SETTINGS",                                                                           \
		        "\"train.steps=500 model.n_layer=2\": options that count for every point, swept or not"        \
	}

// Resolves the spec of args (spec_load_with) at its --scale, --seeds, --model, --tokenizer, --text and --set. 0, or -1
// with the message.
int given_load(struct spec *spec, const char *path, const struct cli_args *args, struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
