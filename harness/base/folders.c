// SPDX-License-Identifier: MIT
#include "harness/base/folders.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int folders_make_for(const char *path, char failed[FOLDERS_TEXT])
{
	if (snprintf(failed, FOLDERS_TEXT, "%s", path) >= FOLDERS_TEXT) {
		errno = ENAMETOOLONG;
		return -1;
	}
	for (char *at = failed; *at && (at = strchr(at + 1, '/'));) {
		*at = '\0';
		if (mkdir(failed, 0777) && errno != EEXIST)
			return -1;
		*at = '/';
	}
	return 0;
}

int folders_make(const char *path, char failed[FOLDERS_TEXT])
{
	char file[FOLDERS_TEXT];
	snprintf(failed, FOLDERS_TEXT, "%s", path);
	if (snprintf(file, sizeof(file), "%s/", path) >= FOLDERS_TEXT) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return folders_make_for(file, failed);
}
