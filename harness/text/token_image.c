// SPDX-License-Identifier: MIT
#include "harness/text/token_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/folders.h"

struct header {
	char magic[8];
	uint32_t version;
	int32_t width, n_vocab, end;
	double most_common;
	uint64_t n[N_TOKEN_PART], n_document[N_TOKEN_PART];
	char key[HASH_TEXT + 7];
	uint64_t hash; // of the rest of the block
};
static const char magic[8] = "kvltoken";
enum { PATH_ROOM = CACHE_PATH };

static int width_for(int n_vocab)
{
	return n_vocab <= 1 << 8 ? 1 : n_vocab <= 1 << 16 ? 2 : 4;
}

static uint64_t hash_of(const char *block, size_t bytes)
{
	const uint64_t both[] = {hash_u64(block, offsetof(struct header, hash)),
	        hash_u64(block + sizeof(struct header), bytes - sizeof(struct header))};
	return hash_u64(both, sizeof(both));
}

// Where the header says that things are. Returns the bytes of the block.
static size_t lay_out(struct token_part part[N_TOKEN_PART], const struct header *header, const char *block)
{
	size_t at = sizeof(*header);
	for (int p = 0; p < N_TOKEN_PART; p++) {
		part[p].n = header->n[p];
		part[p].n_document = header->n_document[p];
		part[p].document = (const struct document *)(block + at);
		at += part[p].n_document * sizeof(struct document);
	}
	for (int p = 0; p < N_TOKEN_PART; p++) {
		part[p].id = block + at;
		at += (part[p].n * (size_t)header->width + 7) / 8 * 8;
	}
	return at;
}

static int is_inside(const struct document *document, const struct token_range *range)
{
	return document->from >= range->from && document->to <= range->to;
}

static int32_t id_at(const void *id, int width, size_t i)
{
	return width == 1 ? ((const unsigned char *)id)[i]
	                  : (width == 2 ? ((const uint16_t *)id)[i] : ((const int32_t *)id)[i]);
}

static void put_ids(void *to, int width, const struct token_range *range, long *count)
{
	const size_t n = range->to - range->from;
	for (size_t i = 0; i < n; i++) {
		const int32_t id = id_at(range->id, range->width, range->from + i);
		count[id]++;
		if (width == 1)
			((unsigned char *)to)[i] = (unsigned char)id;
		else if (width == 2)
			((uint16_t *)to)[i] = (uint16_t)id;
		else
			((int32_t *)to)[i] = id;
	}
}

static void fill(struct tokens *tokens, const struct token_range range[N_TOKEN_PART])
{
	long *count = calloc((size_t)tokens->n_vocab, sizeof(*count)), most = 0, n = 0;
	if (!count)
		die_no_memory((size_t)tokens->n_vocab * sizeof(*count));
	for (int p = 0; p < N_TOKEN_PART; p++) {
		struct document *to = (struct document *)tokens->part[p].document;
		for (size_t d = 0; d < range[p].n_document; d++)
			if (is_inside(&range[p].document[d], &range[p]))
				*to++ = (struct document){range[p].document[d].from - range[p].from,
				        range[p].document[d].to - range[p].from};
		put_ids((void *)tokens->part[p].id, tokens->width, &range[p], count);
		n += (long)tokens->part[p].n;
	}
	for (int i = 0; i < tokens->n_vocab; i++)
		most = count[i] > most ? count[i] : most;
	tokens->most_common = n ? (double)most / (double)n : 0;
	free(count);
}

void token_image_make(struct tokens *tokens, const struct token_range range[N_TOKEN_PART])
{
	struct header header = {.version = TOKEN_IMAGE_VERSION,
	        .width = width_for(tokens->n_vocab),
	        .n_vocab = tokens->n_vocab,
	        .end = tokens->end};
	memcpy(header.magic, magic, sizeof(magic));
	for (int p = 0; p < N_TOKEN_PART; p++) {
		header.n[p] = range[p].to - range[p].from;
		for (size_t d = 0; d < range[p].n_document; d++)
			header.n_document[p] += is_inside(&range[p].document[d], &range[p]);
	}
	tokens->block_bytes = lay_out(tokens->part, &header, NULL);
	tokens->block = calloc(1, tokens->block_bytes);
	if (!tokens->block)
		die_no_memory(tokens->block_bytes);
	lay_out(tokens->part, &header, tokens->block);
	tokens->width = header.width;
	fill(tokens, range);
	header.most_common = tokens->most_common;
	memcpy(tokens->block, &header, sizeof(header));
}

