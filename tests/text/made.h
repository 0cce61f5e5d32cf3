// SPDX-License-Identifier: MIT
// Folders of texts made by a test.
#ifndef KVLAB_TESTS_TEXT_MADE_H
#define KVLAB_TESTS_TEXT_MADE_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

// A new folder, which DATA and (a folder "cache" in it) KVLAB_CACHE are set to. made_remove() at the end.
char *made_folder(void);
void made_remove(char *folder);
// folder/name; valid for the next eight calls.
const char *made_path(const char *folder, const char *name);
// Writes folder/name, and the folders that lead to it.
void made_file(const char *folder, const char *name, const void *bytes, size_t n);
void made_text_file(const char *folder, const char *name, const char *text);
// The same, packed.
void made_gzip(const char *folder, const char *name, const void *bytes, size_t n);
void made_xz(const char *folder, const char *name, const void *bytes, size_t n);

#ifdef __cplusplus
}
#endif
#endif
