// SPDX-License-Identifier: MIT
// Folders that are made where they are missing, and those above them.
#ifndef KVLAB_BASE_FOLDERS_H
#define KVLAB_BASE_FOLDERS_H
#ifdef __cplusplus
extern "C" {
#endif

enum { FOLDERS_TEXT = 4096 };

// 0, or -1 with errno set and the folder that could not be made in `failed`. folders_make makes `path`,
// folders_make_for the folder that the file `path` is to lie in.
int folders_make(const char *path, char failed[FOLDERS_TEXT]);
int folders_make_for(const char *path, char failed[FOLDERS_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
