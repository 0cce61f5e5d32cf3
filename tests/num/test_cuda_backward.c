// SPDX-License-Identifier: MIT
// The CUDA backend's gradients and optimiser against the CPU's, as test_cuda_kernels.c has the forward slots.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/num/cuda_rig.h"
#include "tests/test.h"

static const double SUM = 8;        // a few hundred terms in two orders, relative to the sum of their magnitudes
static const double FUNCTION = 16;  // exp, and what follows from it
static const double NORM = 16;      // means of a row in two orders, times what they are multiplied with
static const double OPTIMISER = 16; // a root, a division, and moments that round at every step

enum { ROUNDS = 24 };
static struct cuda_rig rig;
static struct rng rng;

static double *sizes(int rows, int columns)
{
	return arena_zalloc(&rig.host.memory, (size_t)rows * (size_t)columns * sizeof(double));
}

static void test_column_sum(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 300), n = rig_int(&rng, 1, 300), accumulate = round % 2;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, n, n + round % 3);
		const struct outputs out = cuda_outputs(&rig, 1, n, n, accumulate);
		double *size = sizes(1, n);
		for (int i = 0; i < m * n; i++)
			size[i % n] += fabs((double)x.x[i / n * x.stride + i % n]);
		backend_cpu.column_sum(rig_exec(&rig.host), out.cpu.x, x.x, x.stride, m, n, accumulate);
		rig.exact->column_sum(cuda_exec(&rig), cuda_mirror(&rig, &out.cuda), cuda_mirror(&rig, &x), x.stride, m,
		        n, accumulate);
		cuda_fetch(&rig);
		assert_outputs("column_sum", &out, size, SUM);
	}
}

static void test_norm_backward(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 150), n = rig_int(&rng, 2, 90), is_rms = round / 2 % 2,
		          accumulate = round % 2, has_dx = round % 5 > 0, has_bias = round % 3 > 0;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, n, n),
		                     dout = guarded_operand(&rig.host, m, n, n),
		                     gain = guarded_operand(&rig.host, 1, n, n),
		                     stat = guarded_operand(&rig.host, m, 2, 2),
		                     forward = guarded_output(&rig.host, m, n, n, 0);
		backend_cpu.norm(rig_exec(&rig.host), forward.x, stat.x, x.x, gain.x, NULL, m, n, 1e-5, is_rms);
		const struct outputs dx = cuda_outputs(&rig, m, n, n, accumulate),
		                     dgain = cuda_outputs(&rig, 1, n, n, accumulate),
		                     dbias = cuda_outputs(&rig, 1, n, n, accumulate);
		double *x_size = sizes(m, n), *gain_size = sizes(1, n), *bias_size = sizes(1, n);
		for (int i = 0; i < m; i++) {
			const double mean = (double)stat.x[2 * i], r = (double)stat.x[2 * i + 1];
			double row_size = 0;
			for (int j = 0; j < n; j++)
				row_size += fabs((double)dout.x[i * n + j] * (double)gain.x[j]) *
				            (1 + fabs((double)x.x[i * n + j] - mean) * r) / n;
			for (int j = 0; j < n; j++) {
				const double d = fabs((double)dout.x[i * n + j]),
				             xhat = fabs((double)x.x[i * n + j] - mean) * r;
				x_size[i * n + j] = r * (d * fabs((double)gain.x[j]) + row_size * (1 + xhat));
				gain_size[j] += d * xhat;
				bias_size[j] += d;
			}
		}
		backend_cpu.norm_backward(rig_exec(&rig.host), has_dx ? dx.cpu.x : NULL, accumulate, dgain.cpu.x,
		        accumulate, has_bias ? dbias.cpu.x : NULL, accumulate, dout.x, x.x, stat.x, gain.x, m, n,
		        is_rms);
		rig.exact->norm_backward(cuda_exec(&rig), has_dx ? cuda_mirror(&rig, &dx.cuda) : NULL, accumulate,
		        cuda_mirror(&rig, &dgain.cuda), accumulate, has_bias ? cuda_mirror(&rig, &dbias.cuda) : NULL,
		        accumulate, cuda_mirror(&rig, &dout), cuda_mirror(&rig, &x), cuda_mirror(&rig, &stat),
		        cuda_mirror(&rig, &gain), m, n, is_rms);
		cuda_fetch(&rig);
		if (has_dx)
			assert_outputs("norm_backward: dx", &dx, x_size, NORM);
		assert_outputs("norm_backward: dgain", &dgain, gain_size, SUM);
		if (has_bias)
			assert_outputs("norm_backward: dbias", &dbias, bias_size, SUM);
	}
}

