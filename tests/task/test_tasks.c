// SPDX-License-Identifier: MIT
// Copy-back and retrieval as paper B tables them (reference B.2.1, B.2.2), and what every task must hold to.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/test.h"

enum { MOST = 4096 };
static struct arena arena;

static void *configure(const struct task *task, const char *settings)
{
	void *config = arena_zalloc(&arena, task->config_bytes);
	options_init(task->options, config);
	build_options(task->options, config, settings);
	return config;
}

static void copy_back_is_the_papers(void **state UNUSED)
{
	const struct task *task = task_find("copy_back");
	const void *config = configure(task, ""); // defaults are the paper's
	const struct task_shape shape = task->shape(config);
	assert_int_equal(shape.n_vocab, 16);
	assert_int_equal(shape.T, 63); // tokens 0..62 of 64 are inputs
	assert_int_equal(shape.target_from, 7);
	assert_int_equal(shape.n_target, 56); // inputs 7..62
	assert_true(shape.chance == 1.0 / 16);
	int seen[16] = {0};
	for (uint64_t index = 0; index < 2000; index++) {
		int token[64], target[64];
		memset(target, -1, sizeof(target));
		token[63] = target[56] = -7;
		task->draw(config, 3, RNG_TRAIN, index, token, target);
		assert_true(token[63] == -7 && target[56] == -7); // nothing past the end
		int sequence[64];                                 // the whole of it: eight symbols repeated
		for (int t = 0; t < 64; t++)
			sequence[t] = token[t % 8];
		for (int t = 0; t < 63; t++) {
			assert_in_range(token[t], 0, 15);
			assert_int_equal(token[t], sequence[t]);
			if (t < 8)
				seen[token[t]]++;
		}
		for (int i = 0; i < 56; i++)
			assert_int_equal(target[i], sequence[7 + i + 1]); // input 7 + i predicts the next
	}
	for (int symbol = 0; symbol < 16; symbol++) // 16000 draws: 1000 each, deviation 31
		assert_true(abs(seen[symbol] - 1000) < 5 * 31);
}

static void retrieval_is_the_papers(void **state UNUSED)
{
	const struct task *task = task_find("retrieval");
	const void *config = configure(task, "");
	const struct task_shape shape = task->shape(config);
	assert_int_equal(shape.n_vocab, 33);
	assert_int_equal(shape.T, 18);
	assert_int_equal(shape.target_from, 17);
	assert_int_equal(shape.n_target, 1);
	assert_true(shape.chance == 1.0 / 16);
	int key_at[8][16] = {{0}}, values[16] = {0}, asked_at[8] = {0}, n_repeat = 0;
	enum { DRAWS = 4000 };
	for (uint64_t index = 0; index < DRAWS; index++) {
		int token[19], target[2], where = -1, is_used[16] = {0}, is_value_used[16] = {0}, repeats = 0;
		token[18] = target[1] = -7;
		task->draw(config, 42, RNG_TRAIN, index, token, target);
		assert_true(token[18] == -7 && target[1] == -7);
		for (int i = 0; i < 8; i++) {
			const int key = token[2 * i], value = token[2 * i + 1];
			assert_in_range(key, 0, 15);
			assert_in_range(value, 16, 31);
			assert_false(is_used[key]); // distinct keys
			is_used[key] = 1;
			repeats |= is_value_used[value - 16];
			is_value_used[value - 16] = 1;
			key_at[i][key]++;
			values[value - 16]++;
			if (key == token[17])
				where = i;
		}
		assert_int_equal(token[16], 32); // SEP
		assert_in_range(where, 0, 7);    // the query is one of the keys
		assert_int_equal(target[0], token[2 * where + 1]);
		asked_at[where]++;
		n_repeat += repeats;
	}
	for (int i = 0; i < 8; i++) {
		assert_true(fabs(asked_at[i] - DRAWS / 8.0) < 5 * sqrt(DRAWS / 8.0 * 7 / 8));
		for (int key = 0; key < 16; key++)
			assert_true(fabs(key_at[i][key] - DRAWS / 16.0) < 5 * sqrt(DRAWS / 16.0 * 15 / 16));
	}
	for (int value = 0; value < 16; value++)
		assert_true(fabs(values[value] - DRAWS / 2.0) < 5 * sqrt(DRAWS * 8 / 16.0 * 15 / 16));
	// Values are drawn with repeats: 1 - 16! / 8! / 16^8 = 0.879 of the sequences have one.
	assert_true(fabs(n_repeat - 0.879 * DRAWS) < 5 * sqrt(DRAWS * 0.879 * 0.121));
}

