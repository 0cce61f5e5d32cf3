// SPDX-License-Identifier: MIT
#include "tests/weights/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

void bytes_add(struct bytes *b, const void *data, size_t n)
{
	if (b->n + n > b->size) {
		b->size = 2 * (b->n + n);
		b->data = realloc(b->data, b->size);
		if (!b->data)
			die_no_memory(b->size);
	}
	if (n)
		memcpy(b->data + b->n, data, n);
	b->n += n;
}

static void add_number(struct bytes *b, unsigned long long x, int n)
{
	for (int i = 0; i < n; i++)
		bytes_add(b, &(unsigned char){(unsigned char)(x >> 8 * i)}, 1);
}

static void add_zeros(struct bytes *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_number(b, 0, 1);
}

void bytes_pack(struct bytes *b, const char *format, va_list args)
{
	for (; *format; format++) {
		const char *text = NULL;
		float single;
		if (*format == 'S' || *format == 'T' || *format == 'L')
			text = va_arg(args, const char *);
		switch (*format) {
		case 'G':
			bytes_add(b, "GGUF", 4);
			break;
		case 'B':
			add_number(b, (unsigned)va_arg(args, int), 1);
			break;
		case 'I':
			add_number(b, (unsigned)va_arg(args, int), 4);
			break;
		case 'Q':
			add_number(b, (unsigned long long)va_arg(args, long long), 8);
			break;
		case 'F':
			single = (float)va_arg(args, double);
			bytes_add(b, &single, sizeof(single));
			break;
		case 'S':
		case 'L':
			add_number(b, strlen(text), 8);
			bytes_add(b, text, strlen(text));
			break;
		case 'T':
			bytes_add(b, text, strlen(text));
			break;
		case 'Z':
			add_zeros(b, (size_t)va_arg(args, int));
			break;
		case 'A': {
			const size_t to = (size_t)va_arg(args, int);
			add_zeros(b, (to - b->n % to) % to);
			break;
		}
		case ' ':
			break;
		default:
			fail_msg("pack: no letter '%c'", *format);
		}
	}
}

struct bytes pack(const char *format, ...)
{
	struct bytes b = {0};
	va_list args;
	va_start(args, format);
	bytes_pack(&b, format, args);
	va_end(args);
	return b;
}

struct bytes bytes_of_file(const char *path)
{
	struct bytes b = {0};
	char piece[4096];
	FILE *in = fopen(path, "r");
	if (!in)
		fail_msg("%s cannot be opened", path);
	for (size_t n; (n = fread(piece, 1, sizeof(piece), in));)
		bytes_add(&b, piece, n);
	fclose(in);
	return b;
}

char *folder_make(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[300];
	snprintf(path, sizeof(path), "%s/kvlab_weights.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(path));
	return strdup(path);
}

void folder_remove(char *folder)
{
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(folder);
	free(folder);
}

void file_write(const char *path, const struct bytes *b)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	if (b->n)
		assert_int_equal(fwrite(b->data, 1, b->n, out), b->n);
	assert_int_equal(fclose(out), 0);
}

void expect_refused(const char *path, const char *message)
{
	struct weights *weights = NULL;
	struct err err = {0};
	char wanted[1400];
	const int folder = message[0] == '/' ? (int)(strrchr(path, '/') - path) : (int)strlen(path);
	snprintf(wanted, sizeof(wanted), "%.*s%s%s", folder, path, message[0] == '/' ? "" : ": ", message);
	if (weights_open(&weights, path, &err) == 0) {
		weights_close(weights);
		fail_msg("opened, though it should be refused: %s", wanted);
	}
	assert_string_equal(err.message, wanted);
	assert_null(weights);
	assert_false(err.is_fault);
}

void expect_whole_only(const char *path, const struct bytes *b)
{
	struct weights *weights;
	struct err none = {0};
	file_write(path, b);
	if (weights_open(&weights, path, &none))
		fail_msg("%s", none.message);
	weights_close(weights);
	for (size_t n = b->n; n-- > 0;) {
		const struct bytes part = {.data = b->data, .n = n};
		struct err err = {0};
		file_write(path, &part);
		assert_int_equal(weights_open(&weights, path, &err), -1);
		assert_int_equal(strncmp(err.message, path, strlen(path)), 0);
		assert_false(err.is_fault);
	}
}
