// SPDX-License-Identifier: MIT
// Small writers of our own for files of weights, whole and broken, and what to expect of opening them.
#ifndef KVLAB_TESTS_WEIGHTS_FILES_H
#define KVLAB_TESTS_WEIGHTS_FILES_H
#include <stdarg.h>
#include <stddef.h>

#include "harness/weights/weights.h"

// The folder of committed files.
#define FIXTURES "tests/fixtures/weights/"

struct bytes {
	unsigned char *data;
	size_t n, size;
};
void bytes_add(struct bytes *b, const void *data, size_t n);
// Numbers little-endian. Letters: G "GGUF"; B, I, Q a number of 1, 4, 8 bytes (int, int, long long); S a text after its
// length in 8 bytes; T a text alone; Z that many zeros (int); A zeros up to a multiple of that (int); F a float
// (double); L a safetensors header: its length in 8 bytes and the text.
void bytes_pack(struct bytes *b, const char *format, va_list args);
struct bytes pack(const char *format, ...);
// The whole file; fails the test where it cannot be read.
struct bytes bytes_of_file(const char *path);

// A folder of the test's own, removed by folder_remove() with all that is in it.
char *folder_make(void);
void folder_remove(char *folder);
void file_write(const char *path, const struct bytes *b);

// Opening the path is refused as the user's mistake, with the message that begins with the path, ": " and goes on so.
// A first letter '/' in the message: the whole message after the folder that the path lies in.
void expect_refused(const char *path, const char *message);
// The file is opened as it is, and no proper beginning of it is. (Of nothing at all no reader is asked.)
void expect_whole_only(const char *path, const struct bytes *b);

#endif
