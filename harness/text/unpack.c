// SPDX-License-Identifier: MIT
#include "harness/text/unpack.h"

#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

// A text of more, unpacked, is a mistake or an attack.
static const size_t bytes_most = (size_t)16 << 30;
static const uint64_t lzma_memory_most = 1 << 30;
enum { STEP = 1 << 20 };

void bytes_reserve(struct bytes_list *list, size_t n_more)
{
	if (list->n + n_more + 1 > list->room) {
		list->room = list->n + n_more + 1 + list->n / 2;
		list->bytes = realloc(list->bytes, list->room);
		if (!list->bytes)
			die_no_memory(list->room);
	}
	list->bytes[list->n] = '\0';
}

void bytes_append(struct bytes_list *list, const char *bytes, size_t n)
{
	bytes_reserve(list, n);
	if (n)
		memcpy(list->bytes + list->n, bytes, n);
	list->n += n;
	list->bytes[list->n] = '\0';
}

static int refuse_size(const char *path, struct err *err)
{
	return err_set(err, "%s: holds more than %zu GiB of text: cut it", path, bytes_most >> 30);
}

static int damaged(const char *path, const char *why, struct err *err)
{
	return err_set(err, "%s: the file is damaged: %s (install or copy it again)", path, why);
}

// gzip, or what is not packed: zlib passes that on.
static int read_gzip(struct bytes_list *list, gzFile in, const char *path, struct err *err)
{
	const size_t before = list->n;
	int got = 1, code;
	errno = 0;
	while (got > 0 && list->n - before <= bytes_most) {
		bytes_reserve(list, STEP);
		got = gzread(in, list->bytes + list->n, STEP);
		list->n += got > 0 ? (size_t)got : 0;
	}
	bytes_reserve(list, 0);
	const char *message = gzerror(in, &code);
	if (code == Z_ERRNO)
		return err_system(err, errno, "%s: cannot be read: %s", path, strerror(errno));
	if (got < 0 || code != Z_OK)
		return damaged(path, message, err);
	return got > 0 ? refuse_size(path, err) : 0;
}

static const char *lzma_message(lzma_ret code)
{
	return code == LZMA_BUF_ERROR        ? "it ends early"
	       : code == LZMA_MEMLIMIT_ERROR ? "unpacking it takes more than 1 GiB of memory"
	                                     : "not what xz writes";
}

static int read_xz(struct bytes_list *list, FILE *in, const char *path, struct err *err)
{
	const size_t before = list->n;
	unsigned char packed[1 << 14];
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret code = lzma_stream_decoder(&stream, lzma_memory_most, LZMA_CONCATENATED);
	if (code != LZMA_OK)
		die_no_memory(sizeof(packed));
	while (code == LZMA_OK && list->n - before <= bytes_most) {
		if (stream.avail_in == 0) {
			stream.next_in = packed;
			stream.avail_in = fread(packed, 1, sizeof(packed), in);
		}
		bytes_reserve(list, STEP);
		stream.next_out = (unsigned char *)list->bytes + list->n;
		stream.avail_out = STEP;
		code = lzma_code(&stream, feof(in) && !stream.avail_in ? LZMA_FINISH : LZMA_RUN);
		list->n += STEP - stream.avail_out;
	}
	bytes_reserve(list, 0);
	lzma_end(&stream);
	if (ferror(in))
		return err_system(err, errno, "%s: cannot be read: %s", path, strerror(errno));
	if (code == LZMA_OK)
		return refuse_size(path, err);
	return code == LZMA_STREAM_END ? 0 : damaged(path, lzma_message(code), err);
}

size_t file_begins(const char *path, void *first, size_t n)
{
	struct stat info;
	if (stat(path, &info) || !S_ISREG(info.st_mode))
		return 0;
	FILE *in = fopen(path, "rb");
	const size_t got = in ? fread(first, 1, n, in) : 0;
	if (in)
		fclose(in);
	return got;
}

static int is_xz(const char *path)
{
	static const char magic[] = "\xfd"
	                            "7zXZ";
	char first[sizeof(magic)];
	return file_begins(path, first, sizeof(first)) == sizeof(first) && memcmp(first, magic, sizeof(magic)) == 0;
}

int unpack_file(struct bytes_list *list, const char *path, struct err *err)
{
	const int is_standard = strcmp(path, "-") == 0;
	int rc;
	errno = 0;
	if (!is_standard && is_xz(path)) {
		FILE *in = fopen(path, "rb");
		if (!in)
			return err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
		rc = read_xz(list, in, path, err);
		fclose(in);
		return rc;
	}
	gzFile in = is_standard ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rb");
	if (!in)
		return err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno ? errno : ENOMEM));
	rc = read_gzip(list, in, is_standard ? "standard input" : path, err);
	gzclose_r(in);
	return rc;
}

const char *unpack_library(void)
{
	static char text[64];
	snprintf(text, sizeof(text), "zlib %s, liblzma %s", zlibVersion(), lzma_version_string());
	return text;
}
