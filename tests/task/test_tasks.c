// SPDX-License-Identifier: MIT
// Copy-back and retrieval as paper B tables them (reference B.2.1, B.2.2), and what every task must hold to.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/task/made_corpus.h"
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
	assert_refused("digits", "map=swap length=15");
	assert_refused("associative_recall", "n_symbol=4 n_pair=5");
	assert_refused("needle", "n_needle=17");
	assert_refused("needle", "length=10 n_needle=5");
	assert_refused("needle", "length=8");
	assert_refused("mqar", "length=63");
	assert_refused("mqar", "length=64 length_least=24 n_pair=2");
	assert_refused("mqar", "n_pair=12 n_pair_least=5");
	assert_refused("mqar", "n_pair=17");
	assert_refused("mqar", "length_least=16");
	assert_refused("mqar", "n_vocab=16");
	assert_refused("text", "length=100000");
}

// --- every task in the registry ------------------------------------------------------------------------------------
struct subject {
	const struct task *task;
	const void *config;
	const char *name; // for messages: what was set
	struct task_shape shape;
};

// Tokens and targets of a sequence in one row, nothing past their end.
static const int *drawn(const struct subject *s, uint64_t seed, enum rng_purpose purpose, uint64_t index)
{
	enum { GUARD = -77 };
	const int n = s->shape.T, n_target = s->shape.n_target;
	int *row = arena_alloc(&arena, (size_t)(n + n_target + 2) * sizeof(int)), *targets = row + n + 1;
	row[n] = row[n + 1 + n_target] = GUARD;
	memset(targets, 0x55, (size_t)n_target * sizeof(int)); // must all be written
	s->task->draw(s->config, seed, purpose, index, row, targets);
	assert_true(row[n] == GUARD && row[n + 1 + n_target] == GUARD);
	return row;
}

static const int *targets_of(const struct subject *s, const int *row)
{
	return row + s->shape.T + 1;
}

// Calls body with the defaults, and with every value of every choice that check() accepts.
static void for_each_task(void (*body)(const struct subject *))
{
	for (const struct task *const *t = task_list; *t; t++) {
		struct err err = {0};
		const void *defaults = configure(*t, "");
		if ((*t)->check && (*t)->check(defaults, &err))
			fail_msg("defaults of %s: %s", (*t)->name, err.message);
		body(&(struct subject){*t, defaults, (*t)->name, (*t)->shape(defaults)});
		for (const struct option *o = (*t)->options; o->key; o++) {
			const char *choice = o->type == OPTION_CHOICE ? o->choices : "";
			for (; *choice; choice += strcspn(choice, "|"), choice += *choice == '|') {
				const char *text =
				        arena_printf(&arena, "%s=%.*s", o->key, (int)strcspn(choice, "|"), choice);
				const void *config = configure(*t, text);
				if (!(*t)->check || !(*t)->check(config, &err))
					body(&(struct subject){*t, config,
					        arena_printf(&arena, "%s %s", (*t)->name, text), (*t)->shape(config)});
			}
		}
	}
}

static void assert_sound(const struct subject *s, const int *row)
{
	const int *targets = targets_of(s, row);
	int n_scored = 0;
	for (int i = 0; i < s->shape.T; i++)
		assert_in_range(row[i], 0, s->shape.n_vocab - 1);
	for (int i = 0; i < s->shape.n_target; i++) {
		assert_true(targets[i] >= -1 && targets[i] < s->shape.n_vocab);
		n_scored += targets[i] >= 0;
	}
	if (!n_scored)
		fail_msg("%s: nothing is scored", s->name);
}

static void pure_body(const struct subject *s)
{
	const struct task_shape *shape = &s->shape;
	assert_true(shape->T > 0 && shape->target_from >= 0 && shape->n_target > 0);
	assert_true(shape->target_from + shape->n_target <= shape->T);
	const size_t bytes = (size_t)(shape->T + shape->n_target + 2) * sizeof(int);
	const int *first = drawn(s, 9, RNG_VALIDATION, 5);
	for (uint64_t index = 0; index < 50; index++)
		assert_sound(s, drawn(s, 9, RNG_VALIDATION, 49 - index));
	assert_memory_equal(first, drawn(s, 9, RNG_VALIDATION, 5), bytes);
	assert_memory_not_equal(first, drawn(s, 9, RNG_VALIDATION, 6), bytes);
	assert_memory_not_equal(first, drawn(s, 9, RNG_TEST, 5), bytes);
	if (!shape->is_partitioned)
		assert_memory_not_equal(first, drawn(s, 10, RNG_VALIDATION, 5), bytes);
}

static void a_draw_is_a_pure_function_of_its_key(void **state UNUSED)
{
	for_each_task(pure_body);
}

