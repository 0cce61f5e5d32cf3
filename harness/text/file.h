// SPDX-License-Identifier: MIT
// Whole files in memory.
#ifndef KVLAB_TEXT_FILE_H
#define KVLAB_TEXT_FILE_H
#include <stddef.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { FILE_BYTES_MOST = 1 << 30 };

// Reads a file, pipe or ("-") standard input, of at most FILE_BYTES_MOST bytes; a zero byte is put behind it. The
// caller frees *text. 0, or -1 with `path: what`.
int file_read(char **text, size_t *n, const char *path, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
