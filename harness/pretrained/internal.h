// SPDX-License-Identifier: MIT
#ifndef KVLAB_PRETRAINED_INTERNAL_H
#define KVLAB_PRETRAINED_INTERNAL_H
#include "harness/pretrained/pretrained.h"
#ifdef __cplusplus
extern "C" {
#endif

// --- config.c ------------------------------------------------------------------------------------------------------

// The options' defaults, then the family's own (not a preset's).
void family_config(struct model_config *config, const struct family *family);
// Whether a word is in a list ("llama mistral").
int word_is_in(const char *word, const char *list);
// Fills a config by the format's keys and resolves it. n_vocab: what the token table has, for files that do not say.
int config_read(struct model_config *config, const struct family *family, const struct family_format *format,
        const struct value *object, long n_vocab, struct err *err);
// config.json of a model, in memory from arena; NULL with a message when an option of it cannot be said.
char *config_text(const struct model_config *config, const struct family *family, const struct family_format *format,
        struct arena *arena, struct err *err);

// --- layout.c ------------------------------------------------------------------------------------------------------

// A parameter, or the part of it, that one tensor of the file holds.
struct slice {
	const struct family_tensor *row;
	char name[WEIGHTS_NAME + 1]; // of the tensor
	struct model_param *param;
	int first, rows, columns; // of the parameter; a vector is a column
	int n_dim;                // of the tensor
	long dim[2];
	int d_head;
};
// The slice of a row in a layer; 0 when the model has no such parameter.
int slice_make(struct slice *slice, const struct model *model, const struct family_tensor *row, int layer);
// How often a row counts: once, or once a layer.
int slice_count(const struct model *model, const struct family_tensor *row);
// Whether the tensor's numbers are the slice's as they lie; and the slice the whole parameter.
int slice_is_plain(const struct slice *slice);
int slice_is_whole(const struct slice *slice);
// From the file's tensor into the parameter's memory. Scratch is given back.
void slice_read(const struct slice *slice, const struct weights_tensor *tensor, struct arena *scratch);
// The reverse, into `out`, laid out as the tensor.
void slice_write(const struct slice *slice, real *out);

#ifdef __cplusplus
}
#endif
#endif
