// SPDX-License-Identifier: MIT
#include "harness/text/tokens.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/hash.h"
#include "harness/text/encode.h"
#include "harness/text/token_file.h"
#include "harness/text/token_image.h"
#include "harness/text/words.h"

// Part of what a point's key is made of: raise it when a text becomes other ids.
enum { TOKENISATION_VERSION = 1 };

// Twentieths of an uncut text: where the validation and the test part begin.
static size_t cut_validation(size_t n)
{
	return n / 20 * 18;
}

static size_t cut_test(size_t n)
{
	return n / 20 * 19;
}

static size_t n_train(const struct corpus *corpus, size_t n)
{
	return corpus->n_part == 1 ? cut_validation(n) : n;
}

// whole: all ids of each of n_part parts.
static void cut(struct token_range range[N_TOKEN_PART], const struct token_range *whole, int n_part)
{
	for (int p = 0; p < N_TOKEN_PART; p++)
		range[p] = whole[p < n_part ? p : n_part - 1];
	if (n_part == 1) {
		const size_t n = whole->to;
		range[PART_TRAIN].to = range[PART_VALIDATION].from = cut_validation(n);
		range[PART_VALIDATION].to = range[PART_TEST].from = cut_test(n);
	} else if (n_part == 2) {
		range[PART_VALIDATION].to = range[PART_TEST].from = whole[1].to / 2;
	}
}

// --- texts ---------------------------------------------------------------------------------------------------------

// What the ids depend on.
struct identity {
	uint64_t text, tokenizer;
	int32_t kind, min_count, n_vocab_most, is_by_document, version, format;
};

static uint64_t hash_texts(const struct corpus *corpus)
{
	uint64_t hash[CORPUS_PARTS];
	for (int p = 0; p < corpus->n_part; p++)
		hash[p] = hash_u64(corpus->part[p].bytes.bytes, corpus->part[p].bytes.n);
	return corpus->n_part == 1 ? hash[0] : hash_u64(hash, (size_t)corpus->n_part * sizeof(hash[0]));
}

// One text can be cut in several ways: a file, or the files of a folder.
static uint64_t hash_documents(const struct corpus *corpus)
{
	uint64_t hash[CORPUS_PARTS + 1] = {(uint64_t)corpus->is_separate};
	for (int p = 0; p < corpus->n_part; p++)
		hash[1 + p] = hash_u64(
		        corpus->part[p].document, corpus->part[p].n_document * sizeof(*corpus->part[p].document));
	return hash_u64(hash, sizeof(hash));
}

// What results can be traced to. A named corpus is cut as its name says; of the user's own it is part of the content,
// where documents matter.
static uint64_t hash_content(
        const struct identity *id, const struct corpus *corpus, const struct tokens_setting *setting)
{
	const uint64_t both[] = {
	        setting->kind == TOKENS_BYTES ? id->text : hash_u64(id, sizeof(*id)), hash_documents(corpus)};
	const int is_separate = setting->kind == TOKENS_BPE && corpus->is_separate;
	if (setting->corpus == CORPUS_FILE && (setting->is_by_document || is_separate))
		return hash_u64(both, sizeof(both));
	return both[0];
}

// What the cached file is found by: all that its block depends on.
static void cache_key(char key[HASH_TEXT], struct identity id, const struct corpus *corpus)
{
	struct {
		struct identity id;
		uint64_t documents;
	} all;
	id.format = TOKEN_IMAGE_VERSION;
	all.id = id;
	all.documents = hash_documents(corpus);
	hash_hex(key, &all, sizeof(all));
}

static void identify(struct identity *id, const struct corpus *corpus, const struct tokens_setting *setting,
        const struct tokenizer *tokenizer)
{
	*id = (struct identity){.text = hash_texts(corpus), .kind = setting->kind, .version = TOKENISATION_VERSION};
	if (setting->kind == TOKENS_WORDS) {
		id->min_count = setting->min_count;
		id->n_vocab_most = setting->n_vocab_most;
	}
	if (setting->kind == TOKENS_BPE) {
		id->tokenizer = tokenizer_hash(tokenizer);
		id->is_by_document = setting->is_by_document;
	}
}

static int encode(struct encoded out[CORPUS_PARTS], struct tokens *tokens, const struct corpus *corpus,
        const struct tokens_setting *setting, const struct tokenizer *tokenizer, struct err *err)
{
	const struct words_setting words = {setting->min_count, setting->n_vocab_most, n_train};
	switch (setting->kind) {
	case TOKENS_BYTES: // are ids as they are
		break;
	case TOKENS_CHARACTERS:
		if (encode_characters(out, &tokens->n_vocab, corpus, err))
			return -1;
		tokens->end = tokens->n_vocab;
		return 0;
	case TOKENS_WORDS:
		tokens->end = WORD_END;
		return encode_words(out, &tokens->n_vocab, corpus, &words, err);
	case TOKENS_BPE:
		tokens->n_vocab = tokenizer_n_vocab(tokenizer);
		tokens->end = tokenizer_eos(tokenizer);
		return encode_bpe(out, corpus, tokenizer, setting->is_by_document, err);
	}
	BUG("tokens of kind %d are not encoded", (int)setting->kind);
}

