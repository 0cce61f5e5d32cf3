// SPDX-License-Identifier: MIT
// The CUDA backend's slots that work on reals, but products and attention, against the CPU's: random odd sizes, strided
// rows, guards around outputs, NaN in outputs that must not be read. Where both do the same operations in the same
// order the bits are the same; elsewhere constants count the roundings in which they may differ.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/num/cuda_rig.h"
#include "tests/test.h"

static const double FUSED = 2;      // a product and a sum, rounded once or twice
static const double FUNCTION = 16;  // exp, erfc, sigmoid: 2 ulp each side and what follows from it
static const double GELU_ERROR = 8; // the CPU's Phi is a polynomial of absolute error 1e-7, about an epsilon
static const double NORM = 12;      // mean and deviation are sums in two different orders
static const double TURN = 4;       // two products and a sum; sines are exact but for their last bit

enum { ROUNDS = 24 };
static struct cuda_rig rig;
static struct rng rng;

static double *sizes(int rows, int columns)
{
	return arena_zalloc(&rig.host.memory, (size_t)rows * (size_t)columns * sizeof(double));
}

// Rows (B, T) of an operand as rows of a guarded matrix of B * T.
static struct strided operand_of(const real *x, int T, ptrdiff_t stride)
{
	return (struct strided){x, T * stride, stride};
}

static struct strided_out output_of(real *x, int T, ptrdiff_t stride, int accumulate)
{
	return (struct strided_out){x, T * stride, stride, accumulate};
}

static void test_add_copy(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 40), n = rig_int(&rng, 1, 90), accumulate = round % 2;
		cuda_begin(&rig);
		const struct guarded a = guarded_operand(&rig.host, m, n, n), b = guarded_operand(&rig.host, m, n, n);
		const struct guarded x = guarded_operand(&rig.host, m, n, n + round % 3);
		const struct outputs sum = cuda_outputs(&rig, m, n, n, 0),
		                     copy = cuda_outputs(&rig, m, n, n + round % 5, accumulate);
		backend_cpu.add(rig_exec(&rig.host), sum.cpu.x, a.x, b.x, (long)m * n);
		backend_cpu.copy(rig_exec(&rig.host), copy.cpu.x, copy.cpu.stride, x.x, x.stride, m, n, accumulate);
		rig.exact->add(cuda_exec(&rig), cuda_mirror(&rig, &sum.cuda), cuda_mirror(&rig, &a),
		        cuda_mirror(&rig, &b), (long)m * n);
		rig.exact->copy(cuda_exec(&rig), cuda_mirror(&rig, &copy.cuda), copy.cuda.stride, cuda_mirror(&rig, &x),
		        x.stride, m, n, accumulate);
		cuda_fetch(&rig);
		assert_outputs("add", &sum, NULL, 0);
		assert_outputs("copy", &copy, NULL, 0);
		assert_untouched("add", &a);
		assert_untouched("copy", &x);
	}
}

static void test_activations(void **state UNUSED)
{
	static const enum unary kinds[] = {UNARY_GELU, UNARY_RELU, UNARY_GELU_NEW};
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 30), n = rig_int(&rng, 1, 90), kind = round % 3;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, 2 * n, 2 * n);
		for (int i = 0; i < m * 2 * n; i++) // tails too
			x.x[i] *= i % 7 ? 2 : 12;
		memcpy(x.before, x.memory, x.n_memory * sizeof(real));
		const struct outputs out = cuda_outputs(&rig, m, 2 * n, 2 * n, 0),
		                     slope = cuda_outputs(&rig, m, 2 * n, 2 * n, 0),
		                     gated = cuda_outputs(&rig, m, n, n, 0);
		double *size = sizes(m, 2 * n), *one = sizes(m, 2 * n), *gated_size = sizes(m, n);
		for (int i = 0; i < m * 2 * n; i++) {
			size[i] = fabs((double)x.x[i]) + 1e-30;
			one[i] = 1 + fabs((double)x.x[i]);
			if (i % (2 * n) < n)
				gated_size[i / (2 * n) * n + i % (2 * n)] = fabs((double)x.x[i] * (double)x.x[i + n]);
		}
		const long total = (long)m * 2 * n;
		real *slope_at = round % 2 ? cuda_mirror(&rig, &slope.cuda) : NULL;
		backend_cpu.unary(rig_exec(&rig.host), out.cpu.x, slope.cpu.x, x.x, total, kinds[kind]);
		backend_cpu.swiglu(rig_exec(&rig.host), gated.cpu.x, x.x, m, n);
		const real *x_at = cuda_mirror(&rig, &x);
		rig.exact->unary(cuda_exec(&rig), cuda_mirror(&rig, &out.cuda), slope_at, x_at, total, kinds[kind]);
		rig.exact->swiglu(cuda_exec(&rig), cuda_mirror(&rig, &gated.cuda), x_at, m, n);
		cuda_fetch(&rig);
		const double constant = kinds[kind] == UNARY_RELU   ? 0
		                        : kinds[kind] == UNARY_GELU ? GELU_ERROR
		                                                    : FUNCTION;
		assert_outputs("unary", &out, size, constant);
		if (slope_at)
			assert_outputs("unary: slope", &slope, one, constant);
		assert_outputs("swiglu", &gated, gated_size, FUNCTION);
	}
}

