// SPDX-License-Identifier: MIT
// llm.c's token files: read as they are written, refused with a reason, and fuzzed from tests/fixtures/token_files.
//     KVLAB_FUZZ_S=600      seconds of fuzzing (1 where it is not said)
//     KVLAB_TEST_SEED=7     other cases
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/text/encode.h"
#include "harness/text/token_file.h"
#include "harness/text/tokens.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/text/made.h"
#include "tests/weights/fuzz.h"

enum { HEADER = 1024, END = 50256 };
static char *folder;

static struct bytes file_of(int magic, int version, int n, int n_said, const void *ids, int width)
{
	int header[HEADER / 4] = {magic, version, n_said};
	struct bytes b = {0};
	bytes_add(&b, header, sizeof(header));
	bytes_add(&b, ids, (size_t)n * (size_t)width);
	return b;
}

static void write_file(const char *name, int magic, int version, int n, int n_said, const void *ids, int width)
{
	struct bytes b = file_of(magic, version, n, n_said, ids, width);
	made_file(folder, name, b.data, b.n);
	free(b.data);
}

// Documents of one to nine tokens, each after an end token.
static void write_shard(const char *name, uint16_t *ids, int n, uint64_t stream)
{
	struct rng rng = rng_make(1, RNG_CHECK, stream);
	for (int i = 0, left = 0; i < n; i++, left--) {
		ids[i] = left ? (uint16_t)rng_below(&rng, 1000) : END;
		left = left ? left : (int)rng_below(&rng, 9) + 2;
	}
	write_file(name, 20240520, 1, n, n, ids, 2);
}

static void open_tokens(struct tokens *tokens, const char *path, const char *tokenizer)
{
	struct err err = {0};
	if (tokens_open(tokens, &(struct tokens_setting){CORPUS_FILE, TOKENS_BPE, 0, 0, 1, path, tokenizer}, &err))
		fail_msg("%s", err.message);
}

