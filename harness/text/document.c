// SPDX-License-Identifier: MIT
#include "harness/text/document.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/json.h"

void text_release(struct text *text)
{
	free(text->bytes.bytes);
	free(text->document);
	*text = (struct text){0};
}

void text_add_document(struct text *text, size_t from, size_t to)
{
	if (from == to)
		return;
	if (text->n_document == text->document_room) {
		text->document_room = 2 * text->document_room + 64;
		text->document = realloc(text->document, text->document_room * sizeof(*text->document));
		if (!text->document)
			die_no_memory(text->document_room * sizeof(*text->document));
	}
	text->document[text->n_document++] = (struct document){from, to};
}

static int is_white(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct line {
	const char *text;
	size_t n;     // with its end
	int is_blank; // white space alone
	int is_first; // after a blank line, or at the beginning
	int is_alone; // and before one
};

// Length of the line at `at`, with its end.
static size_t line_length(const struct bytes_list *bytes, size_t at)
{
	const char *end = memchr(bytes->bytes + at, '\n', bytes->n - at);
	return end ? (size_t)(end + 1 - bytes->bytes) - at : bytes->n - at;
}

// Whether there is nothing but white space in the line at `at`; beyond the end there is none.
static int is_blank_at(const struct bytes_list *bytes, size_t at)
{
	const size_t to = at + line_length(bytes, at);
	while (at < to && is_white(bytes->bytes[at]))
		at++;
	return at == to;
}

static int begins_paragraph(const struct line *line)
{
	return line->is_first;
}

static int begins_entry(const struct line *line)
{
	return line->is_first && !is_white(line->text[0]);
}

// Some lists of numbers in WikiText are spelled like titles, but stand in a row.
static int begins_article(const struct line *line)
{
	size_t n = line->n;
	while (n && is_white(line->text[n - 1]))
		n--;
	return line->is_alone && n > 5 && memcmp(line->text, " = ", 3) == 0 && line->text[3] != '=' &&
	       memcmp(line->text + n - 2, " =", 2) == 0 && line->text[n - 3] != '=';
}

// A document goes on to the end of its last line that is not blank.
static int cut_at_lines(struct text *text, int (*begins)(const struct line *line))
{
	const struct bytes_list *bytes = &text->bytes;
	size_t from = 0, to = 0;
	int was_blank = 1;
	for (size_t at = 0; at < bytes->n;) {
		struct line line = {bytes->bytes + at, line_length(bytes, at), is_blank_at(bytes, at), was_blank};
		line.is_alone = was_blank && is_blank_at(bytes, at + line.n);
		if (!line.is_blank && begins(&line)) {
			text_add_document(text, from, to > from ? to : from);
			from = at;
		}
		was_blank = line.is_blank;
		at += line.n;
		from = to == 0 && line.is_blank ? at : from; // blank lines before the first document
		to = line.is_blank ? to : at;
	}
	text_add_document(text, from, to > from ? to : from);
	return 0;
}

int cut_paragraphs(struct text *text, const char *path, struct err *err)
{
	(void)path, (void)err;
	return cut_at_lines(text, begins_paragraph);
}

int cut_entries(struct text *text, const char *path, struct err *err)
{
	(void)path, (void)err;
	return cut_at_lines(text, begins_entry);
}

int cut_articles(struct text *text, const char *path, struct err *err)
{
	(void)path, (void)err;
	return cut_at_lines(text, begins_article);
}

static void add_story(struct text *text, const char *story, size_t n)
{
	while (n && is_white(*story))
		story++, n--;
	while (n && is_white(story[n - 1]))
		n--;
	if (!n)
		return;
	if (text->bytes.n)
		bytes_append(&text->bytes, "\n\n", 2);
	const size_t from = text->bytes.n;
	bytes_append(&text->bytes, story, n);
	text_add_document(text, from, from + n);
}

static int add_json(struct text *text, const struct bytes_list *source, const char *path, struct err *err)
{
	struct doc *root;
	if (doc_read(&root, path, source->bytes, source->n, DOC_ZERO_BYTES, err))
		return -1;
	int rc = doc_kind(root) == DOC_LIST ? 0 : err_set(err, "%s: is not a JSON list of stories", path);
	for (size_t i = 0; !rc && i < doc_count(root); i++) {
		size_t n;
		const char *story = doc_text(doc_at(root, i), &n);
		if (story)
			add_story(text, story, n);
		else
			rc = err_set(err, "%s: item %zu of the list is not a text", path, i);
	}
	doc_free(root);
	return rc;
}

static void add_between_marks(struct text *text, const struct bytes_list *source)
{
	static const char mark[] = "<|endoftext|>";
	const size_t n_mark = sizeof(mark) - 1;
	const char *at = source->bytes, *end = source->bytes + source->n;
	while (at < end) {
		const char *found = memmem(at, (size_t)(end - at), mark, n_mark), *to = found ? found : end;
		add_story(text, at, (size_t)(to - at));
		at = found ? found + n_mark : end;
	}
}

int cut_stories(struct text *text, const char *path, struct err *err)
{
	struct bytes_list source = text->bytes;
	int rc = 0;
	text->bytes = (struct bytes_list){0};
	bytes_reserve(&text->bytes, source.n);
	if (source.n && source.bytes[0] == '[')
		rc = add_json(text, &source, path, err);
	else
		add_between_marks(text, &source);
	free(source.bytes);
	return rc;
}
