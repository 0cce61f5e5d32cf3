// SPDX-License-Identifier: MIT
#ifndef KVLAB_PRETRAINED_INTERNAL_H
#define KVLAB_PRETRAINED_INTERNAL_H
#include <stdio.h>

#include "harness/pretrained/pretrained.h"
#ifdef __cplusplus
extern "C" {
#endif

// --- config.c ------------------------------------------------------------------------------------------------------

// A value as an option would be spelled; JSON for what is no plain value. Safe to show.
enum { WORD = 128 };
void value_word(char word[WORD], const struct value *value);
// The options' defaults, then the family's own (not a preset's).
void family_config(struct model_config *config, const struct family *family);
// Whether a word is in a list ("llama mistral").
int word_is_in(const char *word, const char *list);
// Fills a config by the format's keys and resolves it. n_vocab: what the token table has, for files that do not say.
int config_read(struct model_config *config, const struct family *family, const struct family_format *format,
        const struct value *object, long n_vocab, struct err *err);
// What a file of the family can say of a config: it as far as there are words, the rest the family's own. 0 or -1.
int config_said(struct model_config *said, const struct model_config *config, const struct family *family,
        const struct family_format *format, struct arena *arena, struct err *err);
// config.json of a model, in memory from arena.
char *config_text(const struct model *model, const struct model_config *said, const struct family_format *format,
        struct arena *arena);

// --- own.c: what the family's files cannot say
// ------------------------------------------------------------------------

extern const char *const own_architecture; // "architectures" of such a file, so that other programs refuse it
int own_is_there(const struct value *object);
// Sets the options of the model in the section "kvlab" of config.json.
int own_read_model(struct model_config *config, const struct value *object, struct err *err);
// The variant there and its setting, memory from arena; *variant NULL: the file is the family's alone.
int own_read_variant(const struct variant **variant, void **config, const struct value *object, struct arena *arena,
        struct err *err);
int own_check_variant(const struct variant *variant, const struct attn_dims *dims, const void *config,
        const char *place, struct err *err);
// Whether the family's file, which says `said`, needs that section to be this model.
int own_is_needed(const struct model *model, const struct model_config *said);
void own_print(FILE *out, const struct model *model, const struct model_config *said);
// The family's rows without attention's, then rows of our own for what has none.
const struct family_tensor *own_tensors(
        const struct model *model, const struct family_tensor *theirs, struct arena *arena);

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
