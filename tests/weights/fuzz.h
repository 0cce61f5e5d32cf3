// SPDX-License-Identifier: MIT
// Fuzzing the readers of foreign files: what one input is put through, and how inputs are made from the corpus
// (tests/fixtures/weights/corpus). Any driver can call fuzz_input(): tests/weights/test_fuzz.c is ours.
#ifndef KVLAB_TESTS_WEIGHTS_FUZZ_H
#define KVLAB_TESTS_WEIGHTS_FUZZ_H
#include "harness/base/rng.h"
#include "harness/weights/internal.h"
#include "tests/weights/files.h"

enum fuzz_shape { SHAPE_TEXT, SHAPE_HEADER, SHAPE_GGUF, SHAPE_INTS };

struct fuzz_target {
	const char *name;      // its folder in the corpus
	const char *path;      // what messages call the input; an index's shards lie in its folder
	enum fuzz_shape shape; // what structure mutations know of
	// Reads the input into the set; NULL: a JSON object.
	int (*read)(struct weights_set *set, const struct weights_map *map, struct err *err);
};
enum { N_FUZZ_TARGET = 5 };
extern const struct fuzz_target fuzz_targets[N_FUZZ_TARGET];

// Reads the input, uses everything that was accepted, and aborts where a promise is broken: a message that is not one
// clear sentence, memory out of proportion, a tensor outside the file, numbers that do not come back after saving.
// Returns 1 when it was accepted. data: of its own malloc, so that a sanitizer sees each byte read beyond it. scratch:
// a path that may be written to, or NULL.
int fuzz_input(const struct fuzz_target *target, const unsigned char *data, size_t n, const char *scratch);

// Changes the input in one to eight places; others: the corpus to take parts from.
void fuzz_mutate(struct bytes *b, enum fuzz_shape shape, const struct bytes *others, int n_other, struct rng *rng);

#endif
