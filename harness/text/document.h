// SPDX-License-Identifier: MIT
// A text and the documents in it: an article, a story, a dictionary's entry, a file. What lies between them (blank
// lines) is part of the text but of no document.
#ifndef KVLAB_TEXT_DOCUMENT_H
#define KVLAB_TEXT_DOCUMENT_H
#include "harness/text/unpack.h"
#ifdef __cplusplus
extern "C" {
#endif

struct document {
	size_t from, to; // the first byte, and one past the last
};

// Start from {0}; text_release at the end.
struct text {
	struct bytes_list bytes;
	struct document *document; // in order, none empty
	size_t n_document, document_room;
};
void text_release(struct text *text);
// Documents come in order; an empty one is left out.
void text_add_document(struct text *text, size_t from, size_t to);

// Rules that cut the whole of a text into documents. 0, or -1 with a message; path is what it calls the text.
typedef int document_rule(struct text *text, const char *path, struct err *err);
// Runs of lines that are not blank.
document_rule cut_paragraphs;
// Dictionary entries: they begin at a line that is not indented, after a blank one.
document_rule cut_entries;
// WikiText: an article begins at a line ` = Title = ` between blank ones (` = = Section = = ` does not count).
document_rule cut_articles;
// Stories: a JSON list of texts, or text with <|endoftext|> between. The text becomes the stories, white space around
// them taken away, a blank line between.
document_rule cut_stories;

#ifdef __cplusplus
}
#endif
#endif
