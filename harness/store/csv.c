// SPDX-License-Identifier: MIT
#include "harness/store/csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void write_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

void csv_write_row(FILE *out, sqlite3_stmt *stmt, int names)
{
	int n = sqlite3_column_count(stmt);
	for (int c = 0; c < n; c++) {
		if (c)
			fputc(',', out);
		int type = names ? SQLITE_TEXT : sqlite3_column_type(stmt, c);
		if (names)
			fputs(sqlite3_column_name(stmt, c), out);
		else if (type == SQLITE_INTEGER)
			fprintf(out, "%lld", (long long)sqlite3_column_int64(stmt, c));
		else if (type == SQLITE_FLOAT)
			fprintf(out, "%.17g", sqlite3_column_double(stmt, c));
		else if (type != SQLITE_NULL)
			write_quoted(out, (const char *)sqlite3_column_text(stmt, c));
	}
	fputc('\n', out);
}

static void append(struct csv_reader *reader, size_t at, char letter)
{
	if (at + 1 >= reader->room) {
		reader->room = reader->room ? 2 * reader->room : 256;
		reader->field = realloc(reader->field, reader->room);
		if (!reader->field)
			die_no_memory(reader->room);
	}
	reader->field[at] = letter;
}

static enum csv_end ends(struct csv_reader *reader, int letter)
{
	if (letter == '\r')
		letter = getc(reader->in);
	if (letter == ',')
		return CSV_COMMA;
	if (letter == '\n') {
		reader->next_line++;
		return CSV_LINE;
	}
	return letter == EOF ? CSV_FILE : CSV_BAD;
}

enum csv_end csv_read_field(struct csv_reader *reader, int *was_quoted, struct err *err)
{
	size_t n = 0;
	int letter = getc(reader->in);
	*was_quoted = letter == '"';
	reader->line = reader->next_line;
	if (*was_quoted) {
		for (;;) {
			letter = getc(reader->in);
			if (letter == '"' && (letter = getc(reader->in)) != '"')
				break;
			if (letter == EOF) {
				err_set(err, "%s:%ld: quote is never closed: take the file from an unbroken dump",
				        reader->path, reader->line);
				return CSV_BAD;
			}
			reader->next_line += letter == '\n';
			append(reader, n++, (char)letter);
		}
	} else {
		for (; letter != ',' && letter != '\n' && letter != '\r' && letter != EOF; letter = getc(reader->in))
			append(reader, n++, (char)letter);
	}
	append(reader, n, '\0');
	enum csv_end end = ends(reader, letter);
	if (end == CSV_BAD)
		err_set(err, "%s:%ld: text after a closing quote: take the file from an unbroken dump", reader->path,
		        reader->line);
	return end;
}

int csv_bind(sqlite3_stmt *stmt, int at, const struct csv_reader *reader, int was_quoted, struct err *err)
{
	const char *text = reader->field;
	char *end;
	if (was_quoted)
		return sqlite3_bind_text(stmt, at, text, -1, SQLITE_TRANSIENT), 0;
	if (!*text)
		return sqlite3_bind_null(stmt, at), 0;
	errno = 0;
	long long whole = strtoll(text, &end, 10);
	if (!*end && !errno)
		return sqlite3_bind_int64(stmt, at, whole), 0;
	double real = strtod(text, &end);
	if (*end)
		return err_set(err,
		        "%s:%ld: '%.40s' is neither a number nor quoted: take the file from an unbroken dump",
		        reader->path, reader->line, text);
	return sqlite3_bind_double(stmt, at, real), 0;
}
