// SPDX-License-Identifier: MIT
#include "tests/task/made_corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "harness/base/rng.h"
#include "tests/test.h"

static char folder[32];

void made_text(char *bytes, long n)
{
	struct rng rng = rng_make((uint64_t)n, RNG_CHECK, 0);
	for (long i = 0; i < n; i++)
		bytes[i] = rng_below(&rng, 6) ? (char)('a' + rng_below(&rng, 26)) : ' ';
}

const char *made_corpus(long n)
{
	char path[64], *text = malloc((size_t)n);
	made_text(text, n);
	snprintf(folder, sizeof(folder), "/tmp/kvlab_corpus_XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/tinyshakespeare", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/tinyshakespeare/input.txt", folder);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, (size_t)n, out), n);
	assert_int_equal(fclose(out), 0);
	snprintf(path, sizeof(path), "%s/gcide", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/gcide/gcide.dict.dz", folder);
	gzFile packed = gzopen(path, "wb");
	assert_non_null(packed);
	assert_int_equal(gzwrite(packed, text, (unsigned)n), n);
	assert_int_equal(gzclose(packed), Z_OK);
	free(text);
	assert_int_equal(setenv("DATA", folder, 1), 0);
	return folder;
}

void made_corpus_remove(void)
{
	static const char *const what[] = {
	        "tinyshakespeare/input.txt", "tinyshakespeare", "gcide/gcide.dict.dz", "gcide"};
	char path[64];
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, what[i]);
		remove(path);
	}
	rmdir(folder);
}
