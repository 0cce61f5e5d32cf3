// SPDX-License-Identifier: MIT
// 128-bit content hash (XXH3) as 32 hex digits: keys of points, names of checkpoints, identity of builds.
#ifndef KVLAB_BASE_HASH_H
#define KVLAB_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { HASH_TEXT = 33 }; // 32 digits and the terminator

void hash_hex(char out[HASH_TEXT], const void *data, size_t bytes);
// 64 bits of the same family, for tables in memory: never stored.
uint64_t hash_u64(const void *data, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
