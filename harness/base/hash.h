// SPDX-License-Identifier: MIT
// 128-bit content hash (XXH3) as 32 hex digits: keys of points, names of checkpoints, identity of builds.
#ifndef KVLAB_BASE_HASH_H
#define KVLAB_BASE_HASH_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { HASH_TEXT = 33 }; // 32 digits and the terminator

void hash_hex(char out[HASH_TEXT], const void *data, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