static int make_encoded(struct tokens *tokens, const struct corpus *corpus, const struct tokens_setting *setting,
        const struct tokenizer *tokenizer, struct err *err)
{
	struct encoded encoded[CORPUS_PARTS] = {0};
	struct token_range whole[CORPUS_PARTS] = {0}, range[N_TOKEN_PART];
	const int rc = encode(encoded, tokens, corpus, setting, tokenizer, err);
	for (int p = 0; p < corpus->n_part; p++) {
		const struct encoded *e = &encoded[p];
		whole[p] = (struct token_range){e->ids.id, sizeof(*e->ids.id), 0, e->ids.n, e->document, e->n_document};
	}
	if (!rc) {
		cut(range, whole, corpus->n_part);
		token_image_make(tokens, range);
	}
	for (int p = 0; p < CORPUS_PARTS; p++)
		encoded_release(&encoded[p]);
	return rc;
}

static void make_bytes(struct tokens *tokens, const struct corpus *corpus)
{
	struct token_range whole[CORPUS_PARTS] = {0}, range[N_TOKEN_PART];
	for (int p = 0; p < corpus->n_part; p++) {
		const struct text *text = &corpus->part[p];
		whole[p] =
		        (struct token_range){text->bytes.bytes, 1, 0, text->bytes.n, text->document, text->n_document};
	}
	tokens->n_vocab = tokens->end = 256;
	cut(range, whole, corpus->n_part);
	token_image_make(tokens, range);
}

static int make_text(struct tokens *tokens, const struct corpus *corpus, const struct tokens_setting *setting,
        const struct tokenizer *tokenizer, struct err *err)
{
	struct identity id;
	char key[HASH_TEXT];
	identify(&id, corpus, setting, tokenizer);
	tokens->hash = hash_content(&id, corpus, setting);
	if (setting->kind == TOKENS_BYTES) {
		make_bytes(tokens, corpus);
		return 0;
	}
	cache_key(key, id, corpus);
	if (token_image_read(tokens, key))
		return 0;
	if (make_encoded(tokens, corpus, setting, tokenizer, err))
		return -1;
	token_image_write(tokens, key);
	return 0;
}

static int open_text(
        struct tokens *tokens, const struct tokens_setting *setting, const struct tokenizer *tokenizer, struct err *err)
{
	struct corpus corpus;
	int rc = corpus_read(&corpus, setting->corpus, setting->path, setting->kind != TOKENS_BYTES, err);
	if (!rc)
		rc = make_text(tokens, &corpus, setting, tokenizer, err);
	tokens->name = corpus.name;
	corpus_release(&corpus);
	return rc;
}

// --- token files ---------------------------------------------------------------------------------------------------

struct token_paths {
	char path[2][PATH_TEXT * 2];
	int n;
};

// Which token files a path means: itself, the pair in a folder, or none.
static int find_token_files(struct token_paths *pair, const char *path, struct err *err)
{
	static const char ending[] = "_train.bin";
	char pattern[PATH_TEXT * 2 + 16];
	struct stat info;
	glob_t found;
	pair->n = 0;
	if (stat(path, &info))
		return 0; // said by who opens it
	if (!S_ISDIR(info.st_mode)) {
		snprintf(pair->path[0], sizeof(pair->path[0]), "%s", path);
		pair->n = token_file_is(path);
		return 0;
	}
	snprintf(pattern, sizeof(pattern), "%s/*%s", path, ending);
	if (glob(pattern, 0, NULL, &found))
		return 0;
	const size_t n = strlen(found.gl_pathv[0]) - strlen(ending);
	int rc = 0;
	if (found.gl_pathc > 1 || n + sizeof(ending) > sizeof(pair->path[0]))
		rc = err_set(err, "%s: has several files *%s: name a folder with one pair, or one file", path, ending);
	else
		pair->n = 2;
	for (int i = 0; i < pair->n; i++)
		snprintf(pair->path[i], sizeof(pair->path[i]), "%.*s%s", (int)n, found.gl_pathv[0],
		        i ? "_val.bin" : ending);
	globfree(&found);
	return rc;
}

// Documents lie between end tokens.
static struct document *find_documents(size_t *n_document, const struct token_file *file, int end)
{
	struct text list = {0};
	size_t from = 0;
	for (size_t i = 0; i <= file->n; i++)
		if (i == file->n || token_file_id(file, i) == end) {
			text_add_document(&list, from, i);
			from = i + 1;
		}
	*n_document = list.n_document;
	return list.document;
}

static void make_files(struct tokens *tokens, const struct token_file *file, int n)
{
	struct token_range whole[2] = {0}, range[N_TOKEN_PART];
	struct document *document[2] = {NULL, NULL};
	uint64_t hash[3] = {(uint64_t)n};
	for (int i = 0; i < n; i++) {
		size_t n_document;
		document[i] = find_documents(&n_document, &file[i], tokens->end);
		whole[i] = (struct token_range){file[i].id, file[i].width, 0, file[i].n, document[i], n_document};
		hash[1 + i] = hash_u64(file[i].id, file[i].n * (size_t)file[i].width);
	}
	tokens->hash = hash_u64(hash, sizeof(hash));
	cut(range, whole, n);
	token_image_make(tokens, range);
	free(document[0]);
	free(document[1]);
}

