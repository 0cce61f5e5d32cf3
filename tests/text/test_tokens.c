// SPDX-License-Identifier: MIT
// Texts to ids by each kind of token, against counts by hand and by plain loops; the cache of tokenised texts.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/text/encode.h"
#include "harness/text/tokens.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/text/made.h"

#define GPT2 "tests/fixtures/tokenizers/gpt2.json"
static char *folder;

static void open_tokens(struct tokens *tokens, const struct tokens_setting *setting)
{
	struct err err = {0};
	if (tokens_open(tokens, setting, &err))
		fail_msg("%s", err.message);
}

static void open_file(struct tokens *tokens, enum token_kind kind, const char *path)
{
	open_tokens(tokens, &(struct tokens_setting){CORPUS_FILE, kind, 2, 0, 0, path, GPT2});
}

static void expect_ids(const struct tokens *tokens, enum token_part_id p, const int *expected, size_t n)
{
	assert_int_equal(tokens->part[p].n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(tokens_at(tokens, &tokens->part[p], i), expected[i]);
}

static void expect_same(const struct tokens *a, const struct tokens *b)
{
	assert_true(a->width == b->width && a->n_vocab == b->n_vocab && a->end == b->end);
	assert_true(a->hash == b->hash && a->most_common == b->most_common);
	for (int p = 0; p < N_TOKEN_PART; p++) {
		const struct token_part *x = &a->part[p], *y = &b->part[p];
		assert_true(x->n == y->n && x->n_document == y->n_document);
		assert_memory_equal(x->id, y->id, x->n * (size_t)a->width);
		assert_memory_equal(x->document, y->document, x->n_document * sizeof(*x->document));
	}
}

// Twenty characters: 18 are for training, then one, then one.
static void characters_are_numbered_in_order(void **state UNUSED)
{
	static const int train[] = {0, 1, 2, 1, 2, 3, 0, 1, 2, 1, 2, 3, 0, 1, 2, 1, 2, 3}, last[] = {4};
	struct tokens tokens;
	made_text_file(folder, "c.txt",
	        "\nab"
	        "ab\xc3\xa9"
	        "\nab"
	        "ab\xc3\xa9"
	        "\nab"
	        "ab\xc3\xa9"
	        "\xe6\x97\xa5\xe6\x97\xa5");
	open_file(&tokens, TOKENS_CHARACTERS, "c.txt");
	assert_true(tokens.n_vocab == 5 && tokens.end == 5 && tokens.width == 1);
	expect_ids(&tokens, PART_TRAIN, train, 18);
	expect_ids(&tokens, PART_VALIDATION, last, 1);
	expect_ids(&tokens, PART_TEST, last, 1);
	assert_true(tokens.most_common == 6.0 / 20); // a, and b
	tokens_close(&tokens);
}

static void write_wikitext(void)
{
	// Training counts: the 4, b 3, a 2, été 2; once: c, d. <eos> after each of 4 lines.
	made_text_file(folder, "wikitext-2/train.txt",
	        " \n = The Title = \n \n The b  a <unk>\tthe \n B THE \xc3\x89T\xc3\x89\xe2\x80\x83"
	        "c \n\n = = Part = = \n \n"
	        " a the d\xc2\xa0\xc3\xa9t\xc3\xa9\n b\n");
	made_text_file(folder, "wikitext-2/valid.txt", " \n = V = \n \n zzz the b e a = \n");
	made_text_file(folder, "wikitext-2/test.txt", "c C c c\n");
}

static void words_are_the_papers(void **state UNUSED)
{
	enum { UNK, EOS, THE, B, A, ETE };
	static const int train[] = {THE, B, A, UNK, THE, EOS, B, THE, ETE, UNK, EOS, A, THE, UNK, ETE, EOS, B, EOS};
	static const int valid[] = {UNK, THE, B, UNK, A, UNK, EOS}, test[] = {UNK, UNK, UNK, UNK, EOS};
	static const int most[] = {THE, B, UNK, UNK, THE, EOS, B, THE, UNK, UNK, EOS, UNK, THE, UNK, UNK, EOS, B, EOS};
	struct tokens tokens;
	write_wikitext();
	open_tokens(&tokens, &(struct tokens_setting){CORPUS_WIKITEXT_2, TOKENS_WORDS, 2, 0, 0, "", ""});
	assert_true(tokens.n_vocab == 6 && tokens.end == EOS);
	expect_ids(&tokens, PART_TRAIN, train, 18);
	expect_ids(&tokens, PART_VALIDATION, valid, 7);
	expect_ids(&tokens, PART_TEST, test, 5);
	assert_int_equal(tokens.part[PART_TRAIN].n_document, 1);
	assert_true(tokens.part[PART_TRAIN].document->from == 0 && tokens.part[PART_TRAIN].document->to == 18);
	const uint64_t hash = tokens.hash;
	tokens_close(&tokens);
	// Words of equal count come in the order of their bytes, and a cap cuts behind them.
	open_tokens(&tokens, &(struct tokens_setting){CORPUS_WIKITEXT_2, TOKENS_WORDS, 2, 4, 0, "", ""});
	assert_int_equal(tokens.n_vocab, 4);
	assert_true(tokens.hash != hash);
	expect_ids(&tokens, PART_TRAIN, most, 18);
	tokens_close(&tokens);
	// With one, all words of the training part and no others.
	open_tokens(&tokens, &(struct tokens_setting){CORPUS_WIKITEXT_2, TOKENS_WORDS, 1, 0, 0, "", ""});
	assert_int_equal(tokens.n_vocab, 8);
	assert_int_equal(tokens_at(&tokens, &tokens.part[PART_VALIDATION], 3), UNK); // e
	assert_int_equal(tokens_at(&tokens, &tokens.part[PART_TEST], 0), 6);         // c
	tokens_close(&tokens);
}

// Of one text, words of the last tenth are not in the vocabulary, however often they are there.
static void a_vocabulary_is_of_the_training_part(void **state UNUSED)
{
	char text[4000] = "";
	struct tokens tokens;
	for (int i = 0; i < 90; i++)
		strcat(text, "old words here\n");
	for (int i = 0; i < 10; i++)
		strcat(text, "new words here\n");
	made_text_file(folder, "w.txt", text);
	open_file(&tokens, TOKENS_WORDS, "w.txt");
	assert_int_equal(tokens.part[PART_TRAIN].n, 360);
	assert_int_equal(tokens.n_vocab, 2 + 3);
	assert_int_equal(tokens_at(&tokens, &tokens.part[PART_VALIDATION], 0), 0);
	assert_int_equal(tokens_at(&tokens, &tokens.part[PART_TEST], 1), 4); // here < old < words by bytes; 90 each
	tokens_close(&tokens);
}

static struct token_ids encoded(const struct tokenizer *tokenizer, const char *text, size_t n)
{
	struct encoder *encoder = encoder_new(tokenizer);
	struct token_ids ids = {0};
	struct err err = {0};
	if (encoder_run(encoder, text, n, 0, &ids, &err))
		fail_msg("%s", err.message);
	encoder_free(encoder);
	return ids;
}

// A text is encoded whole; documents one by one where that is asked for, or where they are files of their own.
static void bpe_is_the_tokenizers(void **state UNUSED)
{
	static const char text[] = "Once upon a time\n\nthere was  a fox.\nIt ran.\n\n\nThe end\n";
	struct tokens whole, cut, files;
	struct tokenizer *tokenizer;
	struct err err = {0};
	size_t n_all = 0;
	assert_int_equal(tokenizer_open(&tokenizer, GPT2, NULL, &err), 0);
	made_text_file(folder, "fox/a.txt", text);
	made_text_file(folder, "fox/b.txt", text);
	open_file(&whole, TOKENS_BPE, "fox/a.txt");
	struct token_ids ids = encoded(tokenizer, text, strlen(text));
	for (int p = 0; p < N_TOKEN_PART; p++)
		for (size_t i = 0; i < whole.part[p].n; i++)
			assert_int_equal(tokens_at(&whole, &whole.part[p], i), ids.id[n_all++]);
	assert_int_equal(n_all, ids.n);
	assert_int_equal(whole.part[PART_TRAIN].n_document, 0);
	assert_true(whole.n_vocab == tokenizer_n_vocab(tokenizer) && whole.end == tokenizer_eos(tokenizer));
	open_tokens(&cut, &(struct tokens_setting){CORPUS_FILE, TOKENS_BPE, 0, 0, 1, "fox/a.txt", GPT2});
	assert_true(cut.part[PART_TRAIN].n_document >= 1 && cut.hash != whole.hash);
	struct token_ids first = encoded(tokenizer, text, strlen("Once upon a time\n"));
	assert_true(cut.part[PART_TRAIN].document->from == 0 && cut.part[PART_TRAIN].document->to == first.n);
	open_file(&files, TOKENS_BPE, "fox");
	assert_int_equal(files.part[0].n + files.part[1].n + files.part[2].n, 2 * (ids.n + 1));
	assert_int_equal(tokens_at(&files, &files.part[PART_TRAIN], ids.n), tokenizer_eos(tokenizer));
	struct token_ids path = {0};
	assert_int_equal(encode_path(&path, made_path(folder, "fox"), tokenizer, &err), 0);
	assert_int_equal(path.n, 2 * (ids.n + 1));
	assert_memory_equal(path.id, ids.id, ids.n * sizeof(*ids.id));
	assert_memory_equal(path.id + ids.n + 1, ids.id, ids.n * sizeof(*ids.id));
	assert_int_equal(path.id[2 * ids.n + 1], tokenizer_eos(tokenizer));
	tokens_close(&whole);
	tokens_close(&cut);
	tokens_close(&files);
	free(ids.id);
	free(first.id);
	free(path.id);
	tokenizer_free(tokenizer);
}

// The same bytes in a file and in a folder: other documents, and with a tokenizer other ids.
static void documents_are_part_of_the_identity(void **state UNUSED)
{
	static const enum token_kind kind[] = {TOKENS_CHARACTERS, TOKENS_WORDS, TOKENS_BPE, TOKENS_BYTES};
	static const char text[] =
	        "one two\none two\none two\none two\none two\none two\none two\none two\none two\none two\n";
	made_text_file(folder, "halves.txt", text);
	made_text_file(folder, "halves/a", "one two\n");
	made_text_file(folder, "halves/b", text + strlen("one two\n"));
	for (int i = 0; i < 4; i++) {
		struct tokens file, files;
		open_tokens(&file, &(struct tokens_setting){CORPUS_FILE, kind[i], 1, 0, 1, "halves.txt", GPT2});
		open_tokens(&files, &(struct tokens_setting){CORPUS_FILE, kind[i], 1, 0, 1, "halves", GPT2});
		assert_false(files.is_mapped);
		assert_true(file.hash != files.hash);
		assert_int_equal(file.part[PART_TRAIN].n_document, 0); // a cut goes through its only one
		assert_int_equal(files.part[PART_TRAIN].n_document, 1);
		tokens_close(&file);
		tokens_close(&files);
	}
}

// --- the cache -----------------------------------------------------------------------------------------------------

static int cached_files(char name[400])
{
	DIR *dir = opendir(made_path(folder, "cache/tokens"));
	int n = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
			snprintf(name, 400, "cache/tokens/%s", entry->d_name);
			n++;
		}
	if (dir)
		closedir(dir);
	return n;
}

