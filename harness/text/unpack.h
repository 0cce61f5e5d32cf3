// SPDX-License-Identifier: MIT
// Whole texts in memory, from files as they are or packed by gzip (dictzip) or xz: told apart by their first bytes.
#ifndef KVLAB_TEXT_UNPACK_H
#define KVLAB_TEXT_UNPACK_H
#include <stddef.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

// Bytes that grow at the end. Start from {0}; free(bytes) at the end.
struct bytes_list {
	char *bytes;
	size_t n, room;
};
// Room for n_more bytes and a zero byte behind them, which is put behind the present ones.
void bytes_reserve(struct bytes_list *list, size_t n_more);
void bytes_append(struct bytes_list *list, const char *bytes, size_t n);

// Appends what the file ("-": standard input) holds, unpacked. 0, or -1 with a message that names it.
int unpack_file(struct bytes_list *list, const char *path, struct err *err);

// The first n bytes, or as many as there are; none of what is no regular file: a pipe gives its bytes only once.
size_t file_begins(const char *path, void *first, size_t n);

// "zlib 1.2.13, liblzma 5.4.1".
const char *unpack_library(void);

#ifdef __cplusplus
}
#endif
#endif