// Always answering the most frequent target is no better than `chance`, and not much worse: at most all values that the
// task could ask for are equally likely.
static void chance_body(const struct subject *s)
{
	enum { DRAWS = 4000 };
	long *count = arena_zalloc(&arena, (size_t)s->shape.n_vocab * sizeof(*count)), most = 0, n = 0;
	const struct arena_mark mark = arena_mark(&arena);
	for (uint64_t index = 0; index < DRAWS; index++) {
		const int *targets = targets_of(s, drawn(s, 4, RNG_TRAIN, index));
		for (int i = 0; i < s->shape.n_target; i++)
			if (targets[i] >= 0) {
				count[targets[i]]++;
				n++;
			}
		arena_rewind(&arena, mark);
	}
	for (int v = 0; v < s->shape.n_vocab; v++)
		most = count[v] > most ? count[v] : most;
	const double share = (double)most / (double)n, chance = s->shape.chance;
	// Targets of one sequence depend on each other: as many free ones as sequences.
	const double noise = 5 * sqrt(chance / DRAWS);
	if (!(share < chance + noise && share > 0.85 * chance - noise))
		fail_msg("%s: the most frequent target has a share of %g, chance is said to be %g", s->name, share,
		        chance);
}

static void chance_is_what_the_best_constant_answer_gets(void **state UNUSED)
{
	for_each_task(chance_body);
}

static void slice_body(const struct subject *s)
{
	char name[32][64];
	const int n_slice = s->shape.n_slice;
	if (n_slice <= 1)
		return;
	assert_true(n_slice <= 32);
	for (int i = 0; i < n_slice; i++) {
		memset(name[i], '!', sizeof(name[i]));
		s->task->slice_name(s->config, i, name[i], sizeof(name[i]));
		assert_true(strlen(name[i]) >= 3 && strchr(name[i], '='));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(name[i], name[j]);
	}
}

static void slices_have_names_of_their_own(void **state UNUSED)
{
	int n_sliced = 0;
	for_each_task(slice_body);
	for (const struct task *const *t = task_list; *t; t++) {
		const int n_slice = (*t)->shape(configure(*t, "")).n_slice;
		n_sliced += n_slice > 1;
		assert_true(n_slice <= 1 || (*t)->slice_name);
	}
	assert_true(n_sliced > 0);
	const struct task *mqar = task_find("mqar");
	const void *config = configure(mqar, "n_pair_least=2 length_least=16");
	slice_body(&(struct subject){mqar, config, "mqar", mqar->shape(config)});
}

// A random part of the options, integers near their least value.
static const char *random_settings(const struct task *task, struct rng *rng)
{
	const char *text = "";
	for (const struct option *o = task->options; o->key; o++) {
		const double span = o->most - o->least;
		if (rng_below(rng, 3) == 0)
			continue;
		if (o->type == OPTION_INT) {
			const int value = (int)o->least + rig_int(rng, 0, span < 40 ? (int)span : 40);
			text = arena_printf(&arena, "%s %s=%d", text, o->key, value);
		} else if (o->type == OPTION_REAL) {
			text = arena_printf(&arena, "%s %s=%.6f", text, o->key, o->least + rng_uniform(rng) * span);
		} else if (o->type == OPTION_CHOICE) {
			const char *choice = o->choices;
			for (int i = rig_int(rng, 0, 9); i > 0 && strchr(choice, '|'); i--)
				choice = strchr(choice, '|') + 1;
			text = arena_printf(&arena, "%s %s=%.*s", text, o->key, (int)strcspn(choice, "|"), choice);
		}
	}
	return text;
}

// Small values of every option: each setting is refused with a sentence or draws sound sequences.
static void any_setting_is_refused_or_sound(void **state UNUSED)
{
	enum { TRIES = 600 };
	struct rng rng = rng_make(test_seed(), RNG_CHECK, 77);
	for (const struct task *const *t = task_list; *t; t++) {
		int n_sound = 0;
		for (int i = 0; i < TRIES; i++) {
			const struct arena_mark mark = arena_mark(&arena);
			const char *text = random_settings(*t, &rng);
			const void *config = configure(*t, text);
			struct err err = {0};
			if ((*t)->check && (*t)->check(config, &err)) {
				assert_true(strlen(err.message) > 20);
				continue;
			}
			const struct subject s = {*t, config, text, (*t)->shape(config)};
			for (uint64_t index = 0; index < 12; index++)
				assert_sound(&s, drawn(&s, 1, RNG_TEST, index));
			n_sound++;
			arena_rewind(&arena, mark);
		}
		if (n_sound < TRIES / 200)
			fail_msg("%s accepts only %d of %d settings", (*t)->name, n_sound, TRIES);
	}
}

static int setup(void **state UNUSED)
{
	arena_init(&arena, 1 << 20);
	made_corpus(400000);
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
	        cmocka_unit_test(copy_back_is_the_papers),
	        cmocka_unit_test(retrieval_is_the_papers),
	        cmocka_unit_test(retrieval_generalises_in_keys_and_pairs),
	        cmocka_unit_test(impossible_settings_are_refused),
	        cmocka_unit_test(a_draw_is_a_pure_function_of_its_key),
	        cmocka_unit_test(chance_is_what_the_best_constant_answer_gets),
	        cmocka_unit_test(slices_have_names_of_their_own),
	        cmocka_unit_test(any_setting_is_refused_or_sound),
	};
	return cmocka_run_group_tests_name("tasks", tests, setup, teardown);
}
