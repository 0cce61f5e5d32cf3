// SPDX-License-Identifier: MIT
// Corpora and the task over them: found under DATA, packed or not; parts and windows that share no byte that is read.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/registry.h"
#include "harness/text/corpus.h"
#include "tests/model/build.h"
#include "tests/task/made_corpus.h"
#include "tests/test.h"

enum { N = 400007, LENGTH = 100, FIFTH = N / 20 }; // FIFTH: five hundredths of it
static struct arena arena;
static char made[N];
static const char *folder;

static void assert_missing(enum corpus_id id, const char *data, const char *a, const char *b)
{
	const struct corpus *corpus;
	struct err err = {0};
	assert_int_equal(data ? setenv("DATA", data, 1) : unsetenv("DATA"), 0);
	assert_int_equal(corpus_load(&corpus, id, &err), -1);
	assert_false(err.is_fault);
	if (!strstr(err.message, a) || !strstr(err.message, b))
		fail_msg("'%s' does not say '%s' and '%s'", err.message, a, b);
}

// Before anything is loaded: a corpus that is not there, or not readable as what it says it is.
static void what_is_missing_is_said_with_its_remedy(void **state UNUSED)
{
	assert_missing(CORPUS_TINYSHAKESPEARE, NULL, "tinyshakespeare", "set DATA");
	assert_missing(CORPUS_TINYSHAKESPEARE, "", "tinyshakespeare", "set DATA");
	assert_missing(CORPUS_TINYSHAKESPEARE, "/nonexistent", "tinyshakespeare", "set DATA");
	if (access("/usr/share/dictd/gcide.dict.dz", F_OK))
		assert_missing(CORPUS_GCIDE, NULL, "gcide", "apt-get install dict-gcide");
	char path[64], good[1 << 12];
	snprintf(path, sizeof(path), "%s/gcide/gcide.dict.dz", folder);
	FILE *file = fopen(path, "r+");
	assert_int_equal(fread(good, 1, sizeof(good), file), sizeof(good));
	char bad[sizeof(good)];
	memcpy(bad, good, sizeof(bad));
	memset(bad + 1000, 0x55, 3000);
	rewind(file);
	assert_int_equal(fwrite(bad, 1, sizeof(bad), file), sizeof(bad));
	assert_int_equal(fflush(file), 0);
	assert_missing(CORPUS_GCIDE, folder, path, "damaged");
	rewind(file);
	assert_int_equal(fwrite(good, 1, sizeof(good), file), sizeof(good));
	assert_int_equal(fclose(file), 0);
}

static void both_files_are_read_whole(void **state UNUSED)
{
	const struct corpus *plain, *packed, *again;
	struct err err = {0};
	assert_int_equal(setenv("DATA", folder, 1), 0);
	assert_int_equal(corpus_load(&plain, CORPUS_TINYSHAKESPEARE, &err), 0);
	assert_int_equal(corpus_load(&packed, CORPUS_GCIDE, &err), 0);
	assert_int_equal(plain->n, N);
	assert_int_equal(packed->n, N);
	assert_memory_equal(plain->bytes, made, N);
	assert_memory_equal(packed->bytes, made, N);
	assert_true(plain->hash == packed->hash && plain->hash != 0);
	long n_space = 0;
	for (long i = 0; i < N; i++)
		n_space += made[i] == ' ';
	assert_true(plain->most_common == (double)n_space / N);
	unsetenv("DATA"); // it is kept
	assert_int_equal(corpus_load(&again, CORPUS_TINYSHAKESPEARE, &err), 0);
	assert_ptr_equal(again->bytes, plain->bytes);
}

static const void *configure(const char *settings)
{
	const struct task *task = task_find("text");
	void *config = arena_zalloc(&arena, task->config_bytes);
	options_init(task->options, config);
	build_options(task->options, config, settings);
	return config;
}

// Window after window of each part, no byte of one part ever read for another, none left out but a window's worth.
static void windows_cover_their_part_and_nothing_else(void **state UNUSED)
{
	static const enum rng_purpose purpose[] = {RNG_TRAIN, RNG_VALIDATION, RNG_TEST};
	static const long from[] = {0, 18 * FIFTH, 19 * FIFTH}, to[] = {18 * FIFTH, 19 * FIFTH, N};
	const struct task *task = task_find("text");
	const void *config = configure("corpus=tinyshakespeare length=100");
	const struct task_shape shape = task->shape(config);
	const long n[] = {shape.n_train, shape.n_validation, shape.n_test};
	assert_true(shape.n_vocab == 256 && shape.T == LENGTH && shape.n_target == LENGTH && shape.is_partitioned);
	for (int p = 0; p < 3; p++) {
		assert_true(n[p] * LENGTH < to[p] - from[p] && n[p] * LENGTH >= to[p] - from[p] - LENGTH);
		for (long w = 0; w < n[p]; w++) {
			int tokens[LENGTH], targets[LENGTH];
			task->draw(config, (uint64_t)w, purpose[p], (uint64_t)w, tokens, targets);
			for (int t = 0; t < LENGTH; t++) {
				const long at = from[p] + w * LENGTH + t;
				assert_true(at + 1 < to[p]);
				assert_int_equal(tokens[t], made[at]);
				assert_int_equal(targets[t], made[at + 1]);
			}
		}
	}
}

static void a_length_without_a_window_is_refused(void **state UNUSED)
{
	const struct task *task = task_find("text");
	struct err err = {0};
	assert_int_equal(task->check(configure("length=20000"), &err), -1);
	assert_non_null(strstr(err.message, "make length smaller"));
	err_clear(&err);
	assert_int_equal(task->check(configure("length=19999"), &err), 0);
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	folder = made_corpus(N);
	made_text(made, N);
	return 0;
}

static int teardown(void **state UNUSED)
{
	arena_release(&arena);
	made_corpus_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_missing_is_said_with_its_remedy),
	        cmocka_unit_test(both_files_are_read_whole),
	        cmocka_unit_test(windows_cover_their_part_and_nothing_else),
	        cmocka_unit_test(a_length_without_a_window_is_refused),
	};
	return cmocka_run_group_tests_name("texts", tests, setup, teardown);
}