static void test_dropout(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = rig_int(&rng, 1, 3000), accumulate = round % 2;
		const uint64_t seed = (uint64_t)rng_u32(&rng) << 32 | rng_u32(&rng), index = (uint64_t)rng_u32(&rng)
		                                                                             << 20;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, 1, n, n);
		const struct outputs out = cuda_outputs(&rig, 1, n, n, accumulate);
		double *size = sizes(1, n);
		for (int i = 0; i < n; i++)
			size[i] = 2 * fabs((double)x.x[i]);
		backend_cpu.dropout(rig_exec(&rig.host), out.cpu.x, x.x, n, 0.3, seed, index, accumulate);
		rig.exact->dropout(cuda_exec(&rig), cuda_mirror(&rig, &out.cuda), cuda_mirror(&rig, &x), n, 0.3, seed,
		        index, accumulate);
		cuda_fetch(&rig);
		assert_outputs("dropout", &out, accumulate ? size : NULL, FUSED);
	}
}

static void test_norm(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 12), n = rig_int(&rng, 2, 700), is_rms = round % 4 > 1;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, n, n),
		                     gain = guarded_operand(&rig.host, 1, n, n);
		const struct guarded bias = guarded_operand(&rig.host, 1, n, n);
		const struct outputs out = cuda_outputs(&rig, m, n, n, 0), stat = cuda_outputs(&rig, m, 2, 2, 0);
		const int has_bias = !is_rms && round % 8, has_stat = round % 3 > 0;
		double *size = sizes(m, n), *stat_size = sizes(m, 2);
		for (int i = 0; i < m * n; i++) {
			size[i] = (1 + fabs((double)x.x[i])) * fabs((double)gain.x[i % n]) +
			          (has_bias ? fabs((double)bias.x[i % n]) : 0);
			stat_size[i / n * 2] += fabs((double)x.x[i]) / n;
			stat_size[i / n * 2 + 1] = 2;
		}
		backend_cpu.norm(rig_exec(&rig.host), out.cpu.x, stat.cpu.x, x.x, gain.x, has_bias ? bias.x : NULL, m,
		        n, 1e-5, is_rms);
		rig.exact->norm(cuda_exec(&rig), cuda_mirror(&rig, &out.cuda),
		        has_stat ? cuda_mirror(&rig, &stat.cuda) : NULL, cuda_mirror(&rig, &x),
		        cuda_mirror(&rig, &gain), has_bias ? cuda_mirror(&rig, &bias) : NULL, m, n, 1e-5, is_rms);
		cuda_fetch(&rig);
		assert_outputs("norm", &out, size, NORM);
		if (has_stat)
			assert_outputs("norm: stat", &stat, stat_size, NORM);
	}
}

static void test_columns(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 5), C = rig_int(&rng, 2, 60),
		          accumulate = round % 2;
		const int n_run = round % 6 == 0 ? rig_int(&rng, 130, 300) : rig_int(&rng, 1, 9), width = n_run * 7;
		struct column_run run[300];
		cuda_begin(&rig);
		for (int i = 0; i < n_run; i++) {
			run[i].n = rig_int(&rng, 1, C < 7 ? C : 7);
			run[i].from = rig_int(&rng, 0, C - run[i].n);
			run[i].to = accumulate ? rig_int(&rng, 0, width - run[i].n) : i * 7; // added ones may meet
		}
		const struct guarded x = guarded_operand(&rig.host, B * T, C, C + 3);
		const struct outputs out = cuda_outputs(&rig, B * T, width, width + 2, accumulate);
		backend_cpu.copy_columns(rig_exec(&rig.host), output_of(out.cpu.x, T, out.cpu.stride, accumulate),
		        operand_of(x.x, T, x.stride), B, T, run, n_run);
		rig.exact->copy_columns(cuda_exec(&rig),
		        output_of(cuda_mirror(&rig, &out.cuda), T, out.cuda.stride, accumulate),
		        operand_of(cuda_mirror(&rig, &x), T, x.stride), B, T, run, n_run);
		cuda_fetch(&rig);
		assert_outputs("copy_columns", &out, NULL, 0);
	}
}

