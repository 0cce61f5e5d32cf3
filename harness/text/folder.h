// SPDX-License-Identifier: MIT
// Texts of the user's own: a file, or a folder of files.
#ifndef KVLAB_TEXT_FOLDER_H
#define KVLAB_TEXT_FOLDER_H
#include "harness/text/document.h"
#ifdef __cplusplus
extern "C" {
#endif

// Appends the text of a file ("-": standard input), cut by rule (not where it is NULL); or of a folder: all regular
// files below it in the order of their names, but for those whose name begins with a dot, each a document.
// *is_separate: whether it was a folder. is_utf8: refuses what is not, naming file and offset. 0, or -1 with a message
// that names the file.
int text_read(struct text *text, const char *path, document_rule *rule, int is_utf8, int *is_separate, struct err *err);

// 0, or -1 with `path: byte N: not UTF-8 (...)`.
int text_check_utf8(const char *path, const char *bytes, size_t n, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