// --- the cache -----------------------------------------------------------------------------------------------------

// Folder and, below it, file; 0 where there is no place for a cache.
static int cache_path(char path[PATH_ROOM], const char *file)
{
	static const struct {
		const char *variable, *below;
	} places[] = {{"KVLAB_CACHE", ""}, {"XDG_CACHE_HOME", "/kvlab"}, {"HOME", "/.cache/kvlab"}};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const char *folder = getenv(places[i].variable);
		if (folder && *folder)
			return snprintf(path, PATH_ROOM, "%s%s/tokens/%s", folder, places[i].below, file) < PATH_ROOM;
	}
	return 0;
}

const char *token_image_folder(char out[CACHE_PATH])
{
	return cache_path(out, "") ? out : NULL;
}

static int is_whole(const char *block, size_t bytes, const char key[HASH_TEXT])
{
	struct header header;
	struct token_part part[N_TOKEN_PART];
	if (bytes < sizeof(header))
		return 0;
	memcpy(&header, block, sizeof(header));
	if (memcmp(header.magic, magic, sizeof(magic)) || header.version != TOKEN_IMAGE_VERSION ||
	        memcmp(header.key, key, HASH_TEXT))
		return 0;
	// The hash vouches for the numbers of the header only where they are a file's that is as long as they say.
	for (int p = 0; p < N_TOKEN_PART; p++)
		if (header.n[p] > bytes || header.n_document[p] > bytes / sizeof(struct document))
			return 0;
	return header.hash == hash_of(block, bytes) && lay_out(part, &header, NULL) == bytes;
}

static void *map_cached(size_t *bytes, const char *path)
{
	struct stat info;
	void *map = MAP_FAILED;
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
		*bytes = (size_t)info.st_size;
		map = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	close(fd);
	return map == MAP_FAILED ? NULL : map;
}

int token_image_read(struct tokens *tokens, const char key[HASH_TEXT])
{
	char path[PATH_ROOM];
	size_t bytes;
	void *map = cache_path(path, key) ? map_cached(&bytes, path) : NULL;
	if (!map)
		return 0;
	if (!is_whole(map, bytes, key)) {
		munmap(map, bytes);
		return 0;
	}
	const struct header *header = map;
	tokens->block = map;
	tokens->block_bytes = bytes;
	tokens->is_mapped = 1;
	tokens->width = header->width;
	tokens->n_vocab = header->n_vocab;
	tokens->end = header->end;
	tokens->most_common = header->most_common;
	lay_out(tokens->part, header, map);
	return 1;
}

static int write_all(int fd, const char *bytes, size_t n)
{
	while (n) {
		const ssize_t done = write(fd, bytes, n);
		if (done < 0 && errno != EINTR)
			return -1;
		bytes += done > 0 ? done : 0;
		n -= done > 0 ? (size_t)done : 0;
	}
	return 0;
}

void token_image_write(const struct tokens *tokens, const char key[HASH_TEXT])
{
	char path[PATH_ROOM], beside[PATH_ROOM], failed[FOLDERS_TEXT];
	struct header *header = tokens->block;
	memcpy(header->key, key, HASH_TEXT);
	header->hash = hash_of(tokens->block, tokens->block_bytes);
	if (!cache_path(path, key) || !cache_path(beside, ".new-XXXXXX") || folders_make_for(path, failed))
		return;
	const int fd = mkstemp(beside);
	if (fd < 0)
		return;
	int rc = write_all(fd, tokens->block, tokens->block_bytes) || fchmod(fd, 0644);
	rc = close(fd) || rc || rename(beside, path);
	if (rc)
		unlink(beside);
}
