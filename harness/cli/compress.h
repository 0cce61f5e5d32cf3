// SPDX-License-Identifier: MIT
// Between cmd_compress.c and the folder that it makes (compress_folder.c, compress_report.c).
#ifndef KVLAB_CLI_COMPRESS_H
#define KVLAB_CLI_COMPRESS_H
#include <stdio.h>

#include "harness/pretrained/pretrained.h"
#include "harness/run/recovery.h"
#ifdef __cplusplus
extern "C" {
#endif

struct compress {
	const char *model_path, *text, *tokenizer_path; // text NULL: there is none
	const char *folder;                             // OUT, that does not exist
	struct pretrained base;
	struct setup setup;
	struct run_log log;
	int n_thread;
	struct arena arena;
};

// Tokens a second, one sequence, a step of one token after `depth`: medians over steps of both models by turns.
struct decode_speed {
	int depth;
	double before, after;
};
int compress_measure_speed(struct decode_speed *speed, const struct model *before, const struct model *after,
        int n_thread, struct err *err);

// Beside the folder, renamed when it is whole: the model, its tokenizer's files, report.json and report.md. What an
// earlier attempt has left beside it is removed first. 0, or -1 with a message and no folder.
int compress_save(const struct compress *c, const struct model *result, struct err *err);

// The reports' texts; the log has what was measured.
void compress_print_json(
        FILE *out, const struct compress *c, const struct model *result, const struct decode_speed *speed);
void compress_print_markdown(
        FILE *out, const struct compress *c, const struct model *result, const struct decode_speed *speed);

#ifdef __cplusplus
}
#endif
#endif
