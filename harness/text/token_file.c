// SPDX-License-Identifier: MIT
#include "harness/text/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/text/unpack.h"
#include "harness/text/vocabulary.h"

enum { HEADER_INTS = 256, HEADER_BYTES = 4 * HEADER_INTS };

static const struct format {
	int32_t magic, version;
	int width, end;
} formats[] = {
        {20240520, 1, 2, 50256},
        {20240801, 7, 4, 128000},
};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

static const struct format *format_of(int32_t magic)
{
	for (int i = 0; i < FORMATS; i++)
		if (formats[i].magic == magic)
			return &formats[i];
	return NULL;
}

int token_file_is(const char *path)
{
	int32_t magic;
	return file_begins(path, &magic, sizeof(magic)) == sizeof(magic) && format_of(magic);
}

static int check_ids(struct token_file *file, const char *path, struct err *err)
{
	uint32_t most = 0;
	for (size_t i = 0; i < file->n; i++) {
		const uint32_t id = (uint32_t)token_file_id(file, i);
		most = id > most ? id : most;
	}
	file->id_most = (int)most;
	return most < VOCABULARY_MOST ? 0 : token_file_check(file, path, VOCABULARY_MOST, err);
}

int token_file_parse(struct token_file *file, const char *path, const void *data, size_t bytes, struct err *err)
{
	const int32_t *header = data;
	if (bytes < HEADER_BYTES)
		return err_set(err, "%s: %zu bytes are too few for the header of a token file", path, bytes);
	const struct format *format = format_of(header[0]);
	if (!format)
		return err_set(err, "%s: is no token file of llm.c (its magic number is %d)", path, header[0]);
	if (header[1] != format->version)
		return err_set(err, "%s: is a token file of version %d, and version %d can be read", path, header[1],
		        format->version);
	if (header[2] < 0 || (bytes - HEADER_BYTES) % (size_t)format->width ||
	        (bytes - HEADER_BYTES) / (size_t)format->width != (size_t)header[2])
		return err_set(err, "%s: says that it holds %d tokens of %d bytes, but %zu bytes follow its header",
		        path, header[2], format->width, bytes - HEADER_BYTES);
	if (header[2] == 0)
		return err_set(err, "%s: holds no token", path);
	*file = (struct token_file){
	        .id = header + HEADER_INTS, .n = (size_t)header[2], .width = format->width, .end = format->end};
	return check_ids(file, path, err);
}

int token_file_check(const struct token_file *file, const char *path, int n_vocab, struct err *err)
{
	for (size_t i = 0; i < file->n; i++) {
		const uint32_t id = (uint32_t)token_file_id(file, i);
		if (id >= (uint32_t)n_vocab)
			return err_set(err,
			        "%s: token %zu is %u, and ids must be below %d (made by another tokenizer?)", path, i,
			        id, n_vocab);
	}
	return 0;
}

static int map_file(void **map, size_t *bytes, int fd, const char *path, struct err *err)
{
	struct stat info;
	if (fstat(fd, &info))
		return err_system(err, errno, "%s: cannot be read: %s", path, strerror(errno));
	*bytes = S_ISREG(info.st_mode) ? (size_t)info.st_size : 0;
	if (*bytes < HEADER_BYTES)
		return err_set(err, "%s: %zu bytes are too few for the header of a token file", path, *bytes);
	*map = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	if (*map == MAP_FAILED)
		return err_system(err, errno, "%s: cannot be mapped: %s", path, strerror(errno));
	return 0;
}

int token_file_open(struct token_file *file, const char *path, struct err *err)
{
	void *map = NULL;
	size_t bytes = 0;
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
	const int rc = map_file(&map, &bytes, fd, path, err);
	close(fd);
	if (rc)
		return -1;
	if (token_file_parse(file, path, map, bytes, err)) {
		munmap(map, bytes);
		return -1;
	}
	file->map = map;
	file->bytes = bytes;
	return 0;
}

void token_file_close(struct token_file *file)
{
	if (file->map)
		munmap(file->map, file->bytes);
	*file = (struct token_file){0};
}
