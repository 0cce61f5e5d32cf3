// SPDX-License-Identifier: MIT
// Draws from logits: as often as their softmax says, from no more tokens than asked for, repeatable.
#include <math.h>
#include <string.h>

#include "harness/run/sampling.h"
#include "tests/test.h"

enum { N = 8, DRAWS = 40000 };

ARENA_FIXTURE(scratch, 1 << 16);
static const real logits[N] = {0.5f, -1, 2, 2, 0, -30, 1, -0.25f};

static void count(int times[N], const struct sampling *s)
{
	memset(times, 0, N * sizeof(*times));
	for (uint64_t i = 0; i < DRAWS; i++) {
		const int id = sampling_pick(s, logits, N, i, &scratch);
		assert_true(id >= 0 && id < N);
		times[id]++;
	}
	assert_int_equal(scratch.used_bytes, 0);
}

// keep: which tokens can be drawn.
static void assert_softmax(const struct sampling *s, const int keep[N])
{
	int times[N];
	double sum = 0;
	count(times, s);
	for (int j = 0; j < N; j++)
		sum += keep[j] ? exp((double)logits[j] / s->temperature) : 0;
	for (int j = 0; j < N; j++) {
		const double p = keep[j] ? exp((double)logits[j] / s->temperature) / sum : 0;
		const double off = times[j] - DRAWS * p, deviation = sqrt(DRAWS * p * (1 - p));
		if (!(fabs(off) <= 4.5 * deviation))
			fail_msg("token %d: %d times, expected %g +- %g", j, times[j], DRAWS * p, deviation);
	}
}

static void draws_follow_the_softmax(void **state UNUSED)
{
	static const int all[N] = {1, 1, 1, 1, 1, 1, 1, 1};
	for (int i = 0; i < 3; i++) {
		const struct sampling s = {
		        .temperature = (double[]){0.5, 1, 3}[i], .top_p = 1, .seed = 5 + (uint64_t)i};
		assert_softmax(&s, all);
	}
}

static void only_the_most_likely_are_drawn(void **state UNUSED)
{
	const struct sampling two = {.temperature = 1, .top_k = 2, .top_p = 1},
	                      three = {.temperature = 2, .top_k = 3, .top_p = 1};
	assert_softmax(&two, (const int[N]){0, 0, 1, 1});
	assert_softmax(&three, (const int[N]){0, 0, 1, 1, 0, 0, 1});
	const struct sampling many = {.temperature = 1, .top_k = 100, .top_p = 1};
	assert_softmax(&many, (const int[N]){1, 1, 1, 1, 1, 1, 1, 1});
	// At temperature 1 the shares are .347 .347 .128 .077 .047 .037 .017 and next to nothing.
	const struct sampling some = {.temperature = 1, .top_p = 0.6}, more = {.temperature = 1, .top_p = 0.7},
	                      least = {.temperature = 1, .top_p = 1e-9};
	assert_softmax(&some, (const int[N]){0, 0, 1, 1});
	assert_softmax(&more, (const int[N]){0, 0, 1, 1, 0, 0, 1});
	assert_softmax(&least, (const int[N]){0, 0, 1});
	// top_p is of what top_k left: two of these four have .772 of it, and .694 of all.
	const struct sampling both = {.temperature = 1, .top_k = 4, .top_p = 0.77};
	assert_softmax(&both, (const int[N]){0, 0, 1, 1});
}

static void cold_it_is_the_first_of_the_most_likely(void **state UNUSED)
{
	const struct sampling cold = {.temperature = 0}, cool = {.temperature = 1e-300, .top_p = 1};
	int times[N];
	count(times, &cold);
	assert_int_equal(times[2], DRAWS);
	count(times, &cool);
	assert_int_equal(times[2] + times[3], DRAWS); // equals
}

static void a_draw_is_a_function_of_seed_and_index(void **state UNUSED)
{
	struct sampling s = {.temperature = 2, .top_p = 1, .seed = 1};
	int same = 0;
	for (uint64_t i = 0; i < 1000; i++) {
		const int id = sampling_pick(&s, logits, N, i, &scratch);
		assert_int_equal(id, sampling_pick(&s, logits, N, i, &scratch));
		struct sampling other = s;
		other.seed = 2;
		same += id == sampling_pick(&other, logits, N, i, &scratch);
	}
	assert_true(same > 50 && same < 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(draws_follow_the_softmax),
	        cmocka_unit_test(only_the_most_likely_are_drawn),
	        cmocka_unit_test(cold_it_is_the_first_of_the_most_likely),
	        cmocka_unit_test(a_draw_is_a_function_of_seed_and_index),
	};
	return cmocka_run_group_tests_name("sampling", tests, setup, teardown);
}