static void retrieval_generalises_in_keys_and_pairs(void **state UNUSED)
{
	const struct task *task = task_find("retrieval");
	static const struct {
		const char *settings;
		int n_pair, n_vocab;
	} rows[] = {{"n_key=2", 2, 19}, {"n_key=4 n_value=3", 4, 8}, {"n_key=128", 8, 145},
	        {"n_key=64 n_pair=64", 64, 81}, {"n_key=4096 n_pair=3 n_value=2", 3, 4099},
	        {"n_key=8 n_pair=1", 1, 25}};
	for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
		const void *config = configure(task, rows[r].settings);
		struct err err = {0};
		assert_int_equal(task->check(config, &err), 0);
		const struct task_shape shape = task->shape(config);
		assert_int_equal(shape.T, 2 * rows[r].n_pair + 2);
		assert_int_equal(shape.n_vocab, rows[r].n_vocab);
		for (uint64_t index = 0; index < 200; index++) {
			int token[MOST], target, found = 0;
			task->draw(config, 1, RNG_TEST, index, token, &target);
			for (int i = 0; i < rows[r].n_pair; i++) {
				found += token[2 * i] == token[shape.T - 1] && token[2 * i + 1] == target;
				for (int j = 0; j < i; j++)
					assert_int_not_equal(token[2 * i], token[2 * j]);
			}
			assert_int_equal(found, 1);
		}
	}
}

static void assert_refused(const char *name, const char *settings)
{
	const struct task *task = task_find(name);
	struct err err = {0};
	assert_int_equal(task->check(configure(task, settings), &err), -1);
	assert_true(strlen(err.message) > 10);
}

static void impossible_settings_are_refused(void **state UNUSED)
{
	assert_refused("retrieval", "n_key=4 n_pair=5");
	assert_refused("copy_back", "length=8 lag=8");
	assert_refused("copy_back", "length=8 lag=9");
}

// --- every task in the registry ------------------------------------------------------------------------------------
struct sequence {
	int tokens[128], targets[128];
};

static struct sequence drawn(
        const struct task *task, const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index)
{
	struct sequence s;
	memset(&s, -1, sizeof(s));
	task->draw(config, seed, purpose, index, s.tokens, s.targets);
	return s;
}

static void a_draw_is_a_pure_function_of_its_key(void **state UNUSED)
{
	for (const struct task *const *t = task_list; *t; t++) {
		const void *config = configure(*t, "");
		const struct task_shape shape = (*t)->shape(config);
		assert_true(shape.T <= 128 && shape.target_from + shape.n_target <= shape.T && shape.target_from >= 0);
		const struct sequence first = drawn(*t, config, 9, RNG_VALIDATION, 5);
		for (uint64_t index = 0; index < 50; index++) {
			const struct sequence s = drawn(*t, config, 9, RNG_VALIDATION, 49 - index);
			for (int i = 0; i < shape.T; i++)
				assert_in_range(s.tokens[i], 0, shape.n_vocab - 1);
			for (int i = 0; i < shape.n_target; i++)
				assert_in_range(s.targets[i], 0, shape.n_vocab - 1);
		}
		const struct sequence again = drawn(*t, config, 9, RNG_VALIDATION, 5);
		assert_memory_equal(&first, &again, sizeof(first));
	}
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct sequence));
}

// No sequence of one stream stands in another, nor twice in its own, under two seeds. The least task has 2^32
// sequences to draw from. Indices beyond 32 bits count too.
static void streams_are_disjoint(void **state UNUSED)
{
	static const enum rng_purpose purpose[] = {RNG_TRAIN, RNG_VALIDATION, RNG_TEST};
	static const uint64_t base[] = {0, 1ULL << 32, 1ULL << 40};
	enum { EACH = 400, ALL = EACH * 3 * 3 * 2 };
	struct sequence *all = malloc(ALL * sizeof(*all));
	for (const struct task *const *t = task_list; *t; t++) {
		const void *config = configure(*t, "");
		int n = 0;
		for (uint64_t seed = 1; seed <= 2; seed++)
			for (int p = 0; p < 3; p++)
				for (int b = 0; b < 3; b++)
					for (uint64_t i = 0; i < EACH; i++)
						all[n++] = drawn(*t, config, seed, purpose[p], base[b] + i);
		qsort(all, (size_t)n, sizeof(*all), by_bytes);
		int n_twice = 0;
		for (int i = 1; i < n; i++)
			n_twice += by_bytes(&all[i - 1], &all[i]) == 0;
		assert_true(n_twice <= 1); // 7200 of 2^32 or more: one pair in 165 test runs by chance
	}
	free(all);
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	return 0;
}

static int teardown(void **state UNUSED)
{
	arena_release(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(copy_back_is_the_papers),
	        cmocka_unit_test(retrieval_is_the_papers),
	        cmocka_unit_test(retrieval_generalises_in_keys_and_pairs),
	        cmocka_unit_test(impossible_settings_are_refused),
	        cmocka_unit_test(a_draw_is_a_pure_function_of_its_key),
	        cmocka_unit_test(streams_are_disjoint),
	};
	return cmocka_run_group_tests_name("tasks", tests, setup, teardown);
}