static int open_files(
        struct tokens *tokens, const struct token_paths *pair, const struct tokenizer *tokenizer, struct err *err)
{
	struct token_file file[2] = {0};
	int rc = 0;
	tokens->n_vocab = tokenizer ? tokenizer_n_vocab(tokenizer) : 0;
	for (int i = 0; i < pair->n && !rc; i++) {
		rc = token_file_open(&file[i], pair->path[i], err);
		if (!rc && tokenizer)
			rc = token_file_check(&file[i], pair->path[i], tokens->n_vocab, err);
		else if (!rc && tokens->n_vocab <= file[i].id_most)
			tokens->n_vocab = file[i].id_most + 1;
	}
	if (!rc && pair->n == 2 && file[0].end != file[1].end)
		rc = err_set(err, "%s: is of another format than %s", pair->path[1], pair->path[0]);
	tokens->end = tokenizer && tokenizer_eos(tokenizer) >= 0 ? tokenizer_eos(tokenizer) : file[0].end;
	if (!rc)
		make_files(tokens, file, pair->n);
	token_file_close(&file[0]);
	token_file_close(&file[1]);
	return rc;
}

// --- both ----------------------------------------------------------------------------------------------------------

static int open_tokenizer(struct tokenizer **tokenizer, const struct tokens_setting *setting,
        const struct token_paths *pair, struct err *err)
{
	char path[PATH_TEXT * 2];
	*tokenizer = NULL;
	if (pair->n && setting->kind != TOKENS_BPE)
		return err_set(err, "path: %s is a token file: say tokens: bpe", pair->path[0]);
	if (setting->kind != TOKENS_BPE || (pair->n && !*setting->tokenizer))
		return 0;
	if (!*setting->tokenizer)
		return err_set(err, "tokenizer: tokens: bpe needs the folder or file of one");
	if (corpus_locate(path, "tokenizer", setting->tokenizer, err))
		return -1;
	return tokenizer_open(tokenizer, path, NULL, err);
}

int tokens_open(struct tokens *tokens, const struct tokens_setting *setting, struct err *err)
{
	char path[PATH_TEXT * 2];
	struct token_paths pair = {.n = 0};
	struct tokenizer *tokenizer;
	*tokens = (struct tokens){.name = setting->path};
	if (setting->corpus == CORPUS_FILE && !*setting->path)
		return err_set(err, "path: corpus: file needs the path of a text, a folder or a token file");
	if (setting->corpus != CORPUS_FILE && *setting->path)
		return err_set(err, "path: is for corpus: file alone");
	if (setting->corpus == CORPUS_FILE && find_token_files(&pair, corpus_path(path, setting->path), err))
		return -1;
	if (open_tokenizer(&tokenizer, setting, &pair, err))
		return -1;
	const int rc = pair.n ? open_files(tokens, &pair, tokenizer, err) : open_text(tokens, setting, tokenizer, err);
	if (tokenizer)
		tokenizer_free(tokenizer);
	return rc;
}

void tokens_close(struct tokens *tokens)
{
	if (tokens->is_mapped)
		munmap(tokens->block, tokens->block_bytes);
	else
		free(tokens->block);
	*tokens = (struct tokens){0};
}

// --- once per process ----------------------------------------------------------------------------------------------

struct loaded {
	struct tokens tokens;
	struct tokens_setting setting;
	struct loaded *next;
};

static int is_same(const struct tokens_setting *a, const struct tokens_setting *b)
{
	return a->corpus == b->corpus && a->kind == b->kind && a->min_count == b->min_count &&
	       a->n_vocab_most == b->n_vocab_most && a->is_by_document == b->is_by_document &&
	       strcmp(a->path, b->path) == 0 && strcmp(a->tokenizer, b->tokenizer) == 0;
}

int tokens_load(const struct tokens **tokens, const struct tokens_setting *setting, struct err *err)
{
	static struct loaded *first;
	for (const struct loaded *l = first; l; l = l->next)
		if (is_same(&l->setting, setting)) {
			*tokens = &l->tokens;
			return 0;
		}
	struct loaded *l = malloc(sizeof(*l));
	if (!l)
		die_no_memory(sizeof(*l));
	*l = (struct loaded){.setting = *setting, .next = first};
	l->setting.path = strdup(setting->path);
	l->setting.tokenizer = strdup(setting->tokenizer);
	if (!l->setting.path || !l->setting.tokenizer)
		die_no_memory(PATH_TEXT);
	const int rc = tokens_open(&l->tokens, &l->setting, err);
	if (rc) {
		free((char *)l->setting.path);
		free((char *)l->setting.tokenizer);
		free(l);
		return -1;
	}
	first = l;
	*tokens = &l->tokens;
	return 0;
}
