// SPDX-License-Identifier: MIT
// Which files make a tokenizer, and what the files beside them add.
#include "harness/text/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/hash.h"
#include "harness/base/utf8.h"
#include "harness/text/file.h"
#include "harness/text/internal.h"

struct part {
	const char *file;
	int (*read)(struct tokenizer *t, const char *text, size_t n, struct err *err);
};

// What a folder may hold: the first row whose files are all there counts.
static const struct layout {
	struct part part[2];
	const char *family; // that such files are of; NULL: see the folder's configuration
} layouts[] = {
        {{{"tokenizer.json", tokenizer_read_json}}, NULL},
        {{{"vocab.json", tokenizer_read_vocabulary}, {"merges.txt", tokenizer_read_merges}}, NULL},
        {{{"encoder.json", tokenizer_read_vocabulary}, {"vocab.bpe", tokenizer_read_merges}}, "gpt2"},
        {{{"tokenizer.bin", tokenizer_read_llama2c}}, NULL},
        {{{"tok512.bin", tokenizer_read_llama2c}}, NULL},
};
enum { LAYOUTS = sizeof(layouts) / sizeof(layouts[0]) };

int tokenizer_read_merges(struct tokenizer *t, const char *text, size_t n, struct err *err)
{
	size_t number = 0;
	for (const char *line = text, *end; line < text + n; line = end + 1) {
		end = memchr(line, '\n', (size_t)(text + n - line));
		end = end ? end : text + n;
		size_t length = (size_t)(end - line);
		length -= length && line[length - 1] == '\r';
		tokenizer_at(t, "line %zu", ++number);
		if (length == 0 || (number == 1 && length >= 8 && memcmp(line, "#version", 8) == 0))
			continue;
		if (tokenizer_put_merge_line(t, line, length, err))
			return -1;
	}
	return 0;
}

// What a file says counts, and that it was read after others.
static int read_hashed(struct tokenizer *t, char **text, size_t *n, const char *path, struct err *err)
{
	if (file_read(text, n, path, err))
		return -1;
	const uint64_t both[] = {t->hash, hash_u64(*text, *n)};
	t->hash = hash_u64(both, sizeof(both));
	return 0;
}

uint64_t tokenizer_hash(const struct tokenizer *tokenizer)
{
	return tokenizer->hash;
}

static int read_part(struct tokenizer *t, const struct part *part, const char *path, struct err *err)
{
	char *text;
	size_t n;
	t->path = arena_strdup(&t->arena, path);
	if (read_hashed(t, &text, &n, path, err))
		return -1;
	const int rc = part->read(t, text, n, err);
	free(text);
	return rc;
}

// The JSON of a file beside the tokenizer: 0 with *root NULL where there is none.
static int read_beside(struct doc **root, struct tokenizer *t, const char *folder, const char *file, struct err *err)
{
	char *text;
	size_t n;
	*root = NULL;
	const char *path = arena_printf(&t->arena, "%s/%s", folder, file);
	if (access(path, F_OK))
		return 0;
	if (read_hashed(t, &text, &n, path, err))
		return -1;
	const int rc = doc_read(root, path, text, n, DOC_ZERO_BYTES, err);
	free(text);
	t->path = path;
	return rc;
}

// "eos_token": "<|endoftext|>" or {"content": "<|endoftext|>"}.
static void read_role(const struct tokenizer *t, int *id, const struct doc *config, const char *key)
{
	size_t n;
	const struct doc *v = doc_member(config, key);
	const char *text = doc_text(doc_kind(v) == DOC_OBJECT ? doc_member(v, "content") : v, &n);
	const int found = text ? tokenizer_id(t, text, n) : -1;
	*id = found >= 0 ? found : *id;
}

static int read_added_decoder(struct tokenizer *t, const struct doc *config, struct err *err)
{
	tokenizer_at(t, "added_tokens_decoder", 0);
	for (struct doc_walk w = {doc_member(config, "added_tokens_decoder")}; doc_next(&w);) {
		char *end;
		const long long id = strtoll(w.key, &end, 10);
		if (end == w.key || *end)
			return tokenizer_fail(t, err, "a key that is no id");
		if (tokenizer_read_added(t, id, w.member, err))
			return -1;
	}
	return 0;
}

