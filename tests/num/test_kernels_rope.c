// SPDX-License-Identifier: MIT
// Rotary positions against plain double-precision loops: both pairings, parts of heads, scaled frequencies, in place.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/num/guard.h"
#include "tests/test.h"

static const double SUM_ROUNDING = 4; // a few operations in a row

enum { ROUNDS = 40 };
static struct rig rig;
static struct rng rng;

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	rng = rig_rng(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	return 0;
}

// By wavelengths, as the models' own code has it.
static double stretched(double frequency, const struct rope_scaling *s)
{
	const double wavelength = 2 * M_PI / frequency, longest = s->original_ctx / s->low,
	             shortest = s->original_ctx / s->high;
	if (s->kind == ROPE_SCALING_NONE || (s->kind == ROPE_SCALING_LLAMA3 && wavelength < shortest))
		return frequency;
	if (s->kind == ROPE_SCALING_LINEAR || wavelength > longest)
		return frequency / s->factor;
	const double smooth = (s->original_ctx / wavelength - s->low) / (s->high - s->low);
	return (1 - smooth) * frequency / s->factor + smooth * frequency;
}

static void test_rope(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 30), H = rig_int(&rng, 1, 4),
		          d = rig_int(&rng, 2, 40);
		const int n_rotary = 2 * rig_int(&rng, 1, d / 2), halves = round % 2, accumulate = round % 4 > 1;
		const int before = rig_int(&rng, 0, d - n_rotary), n_ladder = round % 5 ? n_rotary : 2 * n_rotary;
		// Planes: sets of heads have frequencies of their own.
		const int n_set = round % 3 == 2 ? (H % 2 ? 1 : 2) : 0;
		real plane[2 * 20];
		for (int k = 0; k < n_set * n_rotary / 2; k++)
			plane[k] = (real)rig_int(&rng, -30, 30) + (real)0.25;
		const int first = rig_int(&rng, 0, 1000), sign = round % 3 ? 1 : -1, C = H * d;
		const struct rope_scaling scaling = {round / 2 % 3, 8, 1, 4, 300};
		const struct guarded x = guarded_operand(&rig, B * T, C, C + round % 5);
		const struct guarded out = guarded_output(&rig, B * T, C, C + round % 4, accumulate);
		struct expected e = expected_make(&rig, B * T, C);
		for (int row = 0; row < B * T; row++)
			for (int j = 0; j < C; j++) {
				const int at = j % d - before, half = n_rotary / 2;
				const real *head = x.x + row * x.stride + j - at;
				if (at < 0 || at >= n_rotary) {
					expected_add(&e, (long)row * C + j, (double)head[at]);
					continue;
				}
				const int pair = halves ? at % half : at / 2, is_second = halves ? at >= half : at % 2;
				const int u = halves ? pair : 2 * pair, v = halves ? pair + half : 2 * pair + 1;
				int step = pair;
				if (n_set)
					step += (int)floor(plane[j / d * n_set / H * half + pair]) + 10 * n_ladder;
				step %= n_ladder / 2;
				const double frequency = stretched(pow(1e4, -2.0 * step / n_ladder), &scaling),
				             angle = sign * (first + row % T) * frequency;
				expected_add(
				        &e, (long)row * C + j, (double)head[u] * (is_second ? sin(angle) : cos(angle)));
				expected_add(&e, (long)row * C + j,
				        (double)head[v] * (is_second ? cos(angle) : -sin(angle)));
				e.size[(long)row * C + j] = fabs((double)head[u]) + fabs((double)head[v]);
			}
		const struct rope rope = {.n_head = H,
		        .from = before,
		        .n_rotary = n_rotary,
		        .n_ladder = n_ladder,
		        .base = 1e4,
		        .first = first,
		        .halves = halves,
		        .backwards = sign < 0,
		        .scaling = scaling,
		        .plane = n_set ? plane : NULL,
		        .n_plane_set = n_set};
		const struct strided from = {x.x, T * x.stride, x.stride};
		backend_cpu.rope(rig_exec(&rig), (struct strided_out){out.x, T * out.stride, out.stride, accumulate},
		        from, B, T, C, &rope);
		assert_near("rope", &out, e.x, e.size, SUM_ROUNDING);
		assert_untouched("rope", &x);
		if (accumulate)
			continue;
		backend_cpu.rope(
		        rig_exec(&rig), (struct strided_out){x.x, T * x.stride, x.stride, 0}, from, B, T, C, &rope);
		for (int row = 0; row < B * T; row++) // in place: the same bits
			assert_memory_equal(x.x + row * x.stride, out.x + row * out.stride, (size_t)C * sizeof(real));
	}
}

// What a position gets depends on the position alone: a decoded row has the bits of the whole sequence's.
static void a_row_is_turned_the_same_wherever_it_stands(void **state UNUSED)
{
	enum { T = 70, C = 36 };
	const struct tensor *x = rig_tensor(&rig, 1, T, C);
	struct tensor *all = rig_tensor(&rig, 1, T, C), *one = rig_tensor(&rig, 1, T, C);
	for (int halves = 0; halves < 2; halves++) {
		struct rope rope = {
		        .n_head = 2, .n_rotary = 18, .n_ladder = 18, .base = 1e4, .first = 9, .halves = halves};
		backend_cpu.rope(rig_exec(&rig), (struct strided_out){all->x, T * C, C, 0},
		        (struct strided){x->x, T * C, C}, 1, T, C, &rope);
		for (int t = 0; t < T; t++) {
			rope.first = 9 + t;
			backend_cpu.rope(rig_exec(&rig), (struct strided_out){one->x + t * C, C, C, 0},
			        (struct strided){x->x + t * C, C, C}, 1, 1, C, &rope);
		}
		assert_memory_equal(all->x, one->x, T * C * sizeof(real));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_rope),
	        cmocka_unit_test(a_row_is_turned_the_same_wherever_it_stands),
	};
	return cmocka_run_group_tests_name("rope kernel", tests, setup, teardown);
}
