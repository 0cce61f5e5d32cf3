// SPDX-License-Identifier: MIT
// Corpora: where they are found, packed or not; what they are cut into; what is said of those that cannot be read.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/text/corpus.h"
#include "tests/test.h"
#include "tests/text/made.h"

static char *folder;

static void read_file_corpus(struct corpus *corpus, const char *path, int is_utf8)
{
	struct err err = {0};
	if (corpus_read(corpus, CORPUS_FILE, path, is_utf8, &err))
		fail_msg("%s", err.message);
}

static void expect_refused(enum corpus_id id, const char *path, int is_utf8, const char *a, const char *b)
{
	struct corpus corpus;
	struct err err = {0};
	assert_int_equal(corpus_read(&corpus, id, path, is_utf8, &err), -1);
	corpus_release(&corpus);
	assert_false(err.is_fault);
	if (!strstr(err.message, a) || !strstr(err.message, b))
		fail_msg("'%s' does not say '%s' and '%s'", err.message, a, b);
}

// Documents of a text, as "[a][b]".
static void expect_documents(const struct text *text, const char *expected)
{
	char found[4000] = "";
	size_t n = 0;
	for (size_t d = 0; d < text->n_document; d++)
		n += (size_t)snprintf(found + n, sizeof(found) - n, "[%.*s]",
		        (int)(text->document[d].to - text->document[d].from),
		        text->bytes.bytes + text->document[d].from);
	assert_string_equal(found, expected);
}

static void cut(document_rule *rule, const char *bytes, const char *expected)
{
	struct text text = {0};
	struct err err = {0};
	bytes_append(&text.bytes, bytes, strlen(bytes));
	if (rule(&text, "made", &err))
		fail_msg("%s", err.message);
	expect_documents(&text, expected);
	text_release(&text);
}

static void texts_are_cut_into_documents(void **state UNUSED)
{
	cut(cut_paragraphs, "\n \na\nb\n\n\n  c\n\t\nd", "[a\nb\n][  c\n][d]");
	cut(cut_paragraphs, "", "");
	cut(cut_paragraphs, " \n\t\n", "");
	cut(cut_paragraphs, "a", "[a]");
	cut(cut_entries, "  head\n\nword\n   1. x\n\n   2. y\n\n\nnext\nnot new\n",
	        "[  head\n][word\n   1. x\n\n   2. y\n][next\nnot new\n]");
	cut(cut_articles, " \n = One = \n \n text\n = = Part = = \n \n more = \n \n = Two = \n \n t\n",
	        "[ = One = \n \n text\n = = Part = = \n \n more = \n][ = Two = \n \n t\n]");
	// In a row, or without a blank line on both sides, a line that looks like a title is none.
	cut(cut_articles, " = One = \n \n = a ; b = \n = c ; d = \n \n x\n",
	        "[ = One = \n \n = a ; b = \n = c ; d = \n \n x\n]");
	cut(cut_articles, " \n = T", "[ = T]");
	cut(cut_stories, "One.\n<|endoftext|>\n\nTwo. \n\nMore.<|endoftext|>\n \n<|endoftext|>",
	        "[One.][Two. \n\nMore.]");
	cut(cut_stories, "[\"a\\nb \", \"\", \" \\u00e9\"]", "[a\nb][\xc3\xa9]");
}

static void stories_that_are_none_are_refused(void **state UNUSED)
{
	made_text_file(folder, "tinystories/tinystories_a.json", "[\"a\", 3]");
	expect_refused(CORPUS_TINYSTORIES, "", 0, "tinystories_a.json", "item 1 of the list is not a text");
	made_text_file(folder, "tinystories/tinystories_a.json", "[\"a\", ");
	expect_refused(CORPUS_TINYSTORIES, "", 0, "tinystories_a.json", ":1:");
	made_text_file(folder, "tinystories/tinystories_a.json", "[]");
	expect_refused(CORPUS_TINYSTORIES, "", 0, "tinystories", "empty");
	remove(made_path(folder, "tinystories/tinystories_a.json"));
}

