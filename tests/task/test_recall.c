// SPDX-License-Identifier: MIT
// The tasks of papers A, C and D, MQAR and needle against their definitions, read from the sequence alone.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

enum { MOST = 512 };
ARENA_FIXTURE(arena, 1 << 20);

struct drawn {
	const struct task *task;
	const void *config;
	struct task_shape shape;
	int x[MOST], target[MOST]; // target by position, -1 where nothing is asked
};

static struct drawn make(const char *name, const char *settings)
{
	struct drawn d = {.task = task_find(name)};
	struct err err = {0};
	void *config = arena_zalloc(&arena, d.task->config_bytes);
	options_init(d.task->options, config);
	build_options(d.task->options, config, settings);
	if (d.task->check && d.task->check(config, &err))
		fail_msg("%s", err.message);
	d.config = config;
	d.shape = d.task->shape(config);
	assert_true(d.shape.T <= MOST);
	return d;
}

static void draw(struct drawn *d, uint64_t index)
{
	memset(d->target, -1, sizeof(d->target));
	d->task->draw(d->config, 2, RNG_TRAIN, index, d->x, d->target + d->shape.target_from);
}

// Counts that should be `expected` (a share of n), within five standard deviations.
static void assert_share(long count, double expected, long n)
{
	const double deviation = sqrt((double)n * expected * (1 - expected));
	if (!(fabs((double)count - (double)n * expected) < 5 * deviation + 1e-9))
		fail_msg("%ld of %ld, expected %g", count, n, expected * (double)n);
}