static void empty_cache(void)
{
	char name[400];
	for (int i = 0; i < 1000 && cached_files(name); i++)
		remove(made_path(folder, name)); // or another process has
}

static void write_random_words(void)
{
	struct rng rng = rng_make(3, RNG_CHECK, 1);
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	for (int i = 0; i < 3000; i++)
		fprintf(out, "w%u%s", rng_below(&rng, 400),
		        rng_below(&rng, 8)   ? " "
		        : rng_below(&rng, 3) ? "\n"
		                             : "\n\n");
	fclose(out);
	made_file(folder, "words.txt", text, n);
	free(text);
}

static void what_is_cached_is_what_was_made(void **state UNUSED)
{
	char name[400];
	struct tokens direct, first, second;
	char *cache = strdup(made_path(folder, "cache"));
	write_random_words();
	empty_cache();
	made_text_file(folder, "no_folder", "x");
	assert_int_equal(setenv("KVLAB_CACHE", made_path(folder, "no_folder"), 1), 0);
	open_file(&direct, TOKENS_WORDS, "words.txt");
	assert_int_equal(setenv("KVLAB_CACHE", cache, 1), 0);
	free(cache);
	open_file(&first, TOKENS_WORDS, "words.txt");
	assert_int_equal(cached_files(name), 1);
	open_file(&second, TOKENS_WORDS, "words.txt");
	assert_true(!direct.is_mapped && !first.is_mapped && second.is_mapped);
	assert_true(direct.width == 2 && direct.part[PART_TRAIN].n_document > 100);
	expect_same(&direct, &first);
	expect_same(&direct, &second);
	assert_int_equal(cached_files(name), 1);
	tokens_close(&second);
	// Another setting and another text are other files.
	open_tokens(&second, &(struct tokens_setting){CORPUS_FILE, TOKENS_WORDS, 3, 0, 0, "words.txt", ""});
	assert_false(second.is_mapped);
	tokens_close(&second);
	open_file(&second, TOKENS_CHARACTERS, "words.txt");
	tokens_close(&second);
	made_text_file(
	        folder, "words2.txt", "w1 w2\nw1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18 w19\n");
	open_file(&second, TOKENS_WORDS, "words2.txt");
	assert_true(!second.is_mapped && second.hash != first.hash);
	assert_int_equal(cached_files(name), 4);
	tokens_close(&second);
	tokens_close(&first);
	tokens_close(&direct);
}

