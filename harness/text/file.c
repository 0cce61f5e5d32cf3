// SPDX-License-Identifier: MIT
#include "harness/text/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int read_all(char **text, size_t *n, FILE *in, const char *path, struct err *err)
{
	struct stat info;
	size_t room = 1 << 16;
	if (fstat(fileno(in), &info) == 0 && S_ISREG(info.st_mode) && info.st_size < FILE_BYTES_MOST)
		room = (size_t)info.st_size + 2;
	*text = NULL;
	*n = 0;
	do {
		room = *text ? 2 * room : room;
		*text = realloc(*text, room);
		if (!*text)
			die_no_memory(room);
		errno = 0;
		*n += fread(*text + *n, 1, room - 1 - *n, in);
		if (ferror(in))
			return err_system(err, errno, "%s: cannot be read: %s", path, strerror(errno));
	} while (!feof(in) && *n <= FILE_BYTES_MOST);
	if (*n > FILE_BYTES_MOST)
		return err_set(err, "%s: more than %d MiB: cut it into files", path, FILE_BYTES_MOST >> 20);
	(*text)[*n] = '\0';
	return 0;
}

int file_read(char **text, size_t *n, const char *path, struct err *err)
{
	const int is_standard = strcmp(path, "-") == 0;
	FILE *in = is_standard ? stdin : fopen(path, "rb");
	if (!in)
		return err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
	const int rc = read_all(text, n, in, is_standard ? "standard input" : path, err);
	if (!is_standard)
		fclose(in);
	if (rc)
		free(*text);
	return rc;
}