static void test_scale_heads(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 5), n_head = rig_int(&rng, 1, 6),
		          C = n_head * rig_int(&rng, 1, 40), accumulate = round % 2, stride = round % 3;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, B * T, C, C + 1),
		                     gain = guarded_operand(&rig.host, 1, 3 * n_head, 3 * n_head);
		const struct outputs out = cuda_outputs(&rig, B * T, C, C + 2, accumulate);
		double *size = sizes(B * T, C);
		for (int i = 0; i < B * T; i++)
			for (int j = 0; j < C; j++)
				size[i * C + j] =
				        fabs((double)x.x[i * x.stride + j] * (double)gain.x[j / (C / n_head) * stride]);
		backend_cpu.scale_heads(rig_exec(&rig.host), output_of(out.cpu.x, T, out.cpu.stride, accumulate),
		        operand_of(x.x, T, x.stride), B, T, C, n_head, gain.x, stride);
		rig.exact->scale_heads(cuda_exec(&rig),
		        output_of(cuda_mirror(&rig, &out.cuda), T, out.cuda.stride, accumulate),
		        operand_of(cuda_mirror(&rig, &x), T, x.stride), B, T, C, n_head, cuda_mirror(&rig, &gain),
		        stride);
		cuda_fetch(&rig);
		assert_outputs("scale_heads", &out, accumulate ? size : NULL, FUSED);
	}
}

// Any rope: scalings, planes, both layouts, either direction, far positions, in place.
static struct rope some_rope(int round, int n_head, int d)
{
	const int n_rotary = 2 * rig_int(&rng, 0, d / 2);
	return (struct rope){.n_head = n_head,
	        .from = rig_int(&rng, 0, d - n_rotary),
	        .n_rotary = n_rotary,
	        .n_ladder = n_rotary + 2 * rig_int(&rng, 1, 9),
	        .base = round % 2 ? 10000 : 500000,
	        .first = rig_int(&rng, 0, round % 3 ? 60 : 200000),
	        .halves = round / 2 % 2,
	        .backwards = round / 4 % 2,
	        .scaling = {.kind = round % 3, .factor = 8, .low = 1, .high = 4, .original_ctx = 8192},
	        .n_plane_set = 1};
}

static void test_rope(void **state UNUSED)
{
	for (int round = 0; round < 2 * ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 20), n_set = rig_int(&rng, 1, 3),
		          n_head = n_set * rig_int(&rng, 1, 11), d = rig_int(&rng, 1, 40), C = n_head * d;
		const int accumulate = round % 2, in_place = !accumulate && round % 4 == 2;
		struct rope rope = some_rope(round, n_head, d);
		const int pairs = rope.n_rotary / 2;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, B * T, C, C + 3),
		                     plane = guarded_operand(&rig.host, n_set, pairs + 1, pairs + 1);
		const struct outputs out = cuda_outputs(&rig, B * T, C, C + 3, accumulate);
		double *size = sizes(B * T, C);
		for (int i = 0; i < B * T; i++)
			for (int j = 0; j < C; j++)
				size[i * C + j] = 8; // of normal numbers no pair is longer
		if (in_place) {
			memcpy(out.cpu.memory, x.memory, x.n_memory * sizeof(real));
			memcpy(out.cuda.memory, x.memory, x.n_memory * sizeof(real));
		}
		if (round % 5 == 0 && pairs) {
			for (int i = 0; i < n_set * pairs; i++)
				plane.x[i] = (real)rig_int(&rng, -9, 9);
			if (round % 10 == 0)
				plane.x[0] = (real)NAN;
			rope.plane = plane.x;
			rope.n_plane_set = n_set;
		}
		backend_cpu.rope(rig_exec(&rig.host), output_of(out.cpu.x, T, C + 3, accumulate),
		        operand_of(in_place ? out.cpu.x : x.x, T, C + 3), B, T, C, &rope);
		if (rope.plane)
			rope.plane = cuda_mirror(&rig, &plane);
		real *at = cuda_mirror(&rig, &out.cuda);
		rig.exact->rope(cuda_exec(&rig), output_of(at, T, C + 3, accumulate),
		        operand_of(in_place ? at : cuda_mirror(&rig, &x), T, C + 3), B, T, C, &rope);
		cuda_fetch(&rig);
		assert_outputs("rope", &out, size, TURN);
	}
}

