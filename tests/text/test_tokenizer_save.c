// SPDX-License-Identifier: MIT
// A tokenizer.json that is printed from parts gives the ids of the one that the parts are from: the goldens of the
// Hugging Face package, for each family.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/arena.h"
#include "harness/base/json.h"
#include "harness/text/file.h"
#include "harness/text/tokenizer_save.h"
#include "tests/test.h"
#include "tests/text/golden.h"
#include "tests/weights/files.h"

static const struct source {
	const char *file, *family; // by GGUF's name
} sources[] = {
        {"gpt2.json", "gpt-2"}, {"gpt_neox.json", "gpt_neox"}, {"llama3.json", "llama-bpe"}, {"smollm.json", "smollm"}};
enum { SOURCES = sizeof(sources) / sizeof(sources[0]) };

static struct arena arena;
static char *folder;

static struct doc *read_fixture(const char *file)
{
	struct err err = {0};
	struct doc *root;
	char path[200], *text;
	size_t n;
	snprintf(path, sizeof(path), TOKENIZERS "%s", file);
	if (file_read(&text, &n, path, &err) || doc_read(&root, path, text, n, DOC_ZERO_BYTES, &err))
		fail_msg("%s", err.message);
	free(text);
	return root;
}

static const char *copy(const struct doc *text)
{
	return arena_strdup(&arena, doc_text(text, NULL));
}

// One above the largest id: added tokens may stand behind the vocabulary.
static int n_id(const struct doc *vocabulary, const struct doc *added)
{
	long long id, most = (long long)doc_count(vocabulary) - 1;
	for (size_t i = 0; i < doc_count(added); i++)
		if (doc_integer(doc_member(doc_at(added, i), "id"), &id) == 0 && id > most)
			most = id;
	return (int)most + 1;
}

// What a GGUF file would say of the tokenizer.
static struct tokenizer_parts parts_of(const struct doc *root, const char *family)
{
	const struct doc *model = doc_member(root, "model"), *vocabulary = doc_member(model, "vocab"),
	                 *merges = doc_member(model, "merges"), *added = doc_member(root, "added_tokens");
	const int n = n_id(vocabulary, added);
	const char **token = arena_zalloc(&arena, (size_t)n * sizeof(*token)),
	           **merge = arena_zalloc(&arena, doc_count(merges) * sizeof(*merge));
	unsigned char *is_added = arena_zalloc(&arena, (size_t)n), *is_special = arena_zalloc(&arena, (size_t)n);
	for (struct doc_walk w = {vocabulary}; doc_next(&w);) {
		long long id;
		assert_int_equal(doc_integer(w.member, &id), 0);
		assert_true(id >= 0 && id < n);
		token[id] = arena_strdup(&arena, w.key);
	}
	for (size_t i = 0; i < doc_count(merges); i++) {
		const struct doc *m = doc_at(merges, i);
		merge[i] = doc_kind(m) == DOC_TEXT ? copy(m)
		                                   : arena_printf(&arena, "%s %s", doc_text(doc_at(m, 0), NULL),
		                                             doc_text(doc_at(m, 1), NULL));
	}
	struct tokenizer_parts parts = {.family = family,
	        .n_token = n,
	        .token = token,
	        .is_added = is_added,
	        .is_special = is_special,
	        .n_merge = (int)doc_count(merges),
	        .merge = merge,
	        .bos = -1,
	        .eos = -1};
	for (size_t i = 0; i < doc_count(added); i++) {
		long long id = -1;
		assert_int_equal(doc_integer(doc_member(doc_at(added, i), "id"), &id), 0);
		assert_true(id >= 0 && id < n);
		is_added[id] = 1;
		is_special[id] = (unsigned char)doc_is_true(doc_member(doc_at(added, i), "special"));
		token[id] = copy(doc_member(doc_at(added, i), "content"));
		if (strcmp(token[id], "<|begin_of_text|>") == 0)
			parts.bos = (int)id;
	}
	parts.puts_bos = parts.bos >= 0;
	return parts;
}

static void write_from_parts(const struct source *source)
{
	struct err err = {0};
	struct doc *root = read_fixture(source->file);
	const struct tokenizer_parts parts = parts_of(root, source->family);
	FILE *out = fopen(arena_printf(&arena, "%s/%s", folder, source->file), "w");
	assert_non_null(out);
	if (tokenizer_print(out, &parts, &err))
		fail_msg("%s", err.message);
	fclose(out);
	doc_free(root);
}

static void ids_are_those_of_the_source(void **state UNUSED)
{
	static const char *const no_families[] = {NULL};
	const char *list = arena_printf(&arena, "%s/goldens", folder);
	struct bytes all = bytes_of_file(TOKENIZERS "goldens.txt");
	FILE *out = fopen(list, "w");
	int n = 0;
	assert_non_null(out);
	bytes_add(&all, "", 1);
	for (int i = 0; i < SOURCES; i++) {
		write_from_parts(&sources[i]);
		for (char *line = (char *)all.data, *end; (end = strchr(line, '\n')); line = end + 1)
			if (strncmp(line, sources[i].file, strlen(sources[i].file)) == 0) {
				fwrite(line, 1, (size_t)(end - line + 1), out);
				n++;
			}
	}
	fclose(out);
	free(all.data);
	assert_true(n > 200);
	char *below = arena_printf(&arena, "%s/", folder);
	assert_int_equal(check_goldens(list, below, no_families), n);
}

static void what_begins_and_ends_a_text_is_kept(void **state UNUSED)
{
	struct doc *root = read_fixture("llama3.json");
	struct tokenizer_parts parts = parts_of(root, "llama3");
	parts.eos = parts.bos + 1;
	FILE *out = fopen(arena_printf(&arena, "%s/tokenizer.json", folder), "w");
	FILE *config = fopen(arena_printf(&arena, "%s/tokenizer_config.json", folder), "w");
	struct err err = {0};
	assert_non_null(out);
	assert_non_null(config);
	assert_int_equal(tokenizer_print(out, &parts, &err), 0);
	tokenizer_print_config(config, &parts);
	fclose(out);
	fclose(config);
	doc_free(root);
	struct tokenizer *t = open_tokenizer(folder, NULL);
	assert_int_equal(tokenizer_bos(t), parts.bos);
	assert_int_equal(tokenizer_eos(t), parts.eos);
	struct encoder *e = encoder_new(t);
	struct token_ids ids = {0};
	assert_int_equal(encoder_run(e, "a", 1, ENCODE_TEMPLATE, &ids, &err), 0);
	assert_true(ids.n == 2 && ids.id[0] == parts.bos);
	free(ids.id);
	encoder_free(e);
	tokenizer_free(t);
}

static void an_unknown_way_to_split_is_refused(void **state UNUSED)
{
	struct err err = {0};
	const struct tokenizer_parts parts = {.family = "deepseek-llm", .bos = -1, .eos = -1};
	assert_int_equal(tokenizer_print(stderr, &parts, &err), -1);
	assert_string_equal(err.message,
	        "text split as 'deepseek-llm' is not known here: gpt2, gpt_neox, qwen2, llama3 or smollm are");
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	folder = folder_make();
	return 0;
}

static int teardown(void **state UNUSED)
{
	folder_remove(folder);
	arena_release(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(ids_are_those_of_the_source),
	        cmocka_unit_test(what_begins_and_ends_a_text_is_kept),
	        cmocka_unit_test(an_unknown_way_to_split_is_refused),
	};
	return cmocka_run_group_tests_name("saved tokenizers", tests, setup, teardown);
}