// Vocabulary and merges have no place for control tokens: they stand in the configuration, or in the vocabulary itself.
static int add_control_tokens(struct tokenizer *t, const struct doc *config, struct err *err)
{
	static const char end[] = "<|endoftext|>";
	if (read_added_decoder(t, config, err))
		return -1;
	const struct added_token token = {.id = vocabulary_find(&t->vocabulary, end, sizeof(end) - 1), .is_special = 1};
	if (t->added.n || t->added_normal.n || token.id < 0)
		return 0;
	return tokenizer_put_added(t, end, sizeof(end) - 1, &token, 0, err);
}

static int choose_family(
        struct tokenizer *t, const char *folder, const char *family, const struct doc *config, struct err *err)
{
	struct doc *model;
	if (family && tokenizer_set_family(t, family))
		return err_set(err, "family '%s' is not known: %s", family, tokenizer_families());
	if (family)
		return 0;
	const char *name = doc_text(doc_member(config, "tokenizer_class"), NULL);
	if (name && !tokenizer_set_family(t, name))
		return 0;
	if (read_beside(&model, t, folder, "config.json", err))
		return -1;
	name = doc_text(doc_member(model, "model_type"), NULL);
	const int rc = name ? tokenizer_set_family(t, name) : -1;
	doc_free(model);
	if (rc == 0)
		return 0;
	return err_set(err, "%s: vocabulary and merges do not say how text is split: name the family (%s)", folder,
	        tokenizer_families());
}

static int read_folder(
        struct tokenizer *t, const char *folder, const struct layout *layout, const char *family, struct err *err)
{
	struct doc *config = NULL;
	const char *path = NULL;
	int rc = 0;
	for (int i = 0; i < 2 && layout->part[i].file && !rc; i++) {
		path = arena_printf(&t->arena, "%s/%s", folder, layout->part[i].file);
		rc = read_part(t, &layout->part[i], path, err);
	}
	rc = rc || read_beside(&config, t, folder, "tokenizer_config.json", err);
	if (!rc && layout->part[1].file)
		rc = add_control_tokens(t, config, err) ||
		     choose_family(t, folder, family ? family : layout->family, config, err);
	t->path = path ? path : t->path;
	if (!rc) {
		read_role(t, &t->bos, config, "bos_token");
		read_role(t, &t->eos, config, "eos_token");
	}
	doc_free(config);
	return rc ? -1 : 0;
}

static int is_there(const char *folder, const char *file)
{
	char path[4096];
	return snprintf(path, sizeof(path), "%s/%s", folder, file) < (int)sizeof(path) && access(path, F_OK) == 0;
}

static const struct layout *find_layout(const char *folder)
{
	for (int i = 0; i < LAYOUTS; i++)
		if (is_there(folder, layouts[i].part[0].file) &&
		        (!layouts[i].part[1].file || is_there(folder, layouts[i].part[1].file)))
			return &layouts[i];
	return NULL;
}

static int has_ending(const char *path, const char *ending)
{
	const size_t n = strlen(path), n_ending = strlen(ending);
	return n > n_ending && strcmp(path + n - n_ending, ending) == 0;
}

static int read_path(struct tokenizer *t, const char *path, const char *family, struct err *err)
{
	struct stat info;
	if (stat(path, &info))
		return err_system(err, errno, "%s: cannot be opened: %s", path, strerror(errno));
	const int is_folder = S_ISDIR(info.st_mode);
	const struct layout *layout = is_folder ? find_layout(path) : NULL;
	if (is_folder && !layout)
		return err_set(err,
		        "%s: no tokenizer in this folder (tokenizer.json; vocab.json and merges.txt; encoder.json and "
		        "vocab.bpe; tokenizer.bin)",
		        path);
	if (family && (!layout || !layout->part[1].file))
		return err_set(err,
		        "%s: says itself how text is split: a family is named for vocabulary and merges only", path);
	if (layout)
		return read_folder(t, path, layout, family, err);
	const struct part part = {path, has_ending(path, ".bin") ? tokenizer_read_llama2c : tokenizer_read_json};
	return read_part(t, &part, path, err);
}

int tokenizer_open(struct tokenizer **tokenizer, const char *path, const char *family, struct err *err)
{
	static const char *const ends[] = {"<|endoftext|>", "<|end_of_text|>", "</s>"};
	struct tokenizer *t = tokenizer_new(path);
	if (read_path(t, path, family, err) || tokenizer_finish(t, err)) {
		tokenizer_free(t);
		return -1;
	}
	if (t->bos < 0 && t->before.n)
		t->bos = t->before.id[0];
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && t->eos < 0; i++)
		t->eos = tokenizer_id(t, ends[i], strlen(ends[i]));
	*tokenizer = t;
	return 0;
}