static void folders_are_read_in_the_order_of_names(void **state UNUSED)
{
	struct corpus corpus;
	made_text_file(folder, "books/b.txt", "second\n\nstill\n");
	made_text_file(folder, "books/a/z.txt", "first");
	made_text_file(folder, "books/.hidden", "never");
	made_text_file(folder, "books/c.txt", "");
	made_gzip(folder, "books/d.txt.gz", "fourth\n", 7);
	read_file_corpus(&corpus, made_path(folder, "books"), 1);
	assert_int_equal(corpus.n_part, 1);
	assert_true(corpus.is_separate);
	assert_string_equal(corpus.part[0].bytes.bytes, "first\nsecond\n\nstill\nfourth\n");
	expect_documents(corpus.part, "[first][second\n\nstill\n][fourth\n]");
	corpus_release(&corpus);
	read_file_corpus(&corpus, "books", 1); // below DATA
	assert_string_equal(corpus.part[0].bytes.bytes, "first\nsecond\n\nstill\nfourth\n");
	corpus_release(&corpus);
	read_file_corpus(&corpus, "books/b.txt", 1);
	assert_false(corpus.is_separate);
	expect_documents(corpus.part, "[second\n][still\n]");
	corpus_release(&corpus);
	made_text_file(folder, "nothing/.hidden", "x");
	expect_refused(CORPUS_FILE, made_path(folder, "nothing"), 1, "nothing", "empty");
	assert_int_equal(symlink("..", made_path(folder, "nothing/up")), 0);
	expect_refused(CORPUS_FILE, made_path(folder, "nothing"), 1, "nothing", "nested");
}

static void text_that_is_not_utf8_is_refused_with_its_place(void **state UNUSED)
{
	struct corpus corpus;
	made_text_file(folder, "latin/a.txt", "fine\n");
	made_text_file(folder, "latin/b.txt", "caf\xe9\n");
	expect_refused(CORPUS_FILE, "latin", 1, "latin/b.txt: byte 3 is not UTF-8 (0xe9)", "iconv");
	expect_refused(CORPUS_FILE, "latin/b.txt", 1, "latin/b.txt: byte 3", "tokens: bytes");
	read_file_corpus(&corpus, "latin", 0);
	assert_string_equal(corpus.part[0].bytes.bytes, "fine\ncaf\xe9\n");
	corpus_release(&corpus);
}

// gcide's bytes are what they always were, its characters are characters.
static void gcide_has_a_few_characters_of_another_code(void **state UNUSED)
{
	static const char text[] = "Fa\xe7"
	                           "ade\n   x \xc3\xa9\n\nNext\n";
	struct corpus corpus;
	struct err err = {0};
	made_gzip(folder, "gcide/gcide.dict.dz", text, sizeof(text) - 1);
	assert_int_equal(corpus_read(&corpus, CORPUS_GCIDE, "", 0, &err), 0);
	assert_string_equal(corpus.part[0].bytes.bytes, text);
	corpus_release(&corpus);
	assert_int_equal(corpus_read(&corpus, CORPUS_GCIDE, "", 1, &err), 0);
	expect_documents(corpus.part, "[Fa\xc3\xa7"
	                              "ade\n   x \xc3\xa9\n][Next\n]");
	corpus_release(&corpus);
}

static void parts_come_as_their_authors_cut_them(void **state UNUSED)
{
	static const char *const text[] = {" \n = A = \n \n a\n", " = B = \n \n b\n", " = C = \n \n c\n"};
	struct corpus corpus;
	struct err err = {0};
	made_text_file(folder, "wikitext-2/valid.txt", text[1]);
	made_text_file(folder, "wikitext-2/test.txt", text[2]);
	expect_refused(CORPUS_WIKITEXT_2, "", 1, "wikitext-2", "set DATA to a folder with wikitext-2/train.txt");
	for (int is_packed = 1; is_packed >= 0; is_packed--) {
		if (is_packed)
			made_xz(folder, "wikitext-2/train.txt.xz", text[0], strlen(text[0]));
		else
			made_text_file(folder, "wikitext-2/train.txt", text[0]);
		assert_int_equal(corpus_read(&corpus, CORPUS_WIKITEXT_2, "", 1, &err), 0);
		assert_int_equal(corpus.n_part, 3);
		for (int p = 0; p < 3; p++) {
			assert_string_equal(corpus.part[p].bytes.bytes, text[p]);
			assert_int_equal(corpus.part[p].n_document, 1);
		}
		corpus_release(&corpus);
	}
	made_text_file(folder, "tinystories/TinyStories-train.txt", "a<|endoftext|>b");
	made_text_file(folder, "tinystories/TinyStories-valid.txt", "c<|endoftext|>d");
	assert_int_equal(corpus_read(&corpus, CORPUS_TINYSTORIES, "", 1, &err), 0);
	assert_true(corpus.n_part == 2 && corpus.is_separate);
	expect_documents(&corpus.part[1], "[c][d]");
	corpus_release(&corpus);
}

