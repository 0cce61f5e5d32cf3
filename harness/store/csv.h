// SPDX-License-Identifier: MIT
// CSV as dumps use it (RFC 4180 with one rule more): text is always quoted, numbers never, NULL is an empty field,
// so that a field says its own type. Doubles are written with 17 digits and read with strtod: bit for bit.
#ifndef KVLAB_STORE_CSV_H
#define KVLAB_STORE_CSV_H
#include <sqlite3.h>
#include <stdio.h>

#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

// The present row of a statement; or, with `names`, its column names.
void csv_write_row(FILE *out, sqlite3_stmt *stmt, int names);

struct csv_reader {
	FILE *in;
	const char *path; // for messages
	long line;        // where the present record starts, from 1
	long next_line;
	char *field; // text of the present field
	size_t room;
};
enum csv_end { CSV_COMMA, CSV_LINE, CSV_FILE, CSV_BAD };
// Reads one field into reader->field; was_quoted tells text from number. Says what ended it.
enum csv_end csv_read_field(struct csv_reader *reader, int *was_quoted, struct err *err);
// Binds the field just read, by its own type.
int csv_bind(sqlite3_stmt *stmt, int at, const struct csv_reader *reader, int was_quoted, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