// Whatever a disk does to a file, it is made again, not believed.
static void a_damaged_cache_is_made_again(void **state UNUSED)
{
	char name[400];
	struct tokens direct, again;
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 2);
	empty_cache();
	open_file(&direct, TOKENS_WORDS, "words.txt");
	assert_int_equal(cached_files(name), 1);
	for (int i = 0; i < 200; i++) {
		const int fd = open(made_path(folder, name), O_RDWR);
		struct stat info;
		assert_int_equal(fstat(fd, &info), 0);
		const long at = i < 128 ? i : rig_int(&rng, 0, (int)info.st_size - 1); // all of the header
		unsigned char byte;
		if (i % 4 == 3) {
			assert_int_equal(ftruncate(fd, i % 8 == 3 ? at : info.st_size + 8), 0);
		} else {
			assert_int_equal(pread(fd, &byte, 1, at), 1);
			byte ^= (unsigned char)(1 << rng_below(&rng, 8));
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		}
		close(fd);
		open_file(&again, TOKENS_WORDS, "words.txt");
		if (again.is_mapped)
			fail_msg("damage at byte %ld is believed", at);
		expect_same(&direct, &again);
		tokens_close(&again);
		open_file(&again, TOKENS_WORDS, "words.txt");
		assert_true(again.is_mapped);
		tokens_close(&again);
	}
	tokens_close(&direct);
}