static void what_is_missing_is_said_with_its_remedy(void **state UNUSED)
{
	static const char *const places[] = {NULL, "", "/nonexistent"};
	for (int i = 0; i < 3; i++) {
		assert_int_equal(places[i] ? setenv("DATA", places[i], 1) : unsetenv("DATA"), 0);
		expect_refused(CORPUS_TINYSHAKESPEARE, "", 0, "tinyshakespeare", "set DATA");
		expect_refused(CORPUS_WIKITEXT_103, "", 0, "wikitext-103", "wiki.train.tokens");
		expect_refused(CORPUS_TINYSTORIES, "", 0, "tinystories", "set DATA");
		if (access("/usr/share/dictd/gcide.dict.dz", F_OK))
			expect_refused(CORPUS_GCIDE, "", 0, "gcide", "apt-get install dict-gcide");
	}
	assert_int_equal(setenv("DATA", folder, 1), 0);
}

// A packed file is read whole or not at all.
static void damaged_files_are_told(void **state UNUSED)
{
	enum { N = 200000 };
	char *text = malloc(N), *packed;
	long n;
	for (int i = 0; i < N; i++)
		text[i] = (char)('a' + (i * 7919 >> 5) % 26);
	made_gzip(folder, "a.gz", text, N);
	made_xz(folder, "a.xz", text, N);
	for (int is_xz = 0; is_xz < 2; is_xz++) {
		struct corpus corpus;
		FILE *in = fopen(made_path(folder, is_xz ? "a.xz" : "a.gz"), "rb");
		fseek(in, 0, SEEK_END);
		n = ftell(in);
		rewind(in);
		packed = malloc((size_t)n);
		assert_int_equal(fread(packed, 1, (size_t)n, in), n);
		fclose(in);
		made_file(folder, "b", packed, (size_t)n);
		read_file_corpus(&corpus, "b", 0);
		assert_int_equal(corpus.part[0].bytes.n, N);
		assert_memory_equal(corpus.part[0].bytes.bytes, text, N);
		corpus_release(&corpus);
		for (long cut_at = 20; cut_at < n; cut_at += n / 7) {
			made_file(folder, "b", packed, (size_t)cut_at);
			expect_refused(CORPUS_FILE, "b", 0, "/b: ", "damaged");
		}
		memset(packed + n / 2, 0x55, 20);
		made_file(folder, "b", packed, (size_t)n);
		expect_refused(CORPUS_FILE, "b", 0, "/b: ", "damaged");
		free(packed);
	}
	free(text);
}

static int setup(void **state UNUSED)
{
	folder = made_folder();
	return 0;
}

static int teardown(void **state UNUSED)
{
	made_remove(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(texts_are_cut_into_documents),
	        cmocka_unit_test(stories_that_are_none_are_refused),
	        cmocka_unit_test(folders_are_read_in_the_order_of_names),
	        cmocka_unit_test(text_that_is_not_utf8_is_refused_with_its_place),
	        cmocka_unit_test(gcide_has_a_few_characters_of_another_code),
	        cmocka_unit_test(parts_come_as_their_authors_cut_them),
	        cmocka_unit_test(what_is_missing_is_said_with_its_remedy),
	        cmocka_unit_test(damaged_files_are_told),
	};
	return cmocka_run_group_tests_name("corpora", tests, setup, teardown);
}
