// SPDX-License-Identifier: MIT
// The real tokenizers, where the environment variable DATA names a folder that has them: GPT-2's known ids
// (tokenizers/gpt2/test_strings), the reference's ids of our strings, and real text there and back.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/text/file.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/text/golden.h"

enum { PATH_ROOM = 600 };

static const char *path_of(char out[PATH_ROOM], const char *file)
{
	snprintf(out, PATH_ROOM, "%s/%s", getenv("DATA"), file);
	return out;
}

// Strings between lines of a separator; ids a line each.
static void gpt2_gives_the_known_ids(void **state UNUSED)
{
	static const char between[] = "\n__ggml_vocab_test__\n";
	char path[PATH_ROOM], *strings, *ids_text;
	size_t n, n_ids;
	int n_string = 0;
	struct err err = {0};
	struct tokenizer *t = open_tokenizer(path_of(path, "tokenizers/gpt2"), NULL);
	struct encoder *e = encoder_new(t);
	assert_int_equal(file_read(&strings, &n, path_of(path, "tokenizers/gpt2/test_strings.inp"), &err), 0);
	assert_int_equal(file_read(&ids_text, &n_ids, path_of(path, "tokenizers/gpt2/test_strings.out"), &err), 0);
	const char *line = ids_text;
	for (char *at = strings, *end; at; at = end ? end + strlen(between) : NULL) {
		struct token_ids ids = {0};
		end = strstr(at, between);
		const size_t length = end ? (size_t)(end - at) : strlen(at);
		if (!end && length == 0)
			break;
		assert_int_equal(encoder_run(e, at, length, 0, &ids, &err), 0);
		for (size_t i = 0; i < ids.n; i++)
			assert_int_equal(strtol(line, (char **)&line, 10), ids.id[i]);
		while (*line == ' ')
			line++;
		assert_int_equal(*line, '\n');
		line++;
		n_string++;
		free(ids.id);
	}
	assert_int_equal(n_string, 46);
	free(strings);
	free(ids_text);
	encoder_free(e);
	tokenizer_free(t);
}

static void ids_are_those_of_the_reference(void **state UNUSED)
{
	static const char *const families[] = {"tokenizers/qwen", "qwen2", NULL};
	char folder[PATH_ROOM];
	assert_int_equal(check_goldens(TOKENIZERS "goldens_data.txt", path_of(folder, ""), families), 374);
}

static const struct {
	const char *tokenizer, *family;
	int is_partial; // NeoX has no token for 13 bytes that are in no UTF-8
} rows[] = {{"tokenizers/gpt2", NULL, 0}, {"tokenizers/gpt-neox/20B_tokenizer.json", NULL, 1},
        {"tokenizers/qwen", "qwen2", 0}, {"stories260k/tok512.bin", NULL, 0}};

static void real_text_and_any_bytes_come_back(void **state UNUSED)
{
	static const char *const texts[] = {"wikitext-2/valid.txt", "tinyshakespeare/input.txt",
	        "wikitext-103-raw-head/wikitext_1000.json", "tinystories/tinystories_1000.json"};
	char path[PATH_ROOM], *text, *bytes = malloc(4100);
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 1);
	struct err err = {0};
	size_t n;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tokenizer *t = open_tokenizer(path_of(path, rows[i].tokenizer), rows[i].family);
		struct encoder *e = encoder_new(t);
		for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
			if (file_read(&text, &n, path_of(path, texts[k]), &err))
				fail_msg("%s", err.message);
			assert_true(check_round_trip(t, e, text, n, 0));
			free(text);
		}
		int n_encoded = 0;
		for (int round = 0; round < 200; round++)
			n_encoded += check_round_trip(
			        t, e, bytes, random_text(bytes, rng_below(&rng, 200), &rng), rows[i].is_partial);
		assert_true(n_encoded > (rows[i].is_partial ? 10 : 199));
		encoder_free(e);
		tokenizer_free(t);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(gpt2_gives_the_known_ids),
	        cmocka_unit_test(ids_are_those_of_the_reference),
	        cmocka_unit_test(real_text_and_any_bytes_come_back),
	};
	char path[PATH_ROOM];
	if (!getenv("DATA") || access(path_of(path, "tokenizers/gpt2"), F_OK)) {
		puts("DATA names no folder with tokenizers/gpt2");
		return 77;
	}
	return cmocka_run_group_tests_name("tokenizers of DATA", tests, NULL, NULL);
}
