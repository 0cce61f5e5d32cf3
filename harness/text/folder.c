// SPDX-License-Identifier: MIT
#include "harness/text/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/base/utf8.h"

enum { DEPTH_MOST = 32, PATH_MOST = 4096 };

int text_check_utf8(const char *path, const char *bytes, size_t n, struct err *err)
{
	const size_t valid = utf8_valid(bytes, n);
	if (valid == n)
		return 0;
	return err_set(err, "%s: byte %zu is not UTF-8 (0x%02x): convert the text (iconv), or take tokens: bytes", path,
	        valid, (unsigned char)bytes[valid]);
}

static int read_file(struct text *text, const char *path, int is_utf8, struct err *err)
{
	const size_t from = text->bytes.n;
	const char *name = strcmp(path, "-") ? path : "standard input";
	if (unpack_file(&text->bytes, path, err))
		return -1;
	return is_utf8 ? text_check_utf8(name, text->bytes.bytes + from, text->bytes.n - from, err) : 0;
}

// A file of a folder ends with its line.
static int read_document(struct text *text, const char *path, int is_utf8, struct err *err)
{
	const size_t from = text->bytes.n;
	if (read_file(text, path, is_utf8, err))
		return -1;
	const size_t to = text->bytes.n;
	text_add_document(text, from, to);
	if (to > from && text->bytes.bytes[to - 1] != '\n')
		bytes_append(&text->bytes, "\n", 1);
	return 0;
}

static int is_seen(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_below(struct text *text, const char *folder, int depth, int is_utf8, struct err *err)
{
	struct dirent **entry;
	int rc = 0;
	errno = 0;
	if (depth == DEPTH_MOST)
		return err_set(
		        err, "%s: folders are nested more than %d deep (does a link lead back?)", folder, DEPTH_MOST);
	const int n = scandir(folder, &entry, is_seen, by_bytes);
	if (n < 0)
		return err_system(err, errno, "%s: the folder cannot be read: %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		char path[PATH_MOST];
		struct stat info;
		const int length = snprintf(path, sizeof(path), "%s/%s", folder, entry[i]->d_name);
		free(entry[i]);
		if (rc)
			continue;
		if (length >= (int)sizeof(path))
			rc = err_set(err, "%s: a path below it is too long", folder);
		else if (stat(path, &info))
			rc = err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
		else if (S_ISDIR(info.st_mode))
			rc = read_below(text, path, depth + 1, is_utf8, err);
		else if (S_ISREG(info.st_mode))
			rc = read_document(text, path, is_utf8, err);
	}
	free(entry);
	return rc;
}

int text_read(struct text *text, const char *path, document_rule *rule, int is_utf8, int *is_separate, struct err *err)
{
	struct stat info;
	const int is_standard = strcmp(path, "-") == 0;
	if (!is_standard && stat(path, &info))
		return err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
	*is_separate = !is_standard && S_ISDIR(info.st_mode);
	if (*is_separate)
		return read_below(text, path, 0, is_utf8, err);
	if (read_file(text, path, is_utf8, err))
		return -1;
	return rule ? rule(text, path, err) : 0;
}
