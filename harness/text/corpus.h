// SPDX-License-Identifier: MIT
// Real texts: by name, looked for in the folder that the environment variable DATA names, then where their Debian
// package puts them; or any file or folder. None is part of this repository.
//
//     gcide            the GNU version of Webster's dictionary, Debian's dict-gcide; documents are its entries
//     tinyshakespeare  the 1.1 MB of papers' small character models; documents are runs of lines
//     wikitext-2       training, validation and test part as its authors cut it; documents are articles
//     wikitext-103     the same, fifty times larger
//     tinystories      a JSON list of stories, or the training and validation file of either version
//     file             what a path names: a text, or a folder of them
//
// Files may be packed by gzip or xz.
#ifndef KVLAB_TEXT_CORPUS_H
#define KVLAB_TEXT_CORPUS_H
#include "harness/text/document.h"
#ifdef __cplusplus
extern "C" {
#endif

enum corpus_id {
	CORPUS_GCIDE,
	CORPUS_TINYSHAKESPEARE,
	CORPUS_WIKITEXT_2,
	CORPUS_WIKITEXT_103,
	CORPUS_TINYSTORIES,
	CORPUS_FILE,
	N_CORPUS
};
#define CORPUS_CHOICES "gcide|tinyshakespeare|wikitext-2|wikitext-103|tinystories|file"

enum { CORPUS_PARTS = 3, PATH_TEXT = 512 };

struct corpus {
	const char *name; // "gcide", or the path
	// One part: nobody has cut it. Two: training and validation. Three: and test.
	struct text part[CORPUS_PARTS];
	int n_part;
	int is_separate; // documents are texts of their own (files, stories), not places in one
};

// Reads it. path: for CORPUS_FILE alone, a text file or a folder of them: all regular files below it in the order of
// their names, but for those whose name begins with a dot, each a document. is_utf8: text that is not UTF-8 is refused
// with file and offset (gcide's few bytes of Latin-1 become UTF-8). 0, or -1 with the sentence where it was looked for
// and how to get it; corpus_release in both cases.
int corpus_read(struct corpus *corpus, enum corpus_id id, const char *path, int is_utf8, struct err *err);
void corpus_release(struct corpus *corpus);

// Where the first file of a named corpus lies, or NULL where the corpus is not here; *remedy: how to get it.
const char *corpus_find(char out[PATH_TEXT * 2], enum corpus_id id, const char **remedy);
// Where a user's path leads: itself, or below DATA where there is nothing at it. Returns out.
const char *corpus_path(char out[PATH_TEXT * 2], const char *path);
// The same of what must be there: -1 with a sentence that says `what` is missing and how to get it.
int corpus_locate(char out[PATH_TEXT * 2], const char *what, const char *path, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