// --- digits ----------------------------------------------------------------------------------------------------------
static int by_digit(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void digits_are_the_papers(void **state UNUSED)
{
	static const char *const maps[] = {"reverse", "sort", "sub", "swap", "copy"};
	for (int map = 0; map < 5; map++) {
		struct drawn d = make("digits", arena_printf(&arena, "map=%s length=16", maps[map]));
		int count[10] = {0};
		assert_true(d.shape.n_vocab == 10 && d.shape.T == 16 && d.shape.n_target == 16);
		for (uint64_t index = 0; index < 1000; index++) {
			int expected[16];
			draw(&d, index);
			for (int i = 0; i < 16; i++) {
				count[d.x[i]]++;
				switch (map) {
				case 0:
					expected[15 - i] = d.x[i];
					break;
				case 2:
					expected[i] = 9 - d.x[i];
					break;
				case 3:
					expected[i < 8 ? i + 8 : i - 8] = d.x[i];
					break;
				default:
					expected[i] = d.x[i];
				}
			}
			if (map == 1)
				qsort(expected, 16, sizeof(int), by_digit);
			assert_memory_equal(d.target, expected, sizeof(expected));
		}
		for (int digit = 0; digit < 10; digit++)
			assert_share(count[digit], 0.1, 16000);
	}
}

// --- associative recall
// ------------------------------------------------------------------------------------------------
static void associative_recall_is_the_papers(void **state UNUSED)
{
	enum { DRAWS = 4000 };
	struct drawn d = make("associative_recall", "");
	long answer[10] = {0}, asked[4] = {0}, n_also_value = 0;
	assert_true(d.shape.n_vocab == 10 && d.shape.T == 9 && d.shape.target_from == 8);
	for (uint64_t index = 0; index < DRAWS; index++) {
		int where = -1, is_value = 0;
		draw(&d, index);
		for (int i = 0; i < 4; i++) {
			for (int j = 0; j < i; j++)
				assert_int_not_equal(d.x[2 * i], d.x[2 * j]);
			if (d.x[2 * i] == d.x[8])
				where = i;
			is_value |= d.x[2 * i + 1] == d.x[8];
		}
		assert_in_range(where, 0, 3);
		assert_int_equal(d.target[8], d.x[2 * where + 1]);
		asked[where]++;
		answer[d.target[8]]++;
		n_also_value += is_value;
	}
	for (int i = 0; i < 4; i++)
		assert_share(asked[i], 0.25, DRAWS);
	for (int v = 0; v < 10; v++)
		assert_share(answer[v], 0.1, DRAWS);
	assert_share(n_also_value, 1 - pow(0.9, 4), DRAWS); // keys and values are the same symbols
}

// --- induction
// ---------------------------------------------------------------------------------------------------------
static void induction_asks_what_followed_the_latest(void **state UNUSED)
{
	enum { DRAWS = 6000 };
	struct drawn d = make("induction", "");
	long answer[10] = {0}, follower[10] = {0};
	assert_true(d.shape.T == 32 && d.shape.target_from == 31 && d.shape.n_target == 1);
	for (uint64_t index = 0; index < DRAWS; index++) {
		int expected = -1;
		draw(&d, index);
		for (int i = 0; i < 30; i++) // from the left: the last one found stays
			if (d.x[i] == d.x[31])
				expected = d.x[i + 1];
		assert_true(expected >= 0 && expected != d.x[31]);
		assert_true(d.x[30] != d.x[31]); // else the latest occurrence would be followed by the question
		assert_int_equal(d.target[31], expected);
		answer[expected]++;
		follower[(expected - d.x[31] + 10) % 10]++;
	}
	for (int v = 0; v < 10; v++) {
		assert_share(answer[v], 0.1, DRAWS);
		assert_share(follower[v], v ? 1 / 9.0 : 0, DRAWS); // chance is 1/9
	}
}

static void induction_by_pair_is_paper_as_later_one(void **state UNUSED)
{
	enum { DRAWS = 6000 };
	struct drawn d = make("induction", "form=pair");
	long first[10] = {0}, answer[10] = {0};
	for (uint64_t index = 0; index < DRAWS; index++) {
		int scored = -1, p = 0, n_a = 0;
		draw(&d, index);
		for (int i = 0; i < 32; i++)
			if (d.target[i] >= 0) {
				assert_int_equal(scored, -1);
				scored = i;
			}
		const int q = scored - 1, a = d.x[q];
		while (d.x[p] != a)
			p++;
		assert_true(p < 10 && q >= p + 2 && q <= 30);
		assert_int_equal(d.target[scored], d.x[p + 1]);
		for (int i = 0; i < 32; i++)
			n_a += d.x[i] == a;
		assert_int_equal(n_a, d.x[p + 1] == a ? 3 : 2);
		first[p]++;
		answer[d.target[scored]]++;
	}
	for (int v = 0; v < 10; v++) {
		assert_share(first[v], 0.1, DRAWS);
		assert_share(answer[v], 0.1, DRAWS);
	}
}

// --- needle
// ------------------------------------------------------------------------------------------------------------
static void needles_lie_at_their_depth(void **state UNUSED)
{
	enum { DRAWS = 6000, KEYS = 16, VALUES = 16, SEP = 32, SLOTS = 31 };
	struct drawn d = make("needle", "n_needle=3 n_depth=4");
	long at_slot[SLOTS] = {0};
	assert_true(d.shape.T == 64 && d.shape.n_vocab == 49 && d.shape.n_slice == 4);
	for (uint64_t index = 0; index < DRAWS; index++) {
		int n_key = 0, where = -1;
		draw(&d, index);
		for (int i = 0; i < 62; i++) {
			if (d.x[i] >= KEYS)
				continue;
			assert_int_equal(i % 2, 0);
			assert_in_range(d.x[i + 1], KEYS, KEYS + VALUES - 1);
			for (int j = 0; j < i; j++)
				assert_int_not_equal(d.x[j], d.x[i]); // distinct keys
			if (d.x[i] == d.x[63])
				where = i;
			n_key++;
		}
		for (int i = 0; i < 62; i++) // all else is filler
			assert_true(d.x[i] > SEP || d.x[i] < KEYS || (i % 2 && d.x[i] < SEP && d.x[i - 1] < KEYS));
		assert_int_equal(n_key, 3);
		assert_int_equal(d.x[62], SEP);
		assert_true(where >= 0);
		assert_int_equal(d.target[63], d.x[where + 1]);
		const int depth = (int)(index % 4);
		assert_true(where / 2 >= depth * SLOTS / 4 && where / 2 < (depth + 1) * SLOTS / 4);
		at_slot[where / 2]++;
	}
	for (int depth = 0; depth < 4; depth++)
		for (int slot = depth * SLOTS / 4; slot < (depth + 1) * SLOTS / 4; slot++)
			assert_share(at_slot[slot], 1.0 / ((depth + 1) * SLOTS / 4 - depth * SLOTS / 4), DRAWS / 4);
	char name[32];
	d.task->slice_name(d.config, 1, name, sizeof(name));
	assert_string_equal(name, "depth=0.25");
}

// --- mqar
// --------------------------------------------------------------------------------------------------------------
// Everything that the definition says of one sequence of n pairs in `length` tokens; gap[i] of the i-th key.
static void check_mqar(const struct drawn *d, int n, int length, int is_random, int *gap)
{
	const int half = d->shape.n_vocab / 2;
	int n_scored = 0;
	for (int i = 0; i < n; i++) {
		const int key = d->x[2 * i], value = d->x[2 * i + 1];
		assert_in_range(key, 1, half - 1);
		assert_in_range(value, half, d->shape.n_vocab - 1);
		for (int j = 0; j < i; j++)
			assert_true(d->x[2 * j] != key && d->x[2 * j + 1] != value);
		gap[i] = -1;
		for (int t = 2 * n; t < length; t++)
			if (d->target[t] == value) {
				assert_int_equal(gap[i], -1);
				assert_int_equal(d->x[t], key);
				assert_int_equal((t - 2 * n) % 2, 0);
				gap[i] = (t - 2 * n) / 2;
			}
		assert_true(gap[i] >= 0);
	}
	for (int t = 0; t < d->shape.T; t++) {
		n_scored += d->target[t] >= 0;
		if (t >= length || (t >= 2 * n && d->target[t] < 0 && !is_random))
			assert_int_equal(d->x[t], 0);
	}
	assert_int_equal(n_scored, n);
}

static void mqar_is_zoologys(void **state UNUSED)
{
	int gap[MOST];
	for (int is_random = 0; is_random < 2; is_random++) {
		struct drawn d = make("mqar", is_random ? "filler=random" : "");
		long n_key_in_filler = 0;
		for (uint64_t index = 0; index < 1000; index++) {
			draw(&d, index);
			check_mqar(&d, 8, 64, is_random, gap);
			for (int t = 16; t < 64; t++)
				n_key_in_filler += d.target[t] < 0 && d.x[t] > 0 && d.x[t] < 128;
		}
		assert_share(n_key_in_filler, is_random ? 127.0 / 256 : 0, 1000L * 40);
	}
}

static void mqar_slices_are_pairs_times_lengths(void **state UNUSED)
{
	static const struct {
		int n, length;
	} slice[] = {{2, 16}, {4, 16}, {2, 32}, {4, 32}, {8, 32}, {2, 64}, {4, 64}, {8, 64}};
	int gap[MOST];
	struct drawn d = make("mqar", "n_pair_least=2 length_least=16 filler=random");
	assert_int_equal(d.shape.n_slice, 8); // 8 pairs do not fit into 16
	for (uint64_t index = 0; index < 400; index++) {
		draw(&d, index);
		check_mqar(&d, slice[index % 8].n, slice[index % 8].length, 1, gap);
	}
	char name[64];
	d.task->slice_name(d.config, 4, name, sizeof(name));
	assert_string_equal(name, "n_pair=8 length=32");
}

// The first key's gap has weights (g + 1)^(a - 1), the second's the same among the rest: over all (first, second).
static void gaps_follow_the_power_law_without_repeats(void **state UNUSED)
{
	enum { DRAWS = 40000, GAPS = 4 };
	static const double exponents[] = {0.01, 1, 2};
	for (int e = 0; e < 3; e++) {
		struct drawn d = make("mqar", arena_printf(&arena, "length=12 n_pair=2 power_a=%g", exponents[e]));
		long count[GAPS][GAPS] = {{0}};
		double weight[GAPS], total = 0;
		for (int g = 0; g < GAPS; g++)
			total += weight[g] = pow(g + 1, exponents[e] - 1);
		for (uint64_t index = 0; index < DRAWS; index++) {
			int gap[MOST];
			draw(&d, index);
			check_mqar(&d, 2, 12, 0, gap);
			count[gap[0]][gap[1]]++;
		}
		for (int g = 0; g < GAPS; g++)
			for (int h = 0; h < GAPS; h++)
				assert_share(count[g][h],
				        g == h ? 0 : weight[g] / total * weight[h] / (total - weight[g]), DRAWS);
	}
}

// As many questions as places: every gap is taken.
static void a_full_sequence_has_no_filler(void **state UNUSED)
{
	int gap[MOST];
	struct drawn d = make("mqar", "length=512 n_pair=128 n_vocab=300");
	for (uint64_t index = 0; index < 50; index++) {
		draw(&d, index);
		check_mqar(&d, 128, 512, 0, gap);
		for (int t = 256; t < 512; t += 2)
			assert_true(d.target[t] >= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(digits_are_the_papers),
	        cmocka_unit_test(associative_recall_is_the_papers),
	        cmocka_unit_test(induction_asks_what_followed_the_latest),
	        cmocka_unit_test(induction_by_pair_is_paper_as_later_one),
	        cmocka_unit_test(needles_lie_at_their_depth),
	        cmocka_unit_test(mqar_is_zoologys),
	        cmocka_unit_test(mqar_slices_are_pairs_times_lengths),
	        cmocka_unit_test(gaps_follow_the_power_law_without_repeats),
	        cmocka_unit_test(a_full_sequence_has_no_filler),
	};
	return cmocka_run_group_tests_name("recall and digit tasks", tests, setup, teardown);
}
