// SPDX-License-Identifier: MIT
// What commands that run a model are about: the model, its tokenizer, a text, and the options that these share.
#ifndef KVLAB_CLI_SUBJECT_H
#define KVLAB_CLI_SUBJECT_H
#include "harness/cli/command.h"
#include "harness/pretrained/pretrained.h"
#include "harness/text/tokenizer.h"
#ifdef __cplusplus
extern "C" {
#endif

// Rows for a command's option table.
#define SUBJECT_OPTIONS                                                                                                \
	{"tokenizer", CLI_TEXT, "PATH", "the tokenizer's file or folder, where it is not beside the model"},           \
	        {"cache", CLI_TEXT, "k=T,v=T", "types of cached keys and values: " DTYPE_CHOICES " (default f32)"},    \
	        {"threads", CLI_INT, "N", "threads to compute with (default: one per processor); no result changes"},  \
	        SUBJECT_DEVICE
#define SUBJECT_DEVICE                                                                                                 \
	{                                                                                                              \
		"device", CLI_TEXT, "DEVICE", "cpu (default), cuda, or the path of a plugin"                           \
	}

struct subject {
	struct arena arena, memory; // memory: the device's
	struct pretrained p;
	const struct backend *backend; // of --device
	struct model model;            // p's, or its copy in the device's memory: what computes
	struct tokenizer *tokenizer;
	const char *tokenizer_path;
	struct cache_config cache; // of --cache
	int n_thread;
};

// Opens the model and its tokenizer, and refuses one whose ids are beyond the model's vocabulary. 0, or -1 with a
// message and nothing open.
int subject_open(struct subject *s, const char *path, const struct cli_args *args, struct err *err);
void subject_close(struct subject *s);
// The backend that --device names; NULL with a message. Models of the command line are kept in f32 and computed in it.
const struct backend *subject_device(const struct cli_args *args, struct err *err);
// A model where the backend computes: itself, or a copy. 0, or -1 where it does not fit there.
int subject_place(struct model *placed, const struct model *model, const struct backend *backend, struct arena *arena,
        struct arena *memory, struct err *err);
// Where a model's tokenizer is looked for: beside a file of weights, or in its folder.
const char *subject_tokenizer_place(const char *path, struct arena *arena);
#ifdef __cplusplus
}
#endif
#endif
