// SPDX-License-Identifier: MIT
#include "harness/base/hash.h"

#include <stdio.h>
#include <xxhash.h>

void hash_hex(char out[HASH_TEXT], const void *data, size_t bytes)
{
	XXH128_hash_t h = XXH3_128bits(data, bytes);
	snprintf(out, HASH_TEXT, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

uint64_t hash_u64(const void *data, size_t bytes)
{
	return XXH3_64bits(data, bytes);
}

const char *hash_library(void)
{
	static char text[32];
	const unsigned version = XXH_versionNumber();
	snprintf(text, sizeof(text), "xxHash %u.%u.%u", version / 10000, version / 100 % 100, version % 100);
	return text;
}
