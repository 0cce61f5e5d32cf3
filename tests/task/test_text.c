// SPDX-License-Identifier: MIT
// The task over texts: windows and padded documents against the tokens that they are of.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/registry.h"
#include "harness/text/tokens.h"
#include "tests/model/build.h"
#include "tests/test.h"
#include "tests/text/made.h"

enum { N_LINE = 4000, LENGTH = 20 };
static const enum rng_purpose purpose[] = {RNG_TRAIN, RNG_VALIDATION, RNG_TEST};
static struct arena arena;
static char *folder, *book;
static size_t n_book;

// Paragraphs of one to four lines of one to six words, a few of the letters two bytes long.
static void write_book(void)
{
	FILE *out = open_memstream(&book, &n_book);
	struct rng rng = rng_make(5, RNG_CHECK, 0);
	for (int i = 0; i < N_LINE; i++) {
		for (uint32_t w = rng_below(&rng, 6) + 1; w > 0; w--)
			fprintf(out, "%c%s%s", 'a' + (int)rng_below(&rng, 26), rng_below(&rng, 9) ? "b" : "\xc3\xa9",
			        w > 1 ? " " : "\n");
		fputs(rng_below(&rng, 3) ? "" : "\n", out);
	}
	assert_int_equal(fclose(out), 0);
	made_file(folder, "book.txt", book, n_book);
	made_file(folder, "tinyshakespeare/input.txt", book, n_book);
}

static const void *configure(const char *settings)
{
	const struct task *task = task_find("text");
	void *config = arena_zalloc(&arena, task->config_bytes);
	options_init(task->options, config);
	build_options(task->options, config, settings);
	return config;
}

static struct task_shape shape_of(const void *config)
{
	struct err err = {0};
	if (task_find("text")->check(config, &err))
		fail_msg("%s", err.message);
	return task_find("text")->shape(config);
}

// Window after window of each part, no byte of one part ever read for another, none left out but a window's worth.
static void windows_cover_their_part_and_nothing_else(void **state UNUSED)
{
	const size_t twentieth = n_book / 20;
	const size_t from[] = {0, 18 * twentieth, 19 * twentieth}, to[] = {18 * twentieth, 19 * twentieth, n_book};
	const struct task *task = task_find("text");
	const void *config = configure("corpus=tinyshakespeare length=20");
	const struct task_shape shape = shape_of(config);
	const long n[] = {shape.n_train, shape.n_validation, shape.n_test};
	assert_true(shape.n_vocab == 256 && shape.T == LENGTH && shape.n_target == LENGTH && shape.is_partitioned);
	assert_true(shape.n_slice <= 1);
	for (int p = 0; p < 3; p++) {
		const size_t covered = (size_t)n[p] * LENGTH, there = to[p] - from[p];
		assert_true(covered < there && covered + LENGTH >= there);
		for (long w = 0; w < n[p]; w++) {
			int tokens[LENGTH], targets[LENGTH];
			task->draw(config, (uint64_t)w, purpose[p], (uint64_t)w, tokens, targets);
			for (int t = 0; t < LENGTH; t++) {
				const size_t at = from[p] + (size_t)(w * LENGTH + t);
				assert_true(at + 1 < to[p]);
				assert_int_equal(tokens[t], (unsigned char)book[at]);
				assert_int_equal(targets[t], (unsigned char)book[at + 1]);
			}
		}
	}
}

static void other_tokens_fill_windows_too(void **state UNUSED)
{
	static const char *const settings[] = {"corpus=tinyshakespeare length=20 tokens=characters",
	        "corpus=tinyshakespeare length=20 tokens=words min_count=3"};
	static const enum token_kind kind[] = {TOKENS_CHARACTERS, TOKENS_WORDS};
	for (int i = 0; i < 2; i++) {
		struct tokens tokens;
		struct err err = {0};
		const struct tokens_setting setting = {
		        CORPUS_TINYSHAKESPEARE, kind[i], i ? 3 : 0, .path = "", .tokenizer = ""};
		const void *config = configure(settings[i]);
		const struct task_shape shape = shape_of(config);
		assert_int_equal(tokens_open(&tokens, &setting, &err), 0);
		assert_int_equal(shape.n_vocab, tokens.n_vocab);
		assert_int_equal(shape.n_train, (tokens.part[PART_TRAIN].n - 1) / LENGTH);
		for (long w = 0; w < shape.n_test; w++) {
			int row[LENGTH], targets[LENGTH];
			task_find("text")->draw(config, 1, RNG_TEST, (uint64_t)w, row, targets);
			for (int t = 0; t < LENGTH; t++) {
				const size_t at = (size_t)(w * LENGTH + t);
				assert_int_equal(row[t], tokens_at(&tokens, &tokens.part[PART_TEST], at));
				assert_int_equal(targets[t], tokens_at(&tokens, &tokens.part[PART_TEST], at + 1));
			}
		}
		tokens_close(&tokens);
	}
}

// Whether some paragraph of the book begins with these bytes, or is these bytes.
static int has_paragraph(const char *bytes, size_t n, int is_whole)
{
	const char *end = book + n_book;
	for (const char *at = book; (at = memmem(at, (size_t)(end - at), bytes, n)); at++) {
		const int begins = at == book || (at > book + 1 && at[-1] == '\n' && at[-2] == '\n');
		const int ends = at[n - 1] == '\n' && (at + n == end || at[n] == '\n');
		if (begins && (ends || !is_whole))
			return 1;
	}
	return 0;
}

