// SPDX-License-Identifier: MIT
#include "tests/text/made.h"

#include <ftw.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/test.h"

enum { PATH_ROOM = 600, PATHS = 8 };

char *made_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_ROOM];
	assert_true(snprintf(path, sizeof(path), "%s/kvlab_text.XXXXXX", tmp ? tmp : "/tmp") < PATH_ROOM);
	assert_non_null(mkdtemp(path));
	assert_int_equal(setenv("DATA", path, 1), 0);
	assert_int_equal(setenv("KVLAB_CACHE", made_path(path, "cache"), 1), 0);
	return strdup(path);
}

static int remove_one(const char *path, const struct stat *info UNUSED, int kind UNUSED, struct FTW *at UNUSED)
{
	return remove(path);
}

void made_remove(char *folder)
{
	assert_int_equal(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(folder);
}

const char *made_path(const char *folder, const char *name)
{
	static char paths[PATHS][PATH_ROOM];
	static int n;
	char *path = paths[n++ % PATHS];
	assert_true(snprintf(path, PATH_ROOM, "%s/%s", folder, name) < PATH_ROOM);
	return path;
}

static FILE *create(const char *folder, const char *name)
{
	char path[PATH_ROOM];
	assert_true(snprintf(path, sizeof(path), "%s/%s", folder, name) < PATH_ROOM);
	for (char *at = path + strlen(folder) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		mkdir(path, 0777);
		*at = '/';
	}
	FILE *out = fopen(path, "wb");
	assert_non_null(out);
	return out;
}

void made_file(const char *folder, const char *name, const void *bytes, size_t n)
{
	FILE *out = create(folder, name);
	if (n)
		assert_int_equal(fwrite(bytes, 1, n, out), n);
	assert_int_equal(fclose(out), 0);
}

void made_text_file(const char *folder, const char *name, const char *text)
{
	made_file(folder, name, text, strlen(text));
}

void made_gzip(const char *folder, const char *name, const void *bytes, size_t n)
{
	FILE *out = create(folder, name);
	gzFile packed = gzdopen(dup(fileno(out)), "wb");
	assert_non_null(packed);
	assert_int_equal(gzwrite(packed, bytes, (unsigned)n), n);
	assert_int_equal(gzclose(packed), Z_OK);
	assert_int_equal(fclose(out), 0);
}

void made_xz(const char *folder, const char *name, const void *bytes, size_t n)
{
	const size_t room = lzma_stream_buffer_bound(n);
	size_t n_packed = 0;
	unsigned char *packed = malloc(room);
	assert_int_equal(
	        lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, bytes, n, packed, &n_packed, room), LZMA_OK);
	made_file(folder, name, packed, n_packed);
	free(packed);
}
