// SPDX-License-Identifier: MIT
#include "harness/text/corpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "harness/base/hash.h"

static const struct place {
	const char *name;
	const char *under_data; // path below the folder DATA
	const char *installed;  // path of the Debian package's file, or NULL
	const char *remedy;
} places[N_CORPUS] = {
        [CORPUS_GCIDE] = {"gcide", "gcide/gcide.dict.dz", "/usr/share/dictd/gcide.dict.dz",
                "apt-get install dict-gcide, or set DATA to a folder with gcide/gcide.dict.dz"},
        [CORPUS_TINYSHAKESPEARE] = {"tinyshakespeare", "tinyshakespeare/input.txt", NULL,
                "set DATA to a folder with tinyshakespeare/input.txt"},
};

// Reads a file, compressed (gzip, dictzip) or not. NULL when it is not there, or with a message when it is unreadable.
static unsigned char *read_file(const char *path, long *n, struct err *err)
{
	enum { STEP = 1 << 20 };
	unsigned char *bytes = NULL;
	int got = 1;
	errno = 0;
	gzFile in = gzopen(path, "rb");
	if (!in) {
		if (errno != ENOENT && errno != ENOTDIR)
			err_system(err, errno, "%s: cannot read the corpus: %s", path, strerror(errno));
		return NULL;
	}
	for (*n = 0; got > 0; *n += got) {
		bytes = realloc(bytes, (size_t)*n + STEP);
		if (!bytes)
			die_no_memory((unsigned long long)*n + STEP);
		got = gzread(in, bytes + *n, STEP);
		if (got < 0)
			break;
	}
	int code;
	const char *message = gzerror(in, &code);
	if (got < 0 || code != Z_OK)
		err_set(err, "%s: the corpus is damaged: %s (install or copy it again)", path, message);
	gzclose_r(in);
	return bytes;
}

static double share_of_most_common(const unsigned char *bytes, long n)
{
	long count[256] = {0}, most = 0;
	for (long i = 0; i < n; i++)
		count[bytes[i]]++;
	for (int b = 0; b < 256; b++)
		most = count[b] > most ? count[b] : most;
	return n ? (double)most / (double)n : 0;
}

int corpus_load(const struct corpus **corpus, enum corpus_id id, struct err *err)
{
	static struct corpus loaded[N_CORPUS];
	struct corpus *c = &loaded[id];
	const struct place *place = &places[id];
	*corpus = c;
	if (c->bytes)
		return 0;
	char path[4096];
	const char *data = getenv("DATA");
	unsigned char *bytes = NULL;
	if (data && *data) {
		snprintf(path, sizeof(path), "%s/%s", data, place->under_data);
		bytes = read_file(path, &c->n, err);
	}
	if (!bytes && !err->is_set && place->installed)
		bytes = read_file(place->installed, &c->n, err);
	if (err->is_set) {
		free(bytes);
		return -1;
	}
	if (!bytes)
		return err_set(err, "corpus '%s' is not on this machine (%s)", place->name, place->remedy);
	c->name = place->name;
	c->hash = hash_u64(bytes, (size_t)c->n);
	c->most_common = share_of_most_common(bytes, c->n);
	c->bytes = bytes;
	return 0;
}