static void test_activations(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 20), n = rig_int(&rng, 1, 90), accumulate = round % 2;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, 2 * n, 2 * n),
		                     dout = guarded_operand(&rig.host, m, n, n),
		                     slope = guarded_operand(&rig.host, m, n, n);
		const struct outputs du = cuda_outputs(&rig, m, n, n, accumulate),
		                     dx = cuda_outputs(&rig, m, 2 * n, 2 * n, accumulate);
		double *u_size = sizes(m, n), *x_size = sizes(m, 2 * n);
		for (int i = 0; i < m * n; i++) {
			const long at = i / n * 2L * n + i % n;
			const double d = fabs((double)dout.x[i]), gate = fabs((double)x.x[at]),
			             up = fabs((double)x.x[at + n]);
			u_size[i] = d * fabs((double)slope.x[i]);
			x_size[at] = d * up * (1 + gate);
			x_size[at + n] = d * gate;
		}
		backend_cpu.unary_backward(rig_exec(&rig.host), du.cpu.x, dout.x, slope.x, (long)m * n, accumulate);
		backend_cpu.swiglu_backward(rig_exec(&rig.host), dx.cpu.x, dout.x, x.x, m, n, accumulate);
		const real *dout_at = cuda_mirror(&rig, &dout);
		rig.exact->unary_backward(cuda_exec(&rig), cuda_mirror(&rig, &du.cuda), dout_at,
		        cuda_mirror(&rig, &slope), (long)m * n, accumulate);
		rig.exact->swiglu_backward(
		        cuda_exec(&rig), cuda_mirror(&rig, &dx.cuda), dout_at, cuda_mirror(&rig, &x), m, n, accumulate);
		cuda_fetch(&rig);
		assert_outputs("unary_backward", &du, accumulate ? u_size : NULL, 2);
		assert_outputs("swiglu_backward", &dx, x_size, FUNCTION);
	}
}

static void test_dot_heads(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 70), n_head = rig_int(&rng, 1, 5),
		          C = n_head * rig_int(&rng, 1, 30);
		cuda_begin(&rig);
		const struct guarded a = guarded_operand(&rig.host, B * T, C, C + 1),
		                     b = guarded_operand(&rig.host, B * T, C, C + 2);
		const struct outputs out = cuda_outputs(&rig, 1, n_head, n_head, 0);
		double *size = sizes(1, n_head);
		for (int i = 0; i < B * T; i++)
			for (int j = 0; j < C; j++)
				size[j / (C / n_head)] +=
				        fabs((double)a.x[i * a.stride + j] * (double)b.x[i * b.stride + j]);
		backend_cpu.dot_heads(rig_exec(&rig.host), out.cpu.x, (struct strided){a.x, T * a.stride, a.stride},
		        (struct strided){b.x, T * b.stride, b.stride}, B, T, C, n_head);
		rig.exact->dot_heads(cuda_exec(&rig), cuda_mirror(&rig, &out.cuda),
		        (struct strided){cuda_mirror(&rig, &a), T * a.stride, a.stride},
		        (struct strided){cuda_mirror(&rig, &b), T * b.stride, b.stride}, B, T, C, n_head);
		cuda_fetch(&rig);
		assert_outputs("dot_heads", &out, size, SUM);
	}
}

static void test_embed_backward(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 4), T = round % 8 ? rig_int(&rng, 1, 20) : rig_int(&rng, 100, 200),
		          C = rig_int(&rng, 1, 50), V = rig_int(&rng, 1, 30), first = rig_int(&rng, 0, 5),
		          n_ctx = T + 5, accumulate = round % 2, which = round % 3; // table, positions, both
		const int *tokens = rig_tokens(&rig.host, B * T, V);
		cuda_begin(&rig);
		const struct guarded dout = guarded_operand(&rig.host, B * T, C, C);
		const struct outputs dtable = cuda_outputs(&rig, V, C, C, accumulate),
		                     dposition = cuda_outputs(&rig, n_ctx, C, C, accumulate);
		double *table_size = sizes(V, C), *position_size = sizes(n_ctx, C);
		for (int i = 0; i < B * T; i++)
			for (int j = 0; j < C; j++) {
				table_size[tokens[i] * C + j] += fabs((double)dout.x[i * C + j]);
				position_size[(first + i % T) * C + j] += fabs((double)dout.x[i * C + j]);
			}
		backend_cpu.embed_backward(rig_exec(&rig.host), which == 1 ? NULL : dtable.cpu.x, V, accumulate,
		        which == 0 ? NULL : dposition.cpu.x, n_ctx, accumulate, dout.x, tokens, B, T, C, first);
		rig.exact->embed_backward(cuda_exec(&rig), which == 1 ? NULL : cuda_mirror(&rig, &dtable.cuda), V,
		        accumulate, which == 0 ? NULL : cuda_mirror(&rig, &dposition.cuda), n_ctx, accumulate,
		        cuda_mirror(&rig, &dout), tokens, B, T, C, first);
		cuda_fetch(&rig);
		if (which != 1)
			assert_outputs("embed_backward: table", &dtable, table_size, SUM);
		if (which != 0)
			assert_outputs("embed_backward: positions", &dposition, position_size, SUM);
	}
}

