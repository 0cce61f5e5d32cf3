// SPDX-License-Identifier: MIT
// Weights of a model from a file or folder: named tensors, read-only, in place in the mapped file.
//
//     struct weights *weights;
//     if (weights_open(&weights, "models/gpt2", err))           // everything is checked here, before anything is used
//             return -1;
//     const struct weights_tensor *t = weights_expect(weights, "wte.weight", 2, (long[]){50257, 768}, err);
//     if (!t)
//             return -1;                                        // names file, tensor, found and wanted shape
//     const real *table = weights_in_place(t);                  // no copy, where the file holds this very type
//     weights_read(t, 0, t->rows, copy);                        // any readable type, some or all rows
//     weights_close(weights);                                   // and with it every tensor, value and text
//
// Formats: safetensors (one file, or an index of shards), GGUF version 2 and 3, llama2.c .bin (legacy and version 1).
// A folder holds model.safetensors, or model.safetensors.index.json with its shards, or one .gguf, or one .bin; its
// config.json is read where there is one. A path of a file means that file, with the config.json beside a safetensors
// file or index.
//
// Files are foreign data: lengths, offsets, shapes, overlaps, holes, names and counts are checked against each other
// and against the size that the file had when it was opened, and a mistake is one message that names file and place
// (exit status 2). Not covered: a file that is made shorter or written to while it is open. Pages beyond its new end
// kill the program with SIGBUS, as with every mapped file, and changed bytes are read as they are: replace files of
// weights by rename (weights_save does), never in place.
#ifndef KVLAB_WEIGHTS_WEIGHTS_H
#define KVLAB_WEIGHTS_WEIGHTS_H
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/num/real.h"
#include "harness/weights/value.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { WEIGHTS_DIMS = 8, WEIGHTS_NAME = 255 }; // most dimensions; longest name in bytes

// How numbers are kept. Rows of a table: types are compared by pointer.
struct weights_type {
	const char *name;   // "F32", "Q4_0": the formats' own name
	int block;          // numbers that are kept together
	int block_bytes;    // what such a block takes
	int in_safetensors; // safetensors has it
	int ggml;           // its number in GGUF, -1: GGUF has it not
	// n numbers, a multiple of block, from anywhere in memory; NULL: its numbers cannot be read (integers, other
	// quantisations), the tensor is only listed.
	void (*read)(real *out, const void *blocks, size_t n);
};

struct weights_tensor {
	const char *name; // UTF-8 without control characters
	const struct weights_type *type;
	int n_dim;
	long dim[WEIGHTS_DIMS]; // the last one runs fastest (GGUF's order turned round)
	long rows, columns;     // columns: the last dimension; rows: the product of the others. A vector is one row
	const void *data;       // rows * columns / block * block_bytes bytes; not aligned if the file did not
	size_t bytes;
	const char *path; // the file it lies in
};

struct weights {
	const char *path;   // as given
	const char *format; // "safetensors", "gguf", "llama2c"
	long n_tensor;
	const struct weights_tensor *tensor; // in the file's order
	const struct value *config;          // config.json, an object; NULL: there is none
	const struct value *metadata;        // the file's own, an object; empty where it has none
};

// 0, or -1 with a message. On success the caller closes it.
int weights_open(struct weights **weights, const char *path, struct err *err);
// NULL is allowed.
void weights_close(struct weights *weights);

// The tensor of that name, or NULL.
const struct weights_tensor *weights_find(const struct weights *weights, const char *name);
// The same, of that shape and with numbers that can be read; otherwise NULL with a message.
const struct weights_tensor *weights_expect(
        const struct weights *weights, const char *name, int n_dim, const long *dim, struct err *err);

// Rows row to row + n_row - 1 as numbers, n_row * columns of them. The type must be readable.
void weights_read(const struct weights_tensor *tensor, long row, long n_row, real *out);
// The same as bf16, rounded to nearest, ties to even; NaN stays NaN. A bf16 tensor is copied as it is.
void weights_read_bf16(const struct weights_tensor *tensor, long row, long n_row, uint16_t *out);
// The numbers where they lie, or NULL: of another type than `real`, or not aligned for it.
const real *weights_in_place(const struct weights_tensor *tensor);

// The type of that name, or NULL.
const struct weights_type *weights_type(const char *name);
// "(512, 64)", "()" of a single number.
enum { WEIGHTS_SHAPE_TEXT = 24 * WEIGHTS_DIMS };
char *weights_shape(char text[WEIGHTS_SHAPE_TEXT], int n_dim, const long *dim);

// A tensor to be saved: fills rows, columns and bytes from the shape. data, contiguous, and name stay the caller's.
struct weights_tensor weights_describe(
        const char *name, const struct weights_type *type, int n_dim, const long *dim, const void *data);
struct weights_note {
	const char *key, *text; // UTF-8
};
// Writes a safetensors file: tensors by width of their type, then by name, each aligned to its type, data from a
// multiple of 64 on; the same tensors and notes give the same bytes, in whatever order they come. It appears whole
// under its name or not at all: written beside it, synced, renamed. Each tensor's type must be one of safetensors'.
int weights_save(const char *path, const struct weights_tensor *tensor, long n_tensor, const struct weights_note *note,
        int n_note, struct err *err);
// The same way a small text beside it (config.json).
int weights_save_text(const char *path, const char *text, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
