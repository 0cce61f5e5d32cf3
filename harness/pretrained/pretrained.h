// SPDX-License-Identifier: MIT
// Models from files of weights, and back: a Hugging Face folder, a GGUF file or a llama2.c .bin becomes a model of
// variant mha, gqa or mqa, as its heads say; a folder that model_save wrote one of the variant it was. Which file is of
// which family, what its configuration means and how its tensors lie is in the family's tables (model/family.h).
//
//     struct pretrained p;
//     if (model_load(&p, "models/gpt2", PRETRAINED_TO_READ, &arena, err))
//             return -1;
//     ... model_forward(&tape, &p.model, ...) ...
//     pretrained_close(&p); // the model's numbers may lie in the mapped files
//
// Everything is checked before memory is taken: architecture, every value of the configuration that changes what is
// computed, every tensor's name, shape and type; what is missing and what nobody would read are refused by name.
#ifndef KVLAB_PRETRAINED_PRETRAINED_H
#define KVLAB_PRETRAINED_PRETRAINED_H
#include "harness/model/family.h"
#include "harness/model/model.h"
#include "harness/weights/weights.h"
#ifdef __cplusplus
extern "C" {
#endif

enum pretrained_use {
	PRETRAINED_TO_READ,  // no gradients; numbers that can be used where they lie in the file are not copied
	PRETRAINED_TO_TRAIN, // all in one block of memory of its own, with gradients
};

struct pretrained {
	struct model model;
	const struct family *family;
	struct weights *weights; // with config.json and metadata
};

// Rotary pairs are always (i, i + n/2) in the model, whatever the file has. 0, or -1 with a message and nothing open.
int model_load(struct pretrained *p, const char *path, enum pretrained_use use, struct arena *arena, struct err *err);
void pretrained_close(struct pretrained *p);

// Writes the model into the folder, which must exist, as model.safetensors and config.json of its family: the numbers
// as they are, so that loading gives the same bits. Another variant, or an option that the family's files cannot say,
// stands in a section of our own there ("kvlab", own.c), and then only we can read it. 0, or -1 with a sentence.
int model_save(const struct model *model, const struct family *family, const char *folder, struct err *err);

// Whether two configs differ in an option that a model's function depends on.
int model_option_differs(const struct option *option, const struct model_config *a, const struct model_config *b);

#ifdef __cplusplus
}
#endif
#endif
