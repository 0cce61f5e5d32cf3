// SPDX-License-Identifier: MIT
// Layout: magic, hash of all that follows (hex), identity length and text, metric count and records, block count, and
// per block its size and bytes. Native byte order: a checkpoint is resumed on the machine type that wrote it.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/hash.h"
#include "harness/num/backend.h"
#include "harness/run/run.h"

static const char MAGIC[8] = "kvlabck2";

struct stored_metric {
	char name[48], split[80];
	int64_t step;
	double value;
};

// A growing buffer to write from, or a bounded one to read from.
struct buffer {
	unsigned char *data;
	size_t size, at;
};

static void put(struct buffer *b, const void *data, size_t bytes)
{
	if (b->at + bytes > b->size) {
		b->size = 2 * (b->at + bytes);
		b->data = realloc(b->data, b->size);
		if (!b->data)
			die_no_memory(b->size);
	}
	memcpy(b->data + b->at, data, bytes);
	b->at += bytes;
}

static int take(struct buffer *b, void *data, size_t bytes)
{
	if (bytes > b->size - b->at)
		return -1;
	memcpy(data, b->data + b->at, bytes);
	b->at += bytes;
	return 0;
}

// Copies need no scratch.
static const struct exec copying = {1, NULL};

static void put_block(struct buffer *b, const struct checkpoint_block *block)
{
	if (!block->home) {
		put(b, block->data, block->bytes);
		return;
	}
	unsigned char *here = malloc(block->bytes + 1);
	if (!here)
		die_no_memory(block->bytes);
	block->home->download(&copying, here, block->data, block->bytes);
	put(b, here, block->bytes);
	free(here);
}

static void take_block(struct buffer *b, const struct checkpoint_block *block)
{
	if (!block->home) {
		take(b, block->data, block->bytes);
		return;
	}
	block->home->upload(&copying, block->data, b->data + b->at, block->bytes);
	b->at += block->bytes;
}

static int write_all(int fd, const void *data, size_t bytes)
{
	for (const char *p = data; bytes;) {
		ssize_t n = write(fd, p, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static void beside_path(char *out, size_t size, const char *path)
{
	snprintf(out, size, "%s.tmp", path);
}

static int write_file(const char *path, const struct buffer *body, struct err *err)
{
	char beside[4096], hash[HASH_TEXT];
	// One name for all attempts: what a killed one has left is overwritten, and removed with the rest in the end.
	beside_path(beside, sizeof(beside), path);
	hash_hex(hash, body->data, body->at);
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int failed = fd < 0 || write_all(fd, MAGIC, sizeof(MAGIC)) || write_all(fd, hash, sizeof(hash)) ||
	             write_all(fd, body->data, body->at) || fsync(fd);
	const int error = errno;
	if (fd >= 0)
		close(fd);
	if (failed) {
		unlink(beside);
		return err_system(err, error,
		        "%s: cannot write the checkpoint: %s (finished points are kept; run the same command again)",
		        path, strerror(error));
	}
	if (rename(beside, path))
		return err_system(err, errno, "%s: cannot put the checkpoint in place: %s", path, strerror(errno));
	return 0;
}

int checkpoint_write(const char *path, const char *identity, const struct run_log *log,
        const struct checkpoint_block *block, int n_block, struct err *err)
{
	struct buffer body = {NULL, 0, 0};
	uint64_t length = strlen(identity), n_metric = (uint64_t)log->n_metric, n = (uint64_t)n_block;
	put(&body, &length, sizeof(length));
	put(&body, identity, length);
	put(&body, &n_metric, sizeof(n_metric));
	for (long i = 0; i < log->n_metric; i++) {
		struct stored_metric m = {.step = log->metric[i].step, .value = log->metric[i].value};
		snprintf(m.name, sizeof(m.name), "%s", log->metric[i].name);
		snprintf(m.split, sizeof(m.split), "%s", log->metric[i].split);
		put(&body, &m, sizeof(m));
	}
	put(&body, &n, sizeof(n));
	for (int i = 0; i < n_block; i++) {
		uint64_t bytes = block[i].bytes;
		put(&body, &bytes, sizeof(bytes));
		put_block(&body, &block[i]);
	}
	int status = write_file(path, &body, err);
	free(body.data);
	return status;
}

void checkpoint_remove(const char *path)
{
	char beside[4096];
	beside_path(beside, sizeof(beside), path);
	unlink(path);
	unlink(beside);
}

static int read_body(
        struct buffer *b, const char *identity, struct run_log *log, const struct checkpoint_block *block, int n_block)
{
	uint64_t length, n_metric, n;
	char text[256] = "";
	if (take(b, &length, sizeof(length)) || length >= sizeof(text) || take(b, text, length) ||
	        strcmp(text, identity))
		return -1;
	if (take(b, &n_metric, sizeof(n_metric)) || n_metric > (b->size - b->at) / sizeof(struct stored_metric))
		return -1;
	struct buffer metrics = *b;
	b->at += n_metric * sizeof(struct stored_metric);
	if (take(b, &n, sizeof(n)) || n != (uint64_t)n_block)
		return -1;
	// All sizes before the first byte is copied: a file that does not fit must leave the run as it was.
	struct buffer blocks = *b;
	for (int i = 0; i < n_block; i++) {
		uint64_t bytes;
		if (take(b, &bytes, sizeof(bytes)) || bytes != block[i].bytes || bytes > b->size - b->at)
			return -1;
		b->at += bytes;
	}
	for (int i = 0; i < n_block; i++) {
		blocks.at += sizeof(uint64_t);
		take_block(&blocks, &block[i]);
	}
	log->n_metric = 0;
	for (uint64_t i = 0; i < n_metric; i++) {
		struct stored_metric m;
		if (take(&metrics, &m, sizeof(m)))
			return -1;
		m.name[sizeof(m.name) - 1] = m.split[sizeof(m.split) - 1] = '\0';
		run_log_metric(log, run_log_intern(m.name), run_log_intern(m.split), (long)m.step, m.value);
	}
	return 0;
}

int checkpoint_read(const char *path, const char *identity, struct run_log *log, const struct checkpoint_block *block,
        int n_block, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	struct stat info;
	if (fd < 0 || fstat(fd, &info)) {
		err_system(err, errno, "%s: cannot read the checkpoint: %s (make it readable or remove it)", path,
		        strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	size_t bytes = (size_t)info.st_size, got = 0;
	unsigned char *file = malloc(bytes + 1);
	if (!file)
		die_no_memory(bytes);
	for (ssize_t n; got < bytes && (n = read(fd, file + got, bytes - got)) > 0;)
		got += (size_t)n;
	close(fd);
	const size_t head = sizeof(MAGIC) + HASH_TEXT;
	char hash[HASH_TEXT] = "";
	if (got == bytes && bytes > head)
		hash_hex(hash, file + head, bytes - head);
	struct buffer body = {file + head, bytes > head ? bytes - head : 0, 0};
	int good = hash[0] && !memcmp(file, MAGIC, sizeof(MAGIC)) && !memcmp(file + sizeof(MAGIC), hash, HASH_TEXT) &&
	           !read_body(&body, identity, log, block, n_block);
	free(file);
	return good;
}
