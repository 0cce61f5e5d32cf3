// SPDX-License-Identifier: MIT
// How a run's sequences are taken from a task: training and test never share content, a fixed training set is gone
// through once an epoch, in an order of its own.
#include <stdlib.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/task/made_corpus.h"
#include "tests/test.h"

enum { MOST_T = 256, MANY = 100000, CORPUS = 400000 };
static struct arena arena;

static struct task_data data_of(const char *name, const char *settings, enum task_split split)
{
	const struct task *task = task_find(name);
	void *config = arena_zalloc(&arena, task->config_bytes);
	options_init(task->options, config);
	build_options(task->options, config, settings);
	return (struct task_data){.task = task, .config = config, .split = split, .batch = 1};
}

// A hash of the tokens that has nothing to do with the one that splits.
static uint64_t content(const struct task_data *data, uint64_t seed, enum rng_purpose purpose, uint64_t index)
{
	int tokens[MOST_T], targets[MOST_T];
	const int T = data->task->shape(data->config).T;
	assert_true(T <= MOST_T);
	task_draw(data, seed, purpose, index, tokens, targets);
	uint64_t hash = 14695981039346656037ULL;
	for (int t = 0; t < T; t++)
		hash = (hash ^ (uint64_t)tokens[t]) * 1099511628211ULL;
	return hash ^ hash >> 31;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static uint64_t *sorted(const struct task_data *data, enum rng_purpose purpose, long n)
{
	uint64_t *all = malloc((size_t)n * sizeof(*all));
	for (long i = 0; i < n; i++)
		all[i] = content(data, 1, purpose, (uint64_t)i);
	qsort(all, (size_t)n, sizeof(*all), by_value);
	return all;
}

// Of the first n sequences of two purposes, how many of the second's stand among the first's.
static long n_shared(const struct task_data *data, enum rng_purpose a, enum rng_purpose b, long n_a, long n_b)
{
	uint64_t *in = sorted(data, a, n_a), *sought = sorted(data, b, n_b);
	long n = 0;
	for (long i = 0, j = 0; i < n_b; i++) {
		while (j < n_a && in[j] < sought[i])
			j++;
		n += j < n_a && in[j] == sought[i];
	}
	free(in);
	free(sought);
	return n;
}

// The proof by construction is task_content_purpose: one function of the tokens, one purpose for each. Here it is seen
// to be what drawn sequences have, and 100,000 training and 100,000 test sequences of every task share none.
static void no_test_sequence_is_ever_trained_on(void **state UNUSED)
{
	for (const struct task *const *t = task_list; *t; t++) {
		struct task_data data = data_of((*t)->name, "", TASK_SPLIT_CONTENT);
		struct err err = {0};
		const struct task_shape shape = (*t)->shape(data.config);
		long n_train = MANY, n_test = MANY;
		if (shape.is_partitioned) { // it has parts of its own, and refuses to be split again
			assert_int_equal(task_data_check(&data, &err), -1);
			data.split = TASK_SPLIT_STREAM;
			n_train = shape.n_train;
			n_test = shape.n_test;
		}
		err_clear(&err);
		if (task_data_check(&data, &err))
			fail_msg("%s", err.message);
		if (n_shared(&data, RNG_TRAIN, RNG_TEST, n_train, n_test))
			fail_msg("%s: test sequences among the training ones", (*t)->name);
		if (shape.is_partitioned)
			continue;
		static const enum rng_purpose purpose[] = {RNG_TRAIN, RNG_VALIDATION, RNG_TEST};
		for (int p = 0; p < 3; p++)
			for (uint64_t i = 0; i < 200; i++) {
				int tokens[MOST_T], targets[MOST_T];
				task_draw(&data, 5, purpose[p], i, tokens, targets);
				assert_int_equal(task_content_purpose(tokens, shape.T), purpose[p]);
			}
	}
}

// 14 in 16 for training, one each for validation and test.
static void classes_have_their_shares(void **state UNUSED)
{
	enum { N = 32000 };
	const struct task_data data = data_of("digits", "length=16", TASK_SPLIT_STREAM);
	int n_test = 0, n_validation = 0;
	for (uint64_t i = 0; i < N; i++) {
		int tokens[MOST_T], targets[MOST_T];
		task_draw(&data, 1, RNG_TRAIN, i, tokens, targets);
		n_test += task_content_purpose(tokens, 16) == RNG_TEST;
		n_validation += task_content_purpose(tokens, 16) == RNG_VALIDATION;
	}
	assert_in_range(n_test, 2000 - 5 * 43, 2000 + 5 * 43); // deviation sqrt(N / 16 * 15 / 16)
	assert_in_range(n_validation, 2000 - 5 * 43, 2000 + 5 * 43);
}

// In a small task streams do meet: what the split is for, and that the test above can fail.
static void streams_of_a_small_task_meet_and_contents_do_not(void **state UNUSED)
{
	static const char small[] = "n_key=2"; // 1,024 sequences
	const struct task_data stream = data_of("retrieval", small, TASK_SPLIT_STREAM),
	                       split = data_of("retrieval", small, TASK_SPLIT_CONTENT);
	assert_true(n_shared(&stream, RNG_TRAIN, RNG_TEST, 4000, 1000) > 900);
	assert_int_equal(n_shared(&split, RNG_TRAIN, RNG_TEST, 4000, 1000), 0);
	assert_int_equal(n_shared(&split, RNG_TRAIN, RNG_VALIDATION, 4000, 1000), 0);
	assert_int_equal(n_shared(&split, RNG_VALIDATION, RNG_TEST, 4000, 1000), 0);
}

// In a large one they do not: sequences of one stream stand in no other, nor twice in their own, under two seeds, and
// indices beyond 32 bits count too.
static void streams_of_large_tasks_are_disjoint(void **state UNUSED)
{
	static const char *const large[][2] = {{"copy_back", ""}, {"retrieval", ""}, {"digits", ""}, {"induction", ""},
	        {"induction", "form=pair"}, {"mqar", ""}, {"mqar", "filler=random"}, {"needle", ""}};
	static const enum rng_purpose purpose[] = {RNG_TRAIN, RNG_VALIDATION, RNG_TEST};
	static const uint64_t base[] = {0, 1ULL << 32, 1ULL << 39};
	enum { EACH = 400, ALL = EACH * 3 * 3 * 2 };
	uint64_t *all = malloc(ALL * sizeof(*all));
	for (size_t r = 0; r < sizeof(large) / sizeof(*large); r++) {
		const struct task_data data = data_of(large[r][0], large[r][1], TASK_SPLIT_STREAM);
		int n = 0, n_twice = 0;
		for (uint64_t seed = 1; seed <= 2; seed++)
			for (int p = 0; p < 3; p++)
				for (int b = 0; b < 3; b++)
					for (uint64_t i = 0; i < EACH; i++)
						all[n++] = content(&data, seed, purpose[p], base[b] + i);
		qsort(all, ALL, sizeof(*all), by_value);
		for (int i = 1; i < n; i++)
			n_twice += all[i - 1] == all[i];
		if (n_twice > 1) // 7,200 of 2^32 or more: one pair in 165 test runs by chance
			fail_msg("%s {%s}: %d sequences twice", large[r][0], large[r][1], n_twice);
	}
	free(all);
}

// The same sequences every epoch, each once, in another order; a short last batch is dropped.
static void a_fixed_training_set_comes_once_an_epoch(void **state UNUSED)
{
	enum { N = 50, BATCH = 8, USED = 48, EPOCHS = 40 };
	for (int split = TASK_SPLIT_STREAM; split <= TASK_SPLIT_CONTENT; split++) {
		struct task_data data = data_of("digits", "length=12", (enum task_split)split), endless = data;
		data.n_train = N;
		data.batch = BATCH;
		uint64_t set[N], epoch[USED], first = 0;
		int n_dropped[N] = {0}, n_first_differs = 0;
		for (int i = 0; i < N; i++)
			set[i] = content(&endless, 3, RNG_TRAIN, (uint64_t)i);
		for (int e = 0; e < EPOCHS; e++) {
			int seen[N] = {0};
			for (int i = 0; i < USED; i++) {
				epoch[i] = content(&data, 3, RNG_TRAIN, (uint64_t)(e * USED + i));
				int which = 0;
				while (which < N && set[which] != epoch[i])
					which++;
				assert_true(which < N);
				assert_int_equal(seen[which]++, 0);
			}
			for (int i = 0; i < N; i++)
				n_dropped[i] += !seen[i];
			if (!e)
				first = epoch[0];
			n_first_differs += first != epoch[0];
		}
		int most_dropped = 0;
		for (int i = 0; i < N; i++)
			most_dropped = n_dropped[i] > most_dropped ? n_dropped[i] : most_dropped;
		assert_true(n_first_differs > EPOCHS / 2);
		assert_true(most_dropped < EPOCHS / 4); // not always the same ones
		assert_true(content(&data, 4, RNG_TRAIN, 0) != content(&data, 3, RNG_TRAIN, 0));
		// Validation and test have no epochs.
		assert_true(content(&data, 3, RNG_TEST, 60) == content(&endless, 3, RNG_TEST, 60));
	}
}

// A retry for its class keeps a sequence's slice.
static void a_split_keeps_slices(void **state UNUSED)
{
	const struct task_data data = data_of("needle", "length=32 n_depth=5", TASK_SPLIT_CONTENT);
	for (uint64_t i = 0; i < 300; i++) {
		int tokens[MOST_T], targets[MOST_T], at = 0;
		task_draw(&data, 1, i % 2 ? RNG_TEST : RNG_TRAIN, i, tokens, targets);
		while (tokens[at] != tokens[31])
			at++;
		const int slot = at / 2, depth = (int)(i % 5);
		assert_true(slot >= depth * 15 / 5 && slot < (depth + 1) * 15 / 5);
	}
}

static void assert_refused(struct task_data data, const char *part)
{
	struct err err = {0};
	assert_int_equal(task_data_check(&data, &err), -1);
	if (!strstr(err.message, part))
		fail_msg("'%s' does not say '%s'", err.message, part);
}

static void what_cannot_be_had_is_refused(void **state UNUSED)
{
	struct task_data data = data_of("retrieval", "", TASK_SPLIT_STREAM);
	struct err err = {0};
	data.batch = 16;
	data.n_train = 15;
	assert_refused(data, "do not fill a batch of 16");
	data.n_train = 16;
	assert_int_equal(task_data_check(&data, &err), 0);
	// 2 symbols, 1 pair: 4 sequences cannot be in three classes of which one has a sixteenth.
	assert_refused(data_of("associative_recall", "n_symbol=2 n_pair=1", TASK_SPLIT_CONTENT), "too few distinct");
	struct task_data text = data_of("text", "length=1000", TASK_SPLIT_STREAM);
	text.n_train = CORPUS / 20 * 18 / 1000 + 1;
	assert_refused(text, "more than the 359 training sequences");
	assert_refused(data_of("text", "", TASK_SPLIT_CONTENT), "parts of its own");
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	made_corpus(CORPUS);
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
	        cmocka_unit_test(no_test_sequence_is_ever_trained_on),
	        cmocka_unit_test(classes_have_their_shares),
	        cmocka_unit_test(streams_of_a_small_task_meet_and_contents_do_not),
	        cmocka_unit_test(streams_of_large_tasks_are_disjoint),
	        cmocka_unit_test(a_fixed_training_set_comes_once_an_epoch),
	        cmocka_unit_test(a_split_keeps_slices),
	        cmocka_unit_test(what_cannot_be_had_is_refused),
	};
	return cmocka_run_group_tests_name("training, validation and test data", tests, setup, teardown);
}
