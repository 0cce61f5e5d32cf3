// SPDX-License-Identifier: MIT
#include "harness/text/corpus.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/utf8.h"
#include "harness/text/folder.h"

static const struct place {
	const char *name;
	document_rule *rule;
	int is_separate;
	int has_latin1; // a few characters that are not UTF-8
	const char *remedy;
} places[N_CORPUS] = {
        [CORPUS_GCIDE] = {"gcide", cut_entries, 0, 1,
                "apt-get install dict-gcide, or set DATA to a folder with gcide/gcide.dict.dz"},
        [CORPUS_TINYSHAKESPEARE] = {"tinyshakespeare", cut_paragraphs, 0, 0,
                "set DATA to a folder with tinyshakespeare/input.txt"},
        [CORPUS_WIKITEXT_2] = {"wikitext-2", cut_articles, 0, 0,
                "set DATA to a folder with wikitext-2/train.txt, or train.txt.xz, valid.txt and test.txt"},
        [CORPUS_WIKITEXT_103] = {"wikitext-103", cut_articles, 0, 0,
                "set DATA to a folder with wikitext-103/wiki.train.tokens, wiki.valid.tokens and "
                "wiki.test.tokens"},
        [CORPUS_TINYSTORIES] = {"tinystories", cut_stories, 1, 0,
                "set DATA to a folder with tinystories/TinyStories-train.txt and TinyStories-valid.txt, or one "
                "tinystories/tinystories*.json"},
        [CORPUS_FILE] = {"file", cut_paragraphs},
};

// Files of the parts, patterns below DATA unless they begin with a slash. The first row whose files are all there
// counts.
static const struct layout {
	enum corpus_id id;
	const char *file[CORPUS_PARTS];
} layouts[] = {
        {CORPUS_GCIDE, {"gcide/gcide.dict.dz"}},
        {CORPUS_GCIDE, {"/usr/share/dictd/gcide.dict.dz"}},
        {CORPUS_TINYSHAKESPEARE, {"tinyshakespeare/input.txt"}},
        {CORPUS_WIKITEXT_2, {"wikitext-2/train.txt", "wikitext-2/valid.txt", "wikitext-2/test.txt"}},
        {CORPUS_WIKITEXT_2, {"wikitext-2/train.txt.xz", "wikitext-2/valid.txt", "wikitext-2/test.txt"}},
        {CORPUS_WIKITEXT_2,
                {"wikitext-2/wiki.train.tokens", "wikitext-2/wiki.valid.tokens", "wikitext-2/wiki.test.tokens"}},
        {CORPUS_WIKITEXT_103,
                {"wikitext-103/wiki.train.tokens", "wikitext-103/wiki.valid.tokens", "wikitext-103/wiki.test.tokens"}},
        {CORPUS_TINYSTORIES, {"tinystories/TinyStoriesV2-GPT4-train.txt", "tinystories/TinyStoriesV2-GPT4-valid.txt"}},
        {CORPUS_TINYSTORIES, {"tinystories/TinyStories-train.txt", "tinystories/TinyStories-valid.txt"}},
        {CORPUS_TINYSTORIES, {"tinystories/tinystories*.json"}},
};

// The path of the one file that fits the pattern. 1 where there is one, 0 where not.
static int find_file(char path[PATH_TEXT * 2], const char *pattern)
{
	const char *data = getenv("DATA");
	char whole[PATH_TEXT * 2];
	glob_t found;
	int n = -1;
	if (pattern[0] == '/')
		n = snprintf(whole, sizeof(whole), "%s", pattern);
	else if (data && *data)
		n = snprintf(whole, sizeof(whole), "%s/%s", data, pattern);
	if (n < 0 || n >= (int)sizeof(whole))
		return 0;
	if (!strchr(pattern, '*')) {
		memcpy(path, whole, sizeof(whole));
		return access(path, F_OK) == 0;
	}
	if (glob(whole, 0, NULL, &found))
		return 0;
	const int is_one = found.gl_pathc == 1;
	snprintf(path, PATH_TEXT * 2, "%s", found.gl_pathv[0]);
	globfree(&found);
	return is_one;
}

