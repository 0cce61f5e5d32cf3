// SPDX-License-Identifier: MIT
// Real texts, where the environment variable DATA names a folder that has them: sizes, vocabularies and documents as
// published, or as counted by Python's str.split() and lower() and the `tokenizers` package.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/text/tokens.h"
#include "tests/test.h"
#include "tests/text/made.h"

static char *folder;

struct expected {
	const char *needs; // below DATA
	struct tokens_setting setting;
	int n_vocab;
	size_t n[N_TOKEN_PART], n_document[N_TOKEN_PART];
	int token[3]; // of the training part, at 1000, 10000 and 100000
};

static const struct expected rows[] = {
        // Reference B.2.3 says about 29K words. 600, 60 and 60 articles are WikiText-2's published numbers.
        {"wikitext-2/valid.txt", {CORPUS_WIKITEXT_2, TOKENS_WORDS, 2, 0, 0, "", ""}, 28906, {2024702, 211179, 238039},
                {600, 60, 60}, {19, 5445, 4}},
        {"wikitext-2/valid.txt", {CORPUS_WIKITEXT_2, TOKENS_BYTES, 0, 0, 0, "", ""}, 256, {10797148, 1121681, 1256449},
                {600, 60, 60}, {114, 109, 46}},
        {"wikitext-2/valid.txt", {CORPUS_WIKITEXT_2, TOKENS_BPE, 0, 0, 0, "", "tokenizers/gpt2"}, 50257,
                {2448382, 258659, 295877}, {0, 0, 0}, {29347, 3432, 29}},
        // Reference D.5: 65 symbols, 1,115,394 characters.
        {"tinyshakespeare/input.txt", {CORPUS_TINYSHAKESPEARE, TOKENS_CHARACTERS, 0, 0, 0, "", ""}, 65,
                {1003842, 55769, 55783}, {6282, 439, 499}, {31, 47, 1}},
        {"tinystories/tinystories_1000.json", {CORPUS_TINYSTORIES, TOKENS_BPE, 0, 0, 0, "", "tokenizers/gpt2"}, 50257,
                {213606, 11867, 11871}, {928, 26, 44}, {1660, 1550, 3283}},
};

static void texts_are_as_others_count_them(void **state)
{
	const struct expected *row = *state;
	struct tokens tokens;
	struct err err = {0};
	if (access(made_path(getenv("DATA"), row->needs), F_OK))
		skip();
	if (tokens_open(&tokens, &row->setting, &err))
		fail_msg("%s", err.message);
	assert_int_equal(tokens.n_vocab, row->n_vocab);
	for (int p = 0; p < N_TOKEN_PART; p++) {
		assert_int_equal(tokens.part[p].n, row->n[p]);
		assert_int_equal(tokens.part[p].n_document, row->n_document[p]);
	}
	for (int i = 0, at = 1000; i < 3; i++, at *= 10)
		assert_int_equal(tokens_at(&tokens, &tokens.part[PART_TRAIN], (size_t)at), row->token[i]);
	tokens_close(&tokens);
}

int main(void)
{
	enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
	const char *data = getenv("DATA");
	struct CMUnitTest tests[ROWS];
	if (!data || !*data) {
		puts("DATA names no folder with texts");
		return 77;
	}
	char *kept = strdup(data);
	folder = made_folder(); // for its cache
	setenv("DATA", kept, 1);
	for (int i = 0; i < ROWS; i++)
		tests[i] = (struct CMUnitTest){
		        rows[i].needs, texts_are_as_others_count_them, NULL, NULL, (void *)&rows[i]};
	const int n_failed = cmocka_run_group_tests_name("texts of DATA", tests, NULL, NULL);
	made_remove(folder);
	free(kept);
	return n_failed;
}