static void test_map_bias_backward(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n_map = rig_int(&rng, 1, 19), m = rig_int(&rng, 1, 30), S = rig_int(&rng, 1, 300),
		          cut = round % 2 ? MAP_CUT_PE : MAP_CUT_HALVES;
		cuda_begin(&rig);
		const struct outputs dw = cuda_outputs(&rig, n_map, m, m + round % 3, 1);
		const struct guarded dbias = guarded_operand(&rig.host, n_map, S, S + round % 4);
		double *size = sizes(n_map, m);
		for (int i = 0; i < n_map * m; i++) {
			size[i] = fabs((double)dw.cpu.x[i / m * dw.cpu.stride + i % m]);
			for (int j = 0; j < S; j++)
				size[i] += fabs((double)dbias.x[i / m * dbias.stride + j]);
		}
		backend_cpu.map_bias_backward(
		        rig_exec(&rig.host), dw.cpu.x, dw.cpu.stride, dbias.x, dbias.stride, n_map, m, S, cut);
		rig.exact->map_bias_backward(cuda_exec(&rig), cuda_mirror(&rig, &dw.cuda), dw.cuda.stride,
		        cuda_mirror(&rig, &dbias), dbias.stride, n_map, m, S, cut);
		cuda_fetch(&rig);
		assert_outputs("map_bias_backward", &dw, size, SUM);
	}
}

static void test_adam(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = rig_int(&rng, 1, 1000);
		struct adam adam = {.lr = 1e-2,
		        .beta1 = 0.9,
		        .beta2 = 0.99,
		        .eps = 1e-8,
		        .weight_decay = 0.1 * (round % 2),
		        .grad_scale = 0.7};
		cuda_begin(&rig);
		const struct outputs x = cuda_outputs(&rig, 1, n, n, 1), m = cuda_outputs(&rig, 1, n, n, 1),
		                     v = cuda_outputs(&rig, 1, n, n, 1);
		const struct guarded dx = guarded_operand(&rig.host, 1, n, n);
		double *size = sizes(1, n);
		for (int i = 0; i < n; i++) {
			v.cpu.x[i] = v.cuda.x[i] = v.cpu.x[i] * v.cpu.x[i];
			size[i] = 1 + fabs((double)x.cpu.x[i]);
		}
		real *x_at = cuda_mirror(&rig, &x.cuda), *m_at = cuda_mirror(&rig, &m.cuda),
		     *v_at = cuda_mirror(&rig, &v.cuda);
		const real *dx_at = cuda_mirror(&rig, &dx);
		for (adam.step = 1 + round; adam.step < 4 + round; adam.step++) {
			backend_cpu.adam(rig_exec(&rig.host), x.cpu.x, m.cpu.x, v.cpu.x, dx.x, n, &adam);
			rig.exact->adam(cuda_exec(&rig), x_at, m_at, v_at, dx_at, n, &adam);
		}
		cuda_fetch(&rig);
		assert_outputs("adam", &x, size, OPTIMISER);
		assert_outputs("adam: m", &m, size, OPTIMISER);
		assert_outputs("adam: v", &v, size, OPTIMISER);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_column_sum),
	        cmocka_unit_test(test_norm_backward),
	        cmocka_unit_test(test_activations),
	        cmocka_unit_test(test_dot_heads),
	        cmocka_unit_test(test_embed_backward),
	        cmocka_unit_test(test_map_bias_backward),
	        cmocka_unit_test(test_adam),
	};
	rng = rig_rng(&rig.host);
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
