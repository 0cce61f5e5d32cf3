// SPDX-License-Identifier: MIT
// A corpus of our own making under a temporary DATA folder: no text of others is part of this repository.
#ifndef KVLAB_TESTS_TASK_MADE_CORPUS_H
#define KVLAB_TESTS_TASK_MADE_CORPUS_H
#ifdef __cplusplus
extern "C" {
#endif

// n bytes of random lower-case words; the same for the same n.
void made_text(char *bytes, long n);
// Makes a folder with tinyshakespeare/input.txt (n bytes as they are) and gcide/gcide.dict.dz (the same, compressed),
// and sets DATA to it and KVLAB_CACHE to a folder in it. Returns its path.
const char *made_corpus(long n);
// Removes it.
void made_corpus_remove(void);

#ifdef __cplusplus
}
#endif
#endif
