// SPDX-License-Identifier: MIT
// Cached types against their definitions in double arithmetic: rounding of f16 and bf16 number by number, scales and
// errors of q8 and q4 block by block, on random and on hostile rows of every length.
#include "harness/num/dtype.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "harness/num/cpu/half.h"
#include "tests/num/rig.h"
#include "tests/test.h"

enum { BLOCK = DTYPE_BLOCK, LONGEST = 4 * BLOCK + 5, MOST_BYTES = 4 * LONGEST, GUARD = 64 };

RIG_FIXTURE;

static uint32_t bits_of(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static float from_bits(uint32_t bits)
{
	float x;
	memcpy(&x, &bits, sizeof(x));
	return x;
}

static uint32_t random_bits(struct rng *rng)
{
	return (uint32_t)rng_below(rng, 1U << 16) << 16 | rng_below(rng, 1U << 16);
}

// --- the definitions ----------------------------------------------------------------------------------------------

// The number of `digits` binary digits nearest to x whose unit is not below 2^least_unit; ties to even. From
// `overflow` on it is infinity.
static double rounded(double x, int digits, int least_unit, double overflow)
{
	int exponent;
	if (isnan(x) || isinf(x) || x == 0)
		return x;
	frexp(x, &exponent); // |x| in 2^(exponent - 1) to 2^exponent
	const int unit = exponent - digits > least_unit ? exponent - digits : least_unit;
	const double y = ldexp(nearbyint(ldexp(x, -unit)), unit);
	return fabs(y) >= overflow ? copysign(INFINITY, x) : y;
}

static double f16(double x)
{
	return rounded(x, 11, -24, 65536);
}

static double bf16(double x)
{
	return rounded(x, 8, -133, ldexp(1, 128));
}

static double half_value(unsigned half)
{
	const int exponent = half >> 10 & 31, digits = half & 1023;
	const double size = exponent == 31  ? (digits ? NAN : INFINITY)
	                    : exponent == 0 ? ldexp(digits, -24)
	                                    : ldexp(1024 + digits, exponent - 25);
	return half >> 15 ? -size : size;
}

static void assert_same(const char *what, double got, double expected, double x)
{
	if (isnan(expected) ? !isnan(got) : got != expected || signbit(got) != signbit(expected))
		fail_msg("%s of %a is %a, not %a", what, x, got, expected);
}

// --- f16, bf16 ----------------------------------------------------------------------------------------------------

// What a row of one number, and the same number in a whole block, reads back as.
static float through(enum dtype dtype, float x)
{
	float row[BLOCK], one, all[BLOCK];
	unsigned char bytes[4 * BLOCK];
	for (int i = 0; i < BLOCK; i++)
		row[i] = x;
	dtype_write(dtype, bytes, row, BLOCK);
	dtype_read(dtype, all, bytes, BLOCK);
	dtype_write(dtype, bytes, &x, 1);
	dtype_read(dtype, &one, bytes, 1);
	for (int i = 0; i < BLOCK; i++)
		assert_memory_equal(&all[i], &one, sizeof(one));
	return one;
}

static void check_rounding(float x)
{
	assert_same("f16", (double)through(DTYPE_F16, x), f16((double)x), (double)x);
	assert_same("bf16", (double)through(DTYPE_BF16, x), bf16((double)x), (double)x);
}

static void every_half_is_read(void **state UNUSED)
{
	for (unsigned half = 0; half < 1U << 16; half++) {
		const uint16_t row = (uint16_t)half;
		float x;
		dtype_read(DTYPE_F16, &x, &row, 1);
		assert_same("half", (double)x, half_value(half), half);
		uint16_t back;
		dtype_write(DTYPE_F16, &back, &x, 1);
		if (!isnan(x))
			assert_int_equal(back, half);
	}
}

// Every number that lies half-way between two halves, or between two bf16, and its neighbours on both sides.
static void ties_go_to_even(void **state UNUSED)
{
	for (uint32_t half = 0; half < 0x7c00; half++) {
		const uint32_t middle = bits_of((float)((half_value(half) + half_value(half + 1)) / 2));
		const float at = half == 0x7bff ? 65520 : from_bits(middle);
		for (int step = -1; step <= 1; step++) {
			check_rounding(from_bits(bits_of(at) + (uint32_t)step));
			check_rounding(-from_bits(bits_of(at) + (uint32_t)step));
		}
	}
	for (uint32_t upper = 0; upper < 1U << 16; upper++)
		for (int step = -1; step <= 1; step++)
			check_rounding(from_bits((upper << 16 | 0x8000) + (uint32_t)step));
}

static void random_numbers_round_to_nearest(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	for (int i = 0; i < 300000; i++) {
		check_rounding(from_bits(random_bits(&rng)));
		check_rounding((float)ldexp(rng_normal(&rng), rig_int(&rng, -30, 17)));
	}
}

static void vectors_and_portable_halves_have_the_same_bits(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	for (uint32_t at = 0; at < 1U << 16; at += 8) {
		uint16_t half[8], back[8];
		float x[8];
		for (uint32_t i = 0; i < 8; i++)
			half[i] = (uint16_t)(at + i);
		floats_of_halves(x, half, 8);
		for (int i = 0; i < 8; i++)
			assert_int_equal(bits_of(x[i]), bits_of(float_of_half(half[i])));
		for (int draw = 0; draw < 64; draw++) {
			for (int i = 0; i < 8; i++)
				x[i] = draw ? from_bits(random_bits(&rng)) : from_bits((at + (uint32_t)i) << 16);
			halves_of_floats(back, x, 8);
			for (int i = 0; i < 8; i++)
				if (back[i] != half_of_float(x[i]))
					fail_msg("%a: %04x by vectors, %04x by portable code", (double)x[i], back[i],
					        half_of_float(x[i]));
		}
	}
}

// --- q8, q4 -------------------------------------------------------------------------------------------------------

// y is what n numbers x of one block read back as. Each lies on the block's grid, as near to its number as the stored
// scales allow: half a step, and what the grid falls short of the block's range since its ends are in f16.
static void check_block(enum dtype dtype, const float *y, const float *x, int n)
{
	double least = INFINITY, most = -INFINITY, largest = 0;
	for (int i = 0; i < n; i++) {
		if (!isfinite(x[i]))
			largest = INFINITY;
		least = fmin(least, (double)x[i]);
		most = fmax(most, (double)x[i]);
		largest = fmax(largest, fabs((double)x[i]));
	}
	const int levels = dtype == DTYPE_Q8 ? 127 : 15;
	const double ideal = dtype == DTYPE_Q8 ? (double)((float)largest / 127) : (double)((float)(most - least) / 15);
	const double scale = f16(ideal), origin = dtype == DTYPE_Q8 ? 0 : f16(least);
	const int is_lost = isinf(largest) || isinf(scale) || isinf(origin);
	double slack = scale / 2;
	if (dtype == DTYPE_Q8)
		slack = fmax(slack, largest - 127 * scale);
	else
		slack = fmax(fmax(slack, origin - least), most - (origin + 15 * scale));
	for (int i = 0; i < n; i++) {
		if (is_lost && !isnan(y[i]))
			fail_msg("%s: %g in a block beyond the type's range", dtype_name[dtype], (double)y[i]);
		if (is_lost)
			continue;
		const double off = fabs((double)y[i] - (double)x[i]), size = fabs(origin) + levels * scale;
		if (!(off <= slack + 2 * FLT_EPSILON * size))
			fail_msg("%s: %a reads as %a, scale %a: off by %g, more than %g", dtype_name[dtype],
			        (double)x[i], (double)y[i], scale, off, slack);
		const double level = scale > 0 ? ((double)y[i] - origin) / scale : 0;
		const double to_grid = fabs(level - nearbyint(level)) * scale;
		if (to_grid > 2 * FLT_EPSILON * size || level < (dtype == DTYPE_Q8 ? -levels : 0) - 0.1 ||
		        level > levels + 0.1)
			fail_msg("%s: %a is not on the grid of %d steps of %a from %a", dtype_name[dtype], (double)y[i],
			        levels, scale, origin);
	}
}

static void check_row(enum dtype dtype, const float *x, int n)
{
	unsigned char bytes[MOST_BYTES + GUARD], untouched[GUARD];
	float y[LONGEST + GUARD];
	const size_t size = dtype_row_bytes(dtype, n);
	memset(bytes, 0xa5, sizeof(bytes));
	memset(untouched, 0xa5, sizeof(untouched));
	memset(y, 0xa5, sizeof(y));
	dtype_write(dtype, bytes, x, n);
	assert_memory_equal(bytes + size, untouched, GUARD);
	dtype_read(dtype, y, bytes, n);
	assert_memory_equal(y + n, untouched, GUARD);
	if (dtype == DTYPE_F32)
		assert_memory_equal(y, x, (size_t)n * sizeof(*x));
	for (int i = 0; i < n; i++) {
		if (dtype == DTYPE_F16)
			assert_same("f16", (double)y[i], f16((double)x[i]), (double)x[i]);
		if (dtype == DTYPE_BF16)
			assert_same("bf16", (double)y[i], bf16((double)x[i]), (double)x[i]);
	}
	if (dtype == DTYPE_Q8 || dtype == DTYPE_Q4)
		for (int at = 0; at < n; at += BLOCK)
			check_block(dtype, y + at, x + at, n - at < BLOCK ? n - at : BLOCK);
	// The same bytes at an odd address, and from another place.
	unsigned char moved[MOST_BYTES + 1];
	float again[LONGEST];
	dtype_write(dtype, moved + 1, x, n);
	assert_memory_equal(moved + 1, bytes, size);
	dtype_read(dtype, again, moved + 1, n);
	assert_memory_equal(again, y, (size_t)n * sizeof(*y));
}

static void rows_of_every_length(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	float x[LONGEST];
	for (int n = 0; n <= LONGEST; n++)
		for (int draw = 0; draw < 40; draw++) {
			const int exponent = rig_int(&rng, -24, 12), shift = rig_int(&rng, -3, 3);
			for (int i = 0; i < n; i++)
				x[i] = (float)ldexp(rng_normal(&rng) + shift, exponent);
			for (int dtype = 0; dtype < N_DTYPE; dtype++)
				check_row((enum dtype)dtype, x, n);
		}
}

// Rows of few values, among them the ends of every range; each with each.
static void hostile_rows(void **state UNUSED)
{
	static const float values[] = {0, -0.0F, 1, -1, 127, 128, 0x1p-24F, 0x1p-25F, 0x1.8p-25F, 0x1p-14F, 0x1p-149F,
	        -0x1p-140F, 0x1p-126F, 2049, -2049, 65504, 65519, 65520, -65536, 8.3e6F, 8.4e6F, 1e30F, FLT_MAX,
	        -FLT_MAX, INFINITY, -INFINITY, NAN, 127 * 0x1p-24F, 190 * 0x1p-24F};
	enum { N_VALUE = sizeof(values) / sizeof(*values) };
	struct rng rng = rig_rng(&rig);
	float x[LONGEST];
	for (int a = 0; a < N_VALUE; a++)
		for (int b = 0; b < N_VALUE; b++)
			for (int n = 1; n < LONGEST; n += rig_int(&rng, 1, 40)) {
				const int odd_one = rig_int(&rng, 0, n - 1);
				for (int i = 0; i < n; i++)
					x[i] = i == odd_one ? values[b] : values[a];
				for (int dtype = 0; dtype < N_DTYPE; dtype++)
					check_row((enum dtype)dtype, x, n);
			}
}

// A number that is not finite spoils its own block only.
static void what_is_not_finite_stays_in_its_block(void **state UNUSED)
{
	static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
	float x[3 * BLOCK], y[3 * BLOCK];
	unsigned char bytes[MOST_BYTES];
	for (int dtype = DTYPE_Q8; dtype <= DTYPE_Q4; dtype++)
		for (int kind = 0; kind < 4; kind++)
			for (int at = 0; at < 3 * BLOCK; at++) {
				for (int i = 0; i < 3 * BLOCK; i++)
					x[i] = i == at ? bad[kind] : (float)(i % 7);
				dtype_write((enum dtype)dtype, bytes, x, 3 * BLOCK);
				dtype_read((enum dtype)dtype, y, bytes, 3 * BLOCK);
				for (int i = 0; i < 3 * BLOCK; i++)
					assert_int_equal(!isfinite(y[i]), i / BLOCK == at / BLOCK);
			}
}

static void numbers_on_the_grid_are_exact(void **state UNUSED)
{
	struct rng rng = rig_rng(&rig);
	float x[BLOCK], y[BLOCK];
	unsigned char bytes[MOST_BYTES];
	for (int draw = 0; draw < 2000; draw++) {
		const int exponent = rig_int(&rng, -10, 5), n = rig_int(&rng, 2, BLOCK);
		const double origin = ldexp(rig_int(&rng, -16, 16), exponent);
		for (int i = 0; i < n; i++)
			x[i] = (float)ldexp(i ? rig_int(&rng, -127, 127) : 127, exponent);
		dtype_write(DTYPE_Q8, bytes, x, n);
		dtype_read(DTYPE_Q8, y, bytes, n);
		assert_memory_equal(y, x, (size_t)n * sizeof(*x));
		for (int i = 0; i < n; i++)
			x[i] = (float)(origin + ldexp(i == 0 ? 0 : i == 1 ? 15 : rig_int(&rng, 0, 15), exponent));
		dtype_write(DTYPE_Q4, bytes, x, n);
		dtype_read(DTYPE_Q4, y, bytes, n);
		assert_memory_equal(y, x, (size_t)n * sizeof(*x));
	}
}

// The bytes themselves, little-endian: stored caches and other programs' blocks (q8_0, q4_1) are laid out like this.
static void blocks_are_laid_out_as_documented(void **state UNUSED)
{
	static const float x[5] = {-2, 0, 1, 13, -1.25F};
	static const unsigned char q4[] = {0x00, 0x3c, 0x00, 0xc0, 0xf0, 0x12, 0x03}; // scale 1, least -2
	static const unsigned char q8[] = {0x8d, 0x2e, 0xec, 0x00, 0x0a, 0x7f, 0xf4}; // scale 0.10236 for 13 / 127
	unsigned char bytes[8];
	assert_int_equal(dtype_row_bytes(DTYPE_Q4, 5), sizeof(q4));
	assert_int_equal(dtype_row_bytes(DTYPE_Q8, 5), sizeof(q8));
	dtype_write(DTYPE_Q4, bytes, x, 5);
	assert_memory_equal(bytes, q4, sizeof(q4));
	dtype_write(DTYPE_Q8, bytes, x, 5);
	assert_memory_equal(bytes, q8, sizeof(q8));
}

static void rows_take_the_bytes_they_say(void **state UNUSED)
{
	static const struct {
		int n, f32, f16, q8, q4;
	} rows[] = {
	        {0, 0, 0, 0, 0},
	        {1, 4, 2, 3, 5},
	        {31, 124, 62, 33, 20},
	        {32, 128, 64, 34, 20},
	        {33, 132, 66, 37, 25},
	        {64, 256, 128, 68, 40},
	        {80, 320, 160, 86, 52},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(dtype_row_bytes(DTYPE_F32, rows[i].n), rows[i].f32);
		assert_int_equal(dtype_row_bytes(DTYPE_F16, rows[i].n), rows[i].f16);
		assert_int_equal(dtype_row_bytes(DTYPE_BF16, rows[i].n), rows[i].f16);
		assert_int_equal(dtype_row_bytes(DTYPE_Q8, rows[i].n), rows[i].q8);
		assert_int_equal(dtype_row_bytes(DTYPE_Q4, rows[i].n), rows[i].q4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_half_is_read),
	        cmocka_unit_test(ties_go_to_even),
	        cmocka_unit_test(random_numbers_round_to_nearest),
	        cmocka_unit_test(vectors_and_portable_halves_have_the_same_bits),
	        cmocka_unit_test(rows_of_every_length),
	        cmocka_unit_test(hostile_rows),
	        cmocka_unit_test(what_is_not_finite_stays_in_its_block),
	        cmocka_unit_test(numbers_on_the_grid_are_exact),
	        cmocka_unit_test(blocks_are_laid_out_as_documented),
	        cmocka_unit_test(rows_take_the_bytes_they_say),
	};
	return cmocka_run_group_tests_name("dtypes", tests, setup, teardown);
}
