// SPDX-License-Identifier: MIT
#include "tests/task/made_corpus.h"

#include <stdlib.h>

#include "harness/base/rng.h"
#include "tests/text/made.h"

static char *folder;

void made_text(char *bytes, long n)
{
	struct rng rng = rng_make((uint64_t)n, RNG_CHECK, 0);
	for (long i = 0; i < n; i++)
		bytes[i] = rng_below(&rng, 6) ? (char)('a' + rng_below(&rng, 26)) : ' ';
}

const char *made_corpus(long n)
{
	char *text = malloc((size_t)n);
	made_text(text, n);
	folder = made_folder();
	made_file(folder, "tinyshakespeare/input.txt", text, (size_t)n);
	made_gzip(folder, "gcide/gcide.dict.dz", text, (size_t)n);
	free(text);
	return folder;
}

void made_corpus_remove(void)
{
	made_remove(folder);
}