// Windows-1252's punctuation is nobody's loss: a byte is the character of its number.
static void latin1_to_utf8(struct bytes_list *list)
{
	struct bytes_list out = {0};
	bytes_reserve(&out, list->n + 64);
	for (size_t at = 0; at < list->n;) {
		const size_t valid = utf8_valid(list->bytes + at, list->n - at);
		bytes_append(&out, list->bytes + at, valid);
		at += valid;
		if (at < list->n) {
			char c[4];
			bytes_append(&out, c, (size_t)utf8_encode(c, (unsigned char)list->bytes[at++]));
		}
	}
	free(list->bytes);
	*list = out;
}

static int read_part(struct text *text, const struct place *place, const char *path, int is_utf8, struct err *err)
{
	if (unpack_file(&text->bytes, path, err))
		return -1;
	if (is_utf8 && place->has_latin1)
		latin1_to_utf8(&text->bytes);
	if (is_utf8 && text_check_utf8(path, text->bytes.bytes, text->bytes.n, err))
		return -1;
	return place->rule(text, path, err);
}

// The files of a named corpus' parts: how many, 0 where it is not here.
static int find_named(char path[CORPUS_PARTS][PATH_TEXT * 2], enum corpus_id id)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		const struct layout *layout = &layouts[i];
		int n = 0;
		if (layout->id != id)
			continue;
		while (n < CORPUS_PARTS && layout->file[n] && find_file(path[n], layout->file[n]))
			n++;
		if (n == CORPUS_PARTS || !layout->file[n])
			return n;
	}
	return 0;
}

static int read_named(struct corpus *corpus, enum corpus_id id, int is_utf8, struct err *err)
{
	char path[CORPUS_PARTS][PATH_TEXT * 2];
	const struct place *place = &places[id];
	const int n = find_named(path, id);
	corpus->is_separate = place->is_separate;
	for (; corpus->n_part < n; corpus->n_part++)
		if (read_part(&corpus->part[corpus->n_part], place, path[corpus->n_part], is_utf8, err))
			return -1;
	return n ? 0 : err_set(err, "corpus '%s' is not on this machine (%s)", place->name, place->remedy);
}

const char *corpus_find(char out[PATH_TEXT * 2], enum corpus_id id, const char **remedy)
{
	char path[CORPUS_PARTS][PATH_TEXT * 2];
	*remedy = places[id].remedy;
	if (!find_named(path, id))
		return NULL;
	memcpy(out, path[0], sizeof(path[0]));
	return out;
}

const char *corpus_path(char out[PATH_TEXT * 2], const char *path)
{
	const char *data = getenv("DATA");
	int n = -1;
	if (data && *data && path[0] != '/' && access(path, F_OK))
		n = snprintf(out, PATH_TEXT * 2, "%s/%s", data, path);
	if (n < 0 || n >= PATH_TEXT * 2 || access(out, F_OK))
		snprintf(out, PATH_TEXT * 2, "%s", path);
	return out;
}

int corpus_locate(char out[PATH_TEXT * 2], const char *what, const char *path, struct err *err)
{
	static const char models[] = "models/";
	if (!access(corpus_path(out, path), F_OK))
		return 0;
	if (strncmp(path, models, strlen(models)) == 0)
		return err_set(err, "%s '%s' is not on this machine (make model M=%s, or set DATA to a folder with it)",
		        what, path, path + strlen(models));
	return err_set(err, "%s '%s' is not on this machine (set DATA to a folder with it)", what, path);
}

int corpus_read(struct corpus *corpus, enum corpus_id id, const char *path, int is_utf8, struct err *err)
{
	char place[PATH_TEXT * 2];
	*corpus = (struct corpus){.name = id == CORPUS_FILE ? path : places[id].name};
	if (id != CORPUS_FILE) {
		if (read_named(corpus, id, is_utf8, err))
			return -1;
	} else {
		corpus->n_part = 1;
		if (text_read(corpus->part, corpus_path(place, path), places[id].rule, is_utf8, &corpus->is_separate,
		            err))
			return -1;
	}
	for (int p = 0; p < corpus->n_part; p++)
		if (corpus->part[p].bytes.n == 0)
			return err_set(err, "corpus '%s' is empty%s", corpus->name,
			        corpus->n_part > 1 ? " in one of its parts" : "");
	return 0;
}

void corpus_release(struct corpus *corpus)
{
	for (int p = 0; p < CORPUS_PARTS; p++)
		text_release(&corpus->part[p]);
}