static void processes_do_not_disturb_each_other(void **state UNUSED)
{
	enum { PROCESSES = 6, ROUNDS = 20 };
	char name[400];
	struct tokens direct;
	pid_t pid[PROCESSES];
	open_file(&direct, TOKENS_WORDS, "words.txt");
	fflush(NULL);
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		for (int round = 0; pid[i] == 0 && round < ROUNDS; round++) {
			struct tokens tokens;
			empty_cache();
			open_file(&tokens, TOKENS_WORDS, "words.txt");
			expect_same(&direct, &tokens);
			tokens_close(&tokens);
		}
		if (pid[i] == 0) {
			tokens_close(&direct);
			exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	assert_true(cached_files(name) <= 1); // nothing half-made is left
	tokens_close(&direct);
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
	        cmocka_unit_test(characters_are_numbered_in_order),
	        cmocka_unit_test(words_are_the_papers),
	        cmocka_unit_test(a_vocabulary_is_of_the_training_part),
	        cmocka_unit_test(bpe_is_the_tokenizers),
	        cmocka_unit_test(documents_are_part_of_the_identity),
	        cmocka_unit_test(what_is_cached_is_what_was_made),
	        cmocka_unit_test(a_damaged_cache_is_made_again),
	        cmocka_unit_test(processes_do_not_disturb_each_other),
	};
	return cmocka_run_group_tests_name("tokens", tests, setup, teardown);
}