static void test_position_map(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n_map = rig_int(&rng, 1, 19), m = rig_int(&rng, 1, 30), S = rig_int(&rng, 1, 300),
		          has_b = round % 3;
		cuda_begin(&rig);
		const struct guarded w = guarded_operand(&rig.host, n_map, m, m + round % 2),
		                     b = guarded_operand(&rig.host, 1, n_map, n_map);
		const struct outputs gain = cuda_outputs(&rig, 1, n_map, n_map, 0),
		                     bias = cuda_outputs(&rig, n_map, S, S + round % 4, 0);
		double *gain_size = sizes(1, n_map), *bias_size = sizes(n_map, S);
		for (int h = 0; h < n_map; h++) {
			for (int c = 0; c < m; c++)
				gain_size[h] += fabs((double)w.x[h * w.stride + c]);
			for (int j = 0; j < S; j++)
				bias_size[h * S + j] = gain_size[h] + (has_b ? fabs((double)b.x[h]) : 0);
		}
		backend_cpu.map_gain(rig_exec(&rig.host), gain.cpu.x, w.x, w.stride, n_map, m);
		backend_cpu.map_bias(rig_exec(&rig.host), bias.cpu.x, bias.cpu.stride, w.x, w.stride,
		        has_b ? b.x : NULL, n_map, m, S, round % 2 ? MAP_CUT_PE : MAP_CUT_HALVES);
		const real *w_at = cuda_mirror(&rig, &w), *b_at = has_b ? cuda_mirror(&rig, &b) : NULL;
		rig.exact->map_gain(cuda_exec(&rig), cuda_mirror(&rig, &gain.cuda), w_at, w.stride, n_map, m);
		rig.exact->map_bias(cuda_exec(&rig), cuda_mirror(&rig, &bias.cuda), bias.cuda.stride, w_at, w.stride,
		        b_at, n_map, m, S, round % 2 ? MAP_CUT_PE : MAP_CUT_HALVES);
		cuda_fetch(&rig);
		assert_outputs("map_gain", &gain, gain_size, 1);
		assert_outputs("map_bias", &bias, bias_size, FUSED * 2);
	}
}

static void test_cross_entropy(void **state UNUSED)
{
	enum { MOST = 30 };
	double loss[MOST], cpu_loss[MOST];
	int hit[MOST], cpu_hit[MOST], targets[MOST];
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, MOST), n = rig_int(&rng, 2, 900), in_place = round % 3 == 0;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, n, n);
		const struct outputs d = cuda_outputs(&rig, m, n, n, 0);
		double *size = sizes(m, n);
		for (int i = 0; i < m; i++) {
			targets[i] = rig_int(&rng, -1, n - 1);
			if (i % 3 == 0 && targets[i] > 0)
				x.x[i * n + targets[i]] = 9;
			if (i % 6 == 0 && targets[i] > 0)
				x.x[i * n] = 9; // as large, and before it
			if (round % 5 == 4 && i == 1)
				x.x[i * n + n / 2] = (real)NAN;
			for (int j = 0; j < n; j++)
				size[i * n + j] = 0.5;
		}
		memcpy(d.cpu.memory, x.memory, x.n_memory * sizeof(real));
		if (in_place)
			memcpy(d.cuda.memory, x.memory, x.n_memory * sizeof(real));
		backend_cpu.cross_entropy(rig_exec(&rig.host), cpu_loss, cpu_hit, d.cpu.x, d.cpu.x, targets, m, n, 0.5);
		real *d_at = cuda_mirror(&rig, &d.cuda);
		rig.exact->cross_entropy(cuda_exec(&rig), loss, hit, round % 4 == 3 ? NULL : d_at,
		        in_place ? d_at : cuda_mirror(&rig, &x), targets, m, n, 0.5);
		cuda_fetch(&rig);
		for (int i = 0; i < m; i++) {
			assert_int_equal(hit[i], cpu_hit[i]);
			assert_true(isnan(loss[i]) ? isnan(cpu_loss[i])
			                           : fabs(loss[i] - cpu_loss[i]) <=
			                                     FUNCTION * (double)FLT_EPSILON * (1 + cpu_loss[i]));
		}
		if (round % 4 != 3)
			assert_outputs("cross_entropy", &d, size, FUNCTION);
	}
}

static void test_sum_squares(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = rig_int(&rng, 1, 20000);
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, 1, n, n);
		const double right = backend_cpu.sum_squares(rig_exec(&rig.host), x.x, n);
		const real *at = cuda_mirror(&rig, &x);
		const double got = rig.exact->sum_squares(cuda_exec(&rig), at, n);
		assert_true(fabs(got - right) <= 1e-12 * right); // both add in double
		assert_true(got == rig.exact->sum_squares(cuda_exec(&rig), at, n));
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_add_copy),
	        cmocka_unit_test(test_activations),
	        cmocka_unit_test(test_dropout),
	        cmocka_unit_test(test_norm),
	        cmocka_unit_test(test_columns),
	        cmocka_unit_test(test_scale_heads),
	        cmocka_unit_test(test_rope),
	        cmocka_unit_test(test_position_map),
	        cmocka_unit_test(test_cross_entropy),
	        cmocka_unit_test(test_sum_squares),
	};
	rng = rig_rng(&rig.host);
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
