// SPDX-License-Identifier: MIT
// Content hashes (XXH3): 128 bits as 32 hex digits for keys of points, names of checkpoints, identity of builds; 64
// bits where a number is wanted.
#ifndef KVLAB_BASE_HASH_H
#define KVLAB_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { HASH_TEXT = 33 }; // 32 digits and the terminator

void hash_hex(char out[HASH_TEXT], const void *data, size_t bytes);
// 64 bits of the same family.
uint64_t hash_u64(const void *data, size_t bytes);

// "xxHash 0.8.1".
const char *hash_library(void);

#ifdef __cplusplus
}
#endif
#endif
