// SPDX-License-Identifier: MIT
// Real texts by name, as bytes. None is part of this repository: each is looked for in the folder named by the
// environment variable DATA, then where its Debian package puts it.
#ifndef KVLAB_TEXT_CORPUS_H
#define KVLAB_TEXT_CORPUS_H
#include <stdint.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

enum corpus_id { CORPUS_GCIDE, CORPUS_TINYSHAKESPEARE, N_CORPUS };
#define CORPUS_CHOICES "gcide|tinyshakespeare"

struct corpus {
	const char *name;
	const unsigned char *bytes;
	long n;
	uint64_t hash;      // of the bytes: rows can be traced to their text
	double most_common; // share of the most common byte: accuracy of guessing
};

// Loads it once per process; the memory lives as long as that (workers forked later share it). 0, or -1 with the
// sentence where it was looked for and how to get it.
int corpus_load(const struct corpus **corpus, enum corpus_id id, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