static void expect_part(const struct tokens *tokens, enum token_part_id p, const uint16_t *ids, size_t n)
{
	const struct token_part *part = &tokens->part[p];
	assert_int_equal(part->n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(tokens_at(tokens, part, i), ids[i]);
	for (size_t d = 0; d < part->n_document; d++) {
		const struct document *document = &part->document[d];
		assert_true(document->to > document->from && document->to <= n);
		assert_true(document->to == n || ids[document->to] == END);
		for (size_t i = document->from; i < document->to; i++)
			assert_int_not_equal(ids[i], END);
	}
	assert_true(part->n_document > n / 12);
}

static void one_file_is_cut_and_a_pair_is_not(void **state UNUSED)
{
	enum { N = 2000, N_VAL = 300 };
	static uint16_t train[N], val[N_VAL];
	struct tokens tokens;
	write_shard("shard.bin", train, N, 1);
	open_tokens(&tokens, "shard.bin", "");
	assert_true(tokens.n_vocab == END + 1 && tokens.end == END && tokens.width == 2);
	expect_part(&tokens, PART_TRAIN, train, N / 20 * 18);
	expect_part(&tokens, PART_VALIDATION, train + N / 20 * 18, N / 20);
	expect_part(&tokens, PART_TEST, train + N / 20 * 19, N / 20);
	const uint64_t hash = tokens.hash;
	tokens_close(&tokens);
	write_shard("pair/books_train.bin", train, N, 1);
	write_shard("pair/books_val.bin", val, N_VAL, 2);
	open_tokens(&tokens, "pair", "");
	assert_true(tokens.hash != hash);
	expect_part(&tokens, PART_TRAIN, train, N);
	expect_part(&tokens, PART_VALIDATION, val, N_VAL / 2);
	expect_part(&tokens, PART_TEST, val + N_VAL / 2, N_VAL / 2);
	tokens_close(&tokens);
}

static void wide_ids_are_read(void **state UNUSED)
{
	uint32_t ids[40];
	struct tokens tokens;
	for (int i = 0; i < 40; i++)
		ids[i] = i % 10 ? 127000u + (uint32_t)i : 128000;
	write_file("wide.bin", 20240801, 7, 40, 40, ids, 4);
	open_tokens(&tokens, "wide.bin", "");
	assert_true(tokens.n_vocab == 128001 && tokens.end == 128000 && tokens.width == 4);
	for (size_t i = 0; i < tokens.part[PART_TRAIN].n; i++)
		assert_int_equal(tokens_at(&tokens, &tokens.part[PART_TRAIN], i), ids[i]);
	assert_int_equal(tokens.part[PART_TRAIN].n_document, 3); // the last is cut
	tokens_close(&tokens);
}

static void refused(const char *name, enum token_kind kind, const char *tokenizer, const char *message)
{
	struct tokens tokens;
	struct err err = {0};
	assert_int_equal(
	        tokens_open(&tokens, &(struct tokens_setting){CORPUS_FILE, kind, 0, 0, 0, name, tokenizer}, &err), -1);
	assert_false(err.is_fault);
	if (!strstr(err.message, message) || !strstr(err.message, name))
		fail_msg("'%s' does not say '%s' and '%s'", err.message, name, message);
}

static void what_is_no_token_file_is_refused(void **state UNUSED)
{
	static const char tokenizer[] = "tests/fixtures/tokenizers/gpt2.json";
	const uint16_t ids[] = {1, 2, 3, 4};
	const uint32_t wide[] = {1, 1u << 21, 3};
	const int magic = 20240520;
	write_file("a.bin", magic, 1, 4, 5, ids, 2);
	refused("a.bin", TOKENS_BPE, "", "holds 5 tokens of 2 bytes, but 8 bytes follow");
	write_file("a.bin", magic, 1, 4, 3, ids, 2);
	refused("a.bin", TOKENS_BPE, "", "holds 3 tokens");
	write_file("a.bin", magic, 1, 4, -4, ids, 2);
	refused("a.bin", TOKENS_BPE, "", "holds -4 tokens");
	write_file("a.bin", magic, 1, 0, 0, ids, 2);
	refused("a.bin", TOKENS_BPE, "", "holds no token");
	write_file("a.bin", magic, 2, 4, 4, ids, 2);
	refused("a.bin", TOKENS_BPE, "", "of version 2, and version 1 can be read");
	made_file(folder, "a.bin", &magic, 4);
	refused("a.bin", TOKENS_BPE, "", "too few for the header");
	write_file("a.bin", 20240801, 7, 3, 3, wide, 4);
	refused("a.bin", TOKENS_BPE, "", "token 1 is 2097152");
	write_file("a.bin", magic, 1, 4, 4, ids, 2);
	refused("a.bin", TOKENS_BYTES, "", "is a token file: say tokens: bpe");
	write_file("b.bin", magic, 1, 1, 1, (const uint16_t[]){60000}, 2);
	refused("b.bin", TOKENS_BPE, tokenizer, "token 0 is 60000, and ids must be below");
	write_file("two/a_train.bin", magic, 1, 4, 4, ids, 2);
	refused("two", TOKENS_BPE, "", "a_val.bin");
	write_file("two/b_train.bin", magic, 1, 4, 4, ids, 2);
	refused("two", TOKENS_BPE, "", "several files");
}

// Commands read them by the model's tokenizer.
static void commands_get_the_ids(void **state UNUSED)
{
	const uint16_t ids[] = {1, 2, 3, 4};
	struct token_ids got = {0};
	struct tokenizer *tokenizer;
	struct err err = {0};
	assert_int_equal(tokenizer_open(&tokenizer, "tests/fixtures/tokenizers/gpt2.json", NULL, &err), 0);
	write_file("c.bin", 20240520, 1, 4, 4, ids, 2);
	assert_int_equal(encode_path(&got, made_path(folder, "c.bin"), tokenizer, &err), 0);
	assert_int_equal(got.n, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(got.id[i], ids[i]);
	assert_int_equal(encode_path(&got, made_path(folder, "nosuch"), tokenizer, &err), -1);
	assert_true(got.n == 4 && strstr(err.message, "nosuch"));
	made_text_file(folder, "bad.txt", "ab\xff");
	err_clear(&err);
	assert_int_equal(encode_path(&got, made_path(folder, "bad.txt"), tokenizer, &err), -1);
	assert_non_null(strstr(err.message, "bad.txt: byte 2 is not UTF-8"));
	// A pipe gives its bytes once.
	const char *pipe = made_path(folder, "pipe");
	assert_int_equal(mkfifo(pipe, 0600), 0);
	fflush(NULL);
	const pid_t pid = fork();
	if (pid == 0) {
		FILE *out = fopen(pipe, "w");
		fputs("through a pipe", out);
		_exit(fclose(out));
	}
	struct token_ids piped = {0}, filed = {0};
	made_text_file(folder, "pipe.txt", "through a pipe");
	err_clear(&err);
	assert_int_equal(encode_path(&piped, pipe, tokenizer, &err), 0);
	assert_int_equal(encode_path(&filed, made_path(folder, "pipe.txt"), tokenizer, &err), 0);
	assert_int_equal(piped.n, filed.n);
	assert_memory_equal(piped.id, filed.id, piped.n * sizeof(*piped.id));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	free(piped.id);
	free(filed.id);
	free(got.id);
	tokenizer_free(tokenizer);
}

// Whatever is accepted has as many ids as its bytes hold, all of them small; whatever is not says why.
static int fuzz_one(const struct bytes *b)
{
	struct token_file file = {0};
	struct err err = {0};
	void *exact = malloc(b->n ? b->n : 1); // of its own, so that a sanitizer sees each byte read beyond it
	if (b->n)
		memcpy(exact, b->data, b->n);
	const int rc = token_file_parse(&file, "fuzzed.bin", exact, b->n, &err);
	if (rc) {
		assert_true(err.is_set && !err.is_fault && strlen(err.message) > 20);
		assert_memory_equal(err.message, "fuzzed.bin: ", 12);
	} else {
		int most = 0;
		assert_true(!err.is_set && file.n > 0 && (size_t)file.width * file.n + HEADER == b->n);
		for (size_t i = 0; i < file.n; i++) {
			const int id = token_file_id(&file, i);
			assert_in_range(id, 0, 1 << 21);
			most = id > most ? id : most;
		}
		assert_int_equal(file.id_most, most);
		assert_int_equal(token_file_check(&file, "fuzzed.bin", most + 1, &err), 0);
		assert_int_equal(token_file_check(&file, "fuzzed.bin", most, &err), -1);
	}
	free(exact);
	return !rc;
}

static void no_file_does_harm(void **state UNUSED)
{
	static const char *const name[] = {"gpt2.bin", "llama3.bin"};
	const char *seconds = getenv("KVLAB_FUZZ_S");
	const double end = clock_s() + (seconds ? atof(seconds) : 1);
	struct bytes corpus[2];
	long n_accepted = 0, n = 0;
	for (int i = 0; i < 2; i++) {
		char path[100];
		snprintf(path, sizeof(path), "tests/fixtures/token_files/%s", name[i]);
		corpus[i] = bytes_of_file(path);
		assert_true(fuzz_one(&corpus[i]));
	}
	for (; n < 500 || clock_s() < end; n++) {
		struct rng rng = rng_make(test_seed(), RNG_CHECK, (uint64_t)n);
		struct bytes b = {0};
		bytes_add(&b, corpus[n % 2].data, corpus[n % 2].n);
		fuzz_mutate(&b, SHAPE_INTS, corpus, 2, &rng);
		n_accepted += fuzz_one(&b);
		free(b.data);
	}
	printf("# %ld cases, %ld accepted\n", n, n_accepted);
	assert_true(n_accepted > 0 && n_accepted < n);
	free(corpus[0].data);
	free(corpus[1].data);
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
	        cmocka_unit_test(one_file_is_cut_and_a_pair_is_not),
	        cmocka_unit_test(wide_ids_are_read),
	        cmocka_unit_test(what_is_no_token_file_is_refused),
	        cmocka_unit_test(commands_get_the_ids),
	        cmocka_unit_test(no_file_does_harm),
	};
	return cmocka_run_group_tests_name("token files", tests, setup, teardown);
}