// A padded sequence is the beginning of a paragraph, its line end the last byte that is no padding.
static void expect_padded(const int *tokens, const int *targets)
{
	char bytes[LENGTH + 1];
	size_t n = 0;
	for (int t = 0; t <= LENGTH; t++) {
		const int token = t < LENGTH ? tokens[t] : targets[LENGTH - 1];
		if (t && t < LENGTH)
			assert_int_equal(tokens[t], targets[t - 1]);
		assert_in_range(token, 0, 256);
		if (token != 256)
			assert_int_equal(n, t); // nothing after padding
		if (token != 256)
			bytes[n++] = (char)token;
	}
	assert_true(has_paragraph(bytes, n, n <= LENGTH));
}

static void padded_documents_are_whole_or_cut(void **state UNUSED)
{
	const struct task *task = task_find("text");
	const void *config = configure("corpus=tinyshakespeare length=20 documents=padded");
	const struct task_shape shape = shape_of(config),
	                        packed = shape_of(configure("corpus=tinyshakespeare length=20"));
	const long n[] = {shape.n_train, shape.n_validation, shape.n_test};
	long n_padding = 0, n_target = 0;
	assert_int_equal(shape.n_vocab, 257);
	assert_int_equal(shape.n_slice, 2);
	assert_true(shape.content_hash == packed.content_hash); // how a named corpus is cut, its name says
	assert_true(shape.n_validation % 2 == 0 && shape.n_validation <= 2 * packed.n_validation);
	for (int p = 0; p < 3; p++)
		for (long i = 0; i < n[p]; i++) {
			int tokens[LENGTH], targets[LENGTH], windows[LENGTH], next[LENGTH];
			task->draw(config, 1, purpose[p], (uint64_t)i, tokens, targets);
			for (int t = 0; t < LENGTH; t++) {
				n_padding += targets[t] == 256;
				n_target++;
			}
			if (p == 0 || i % 2 == 1) {
				expect_padded(tokens, targets);
				continue;
			}
			// The other slice: some window of the packed task, in order.
			int is_found = 0;
			for (long w = i / 2; w < (p == 1 ? packed.n_validation : packed.n_test) && !is_found; w++) {
				task->draw(configure("corpus=tinyshakespeare length=20"), 1, purpose[p], (uint64_t)w,
				        windows, next);
				is_found = !memcmp(tokens, windows, sizeof(tokens)) &&
				           !memcmp(targets, next, sizeof(next));
			}
			assert_true(is_found);
		}
	assert_true(n_padding > n_target / 20);
	char name[2][40];
	task->slice_name(config, 0, name[0], sizeof(name[0]));
	task->slice_name(config, 1, name[1], sizeof(name[1]));
	assert_string_equal(name[0], "documents=packed");
	assert_string_equal(name[1], "documents=padded");
}

// No two sequences of a slice are the same place, and places of the whole part are among them.
static void slices_are_spread_over_their_part(void **state UNUSED)
{
	const struct task *task = task_find("text");
	const void *config = configure("corpus=tinyshakespeare length=5 documents=padded");
	const struct task_shape shape = shape_of(config);
	const struct task_shape packed = shape_of(configure("corpus=tinyshakespeare length=5"));
	int tokens[5], targets[5], last[5], next[5];
	assert_true(shape.n_test / 2 < packed.n_test / 2); // fewer documents than windows: not all windows are used
	task->draw(config, 1, RNG_TEST, (uint64_t)shape.n_test - 2, tokens, targets);
	int where = -1;
	for (long w = 0; w < packed.n_test; w++) {
		task->draw(configure("corpus=tinyshakespeare length=5"), 1, RNG_TEST, (uint64_t)w, last, next);
		where = memcmp(tokens, last, sizeof(last)) || memcmp(targets, next, sizeof(next)) ? where : (int)w;
	}
	assert_true(where > packed.n_test - 2 * packed.n_test / (shape.n_test / 2) - 2);
}

static void refuse(const char *settings, const char *a, const char *b)
{
	struct err err = {0};
	assert_int_equal(task_find("text")->check(configure(settings), &err), -1);
	assert_false(err.is_fault);
	if (!strstr(err.message, a) || !strstr(err.message, b))
		fail_msg("%s: '%s' does not say '%s' and '%s'", settings, err.message, a, b);
}

static void what_cannot_be_is_refused(void **state UNUSED)
{
	refuse("corpus=tinyshakespeare length=5000", "holds no window of 5000", "make length smaller");
	refuse("corpus=file", "path", "needs the path");
	refuse("corpus=file path=nosuch.txt", "nosuch.txt", "No such file");
	refuse("path=book.txt", "path", "corpus: file alone");
	refuse("corpus=tinyshakespeare tokens=bpe", "tokenizer", "needs");
	refuse("corpus=tinyshakespeare tokens=bpe tokenizer=nosuch", "nosuch", "is not on this machine");
	refuse("corpus=tinyshakespeare tokens=words n_vocab_most=2", "n_vocab_most", "no word");
	refuse("corpus=wikitext-103", "wikitext-103", "set DATA");
	made_text_file(folder, "one.txt", "");
	refuse("corpus=file path=one.txt", "one.txt", "empty");
	char flat[1000];
	made_file(folder, "flat.txt", memset(flat, 'x', sizeof(flat)), sizeof(flat));
	refuse("corpus=file path=flat.txt length=8 documents=padded", "flat.txt", "no whole document");
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	folder = made_folder();
	write_book();
	return 0;
}

static int teardown(void **state UNUSED)
{
	arena_release(&arena);
	made_remove(folder);
	free(book);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(windows_cover_their_part_and_nothing_else),
	        cmocka_unit_test(other_tokens_fill_windows_too),
	        cmocka_unit_test(padded_documents_are_whole_or_cut),
	        cmocka_unit_test(slices_are_spread_over_their_part),
	        cmocka_unit_test(what_cannot_be_is_refused),
	};
	return cmocka_run_group_tests_name("texts", tests, setup, teardown);
}
