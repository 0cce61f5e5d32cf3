// SPDX-License-Identifier: MIT
// The CUDA backend's slots that only training calls, against the CPU's: random odd sizes, guards around outputs, NaN in
// outputs that must not be read, and the same bits in a second run. Sums are in two different orders: their constants
// count roundings of the magnitudes that went into them.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/num/cuda_rig.h"
#include "tests/test.h"

static const double FUSED = 2;     // a product and a sum, rounded once or twice
static const double FUNCTION = 16; // of a sigmoid and what follows from it
static const double NORM = 24;     // two means in other orders, and their sum with the number itself
// Sums of n terms of random signs: an error grows as the root of their number, and parts are short.
static const double SUM = 4;

enum { ROUNDS = 16 };
static struct cuda_rig rig;
static struct rng rng;

static double *sizes(int rows, int columns)
{
	return arena_zalloc(&rig.host.memory, (size_t)rows * (size_t)columns * sizeof(double));
}

static struct strided operand_of(const real *x, int T, ptrdiff_t stride)
{
	return (struct strided){x, T * stride, stride};
}

static void test_activations_backward(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 30), n = rig_int(&rng, 1, 90), accumulate = round % 2;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, 2 * n, 2 * n),
		                     dout = guarded_operand(&rig.host, m, n, n),
		                     slope = guarded_operand(&rig.host, m, n, n);
		const struct outputs gated = cuda_outputs(&rig, m, 2 * n, 2 * n, accumulate),
		                     dx = cuda_outputs(&rig, m, n, n, accumulate);
		double *gated_size = sizes(m, 2 * n), *size = sizes(m, n);
		for (int i = 0; i < m * n; i++) {
			const double d = fabs((double)dout.x[i]), gate = fabs((double)x.x[i / n * 2 * n + i % n]),
			             up = fabs((double)x.x[i / n * 2 * n + i % n + n]);
			gated_size[i / n * 2 * n + i % n] = d * up * (1 + gate);
			gated_size[i / n * 2 * n + i % n + n] = d * gate;
			size[i] = d * fabs((double)slope.x[i]);
		}
		backend_cpu.swiglu_backward(rig_exec(&rig.host), gated.cpu.x, dout.x, x.x, m, n, accumulate);
		backend_cpu.unary_backward(rig_exec(&rig.host), dx.cpu.x, dout.x, slope.x, (long)m * n, accumulate);
		const real *dout_at = cuda_mirror(&rig, &dout);
		rig.exact->swiglu_backward(cuda_exec(&rig), cuda_mirror(&rig, &gated.cuda), dout_at,
		        cuda_mirror(&rig, &x), m, n, accumulate);
		rig.exact->unary_backward(cuda_exec(&rig), cuda_mirror(&rig, &dx.cuda), dout_at,
		        cuda_mirror(&rig, &slope), (long)m * n, accumulate);
		cuda_fetch(&rig);
		assert_outputs("swiglu_backward", &gated, gated_size, FUNCTION);
		assert_outputs("unary_backward", &dx, size, FUSED);
	}
}

static void test_column_sum(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, round % 4 ? 90 : 400), n = rig_int(&rng, 1, 300), accumulate = round % 2;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, n, n + round % 3);
		const struct outputs out = cuda_outputs(&rig, 1, n, n, accumulate);
		double *size = sizes(1, n);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
				size[j] += fabs((double)x.x[i * x.stride + j]);
		backend_cpu.column_sum(rig_exec(&rig.host), out.cpu.x, x.x, x.stride, m, n, accumulate);
		rig.exact->column_sum(cuda_exec(&rig), cuda_mirror(&rig, &out.cuda), cuda_mirror(&rig, &x), x.stride, m,
		        n, accumulate);
		cuda_fetch(&rig);
		assert_outputs("column_sum", &out, size, SUM);
	}
}

// What goes into a number of dx is small beside the row's means where a row is short: sizes are of the row.
static void test_norm_backward(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, round % 4 ? 12 : 300), n = rig_int(&rng, 2, round % 4 ? 600 : 40),
		          is_rms = round % 4 > 1, accumulate = round % 2, has_dx = round % 5 > 0,
		          has_dgain = round % 7 > 0, has_dbias = !is_rms;
		cuda_begin(&rig);
		const struct guarded x = guarded_operand(&rig.host, m, n, n),
		                     dout = guarded_operand(&rig.host, m, n, n),
		                     gain = guarded_operand(&rig.host, 1, n, n),
		                     out = guarded_output(&rig.host, m, n, n, 0),
		                     stat = guarded_output(&rig.host, m, 2, 2, 0);
		const struct outputs dx = cuda_outputs(&rig, m, n, n, accumulate),
		                     dgain = cuda_outputs(&rig, 1, n, n, accumulate),
		                     dbias = cuda_outputs(&rig, 1, n, n, accumulate);
		double *size = sizes(m, n), *gain_size = sizes(1, n), *bias_size = sizes(1, n);
		backend_cpu.norm(rig_exec(&rig.host), out.x, stat.x, x.x, gain.x, NULL, m, n, 1e-5, is_rms);
		for (int i = 0; i < m; i++) {
			double of_row = 0;
			const double r = (double)stat.x[2 * i + 1];
			for (int j = 0; j < n; j++)
				of_row = fmax(of_row, fabs((double)(dout.x[i * n + j] * gain.x[j])));
			for (int j = 0; j < n; j++) {
				const double xhat = fabs((double)(x.x[i * n + j] - stat.x[2 * i])) * r;
				size[i * n + j] = r * of_row * (2 + xhat);
				gain_size[j] += fabs((double)dout.x[i * n + j]) * (1 + xhat);
				bias_size[j] += fabs((double)dout.x[i * n + j]);
			}
		}
		backend_cpu.norm_backward(rig_exec(&rig.host), has_dx ? dx.cpu.x : NULL, accumulate,
		        has_dgain ? dgain.cpu.x : NULL, accumulate, has_dbias ? dbias.cpu.x : NULL, accumulate, dout.x,
		        x.x, stat.x, gain.x, m, n, is_rms);
		real *dx_at = has_dx ? cuda_mirror(&rig, &dx.cuda) : NULL;
		real *dgain_at = has_dgain ? cuda_mirror(&rig, &dgain.cuda) : NULL;
		rig.exact->norm_backward(cuda_exec(&rig), dx_at, accumulate, dgain_at, accumulate,
		        has_dbias ? cuda_mirror(&rig, &dbias.cuda) : NULL, accumulate, cuda_mirror(&rig, &dout),
		        cuda_mirror(&rig, &x), cuda_mirror(&rig, &stat), cuda_mirror(&rig, &gain), m, n, is_rms);
		cuda_fetch(&rig);
		if (has_dx)
			assert_outputs("norm_backward: dx", &dx, size, NORM);
		if (has_dgain)
			assert_outputs("norm_backward: dgain", &dgain, gain_size, SUM);
		if (has_dbias)
			assert_outputs("norm_backward: dbias", &dbias, bias_size, SUM);
	}
}

static void test_dot_heads(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 3), T = rig_int(&rng, 1, 60), n_head = rig_int(&rng, 1, 6),
		          d = rig_int(&rng, 1, 40), C = n_head * d;
		cuda_begin(&rig);
		const struct guarded a = guarded_operand(&rig.host, B * T, C, C + 2),
		                     b = guarded_operand(&rig.host, B * T, C, C + 1);
		const struct outputs out = cuda_outputs(&rig, 1, n_head, n_head, 0);
		double *size = sizes(1, n_head);
		for (int i = 0; i < B * T; i++)
			for (int j = 0; j < C; j++)
				size[j / d] += fabs((double)(a.x[i * a.stride + j] * b.x[i * b.stride + j]));
		backend_cpu.dot_heads(rig_exec(&rig.host), out.cpu.x, operand_of(a.x, T, a.stride),
		        operand_of(b.x, T, b.stride), B, T, C, n_head);
		rig.exact->dot_heads(cuda_exec(&rig), cuda_mirror(&rig, &out.cuda),
		        operand_of(cuda_mirror(&rig, &a), T, a.stride), operand_of(cuda_mirror(&rig, &b), T, b.stride),
		        B, T, C, n_head);
		cuda_fetch(&rig);
		assert_outputs("dot_heads", &out, size, SUM);
	}
}

// The order of the CPU's sums: the same bits. Few tokens, so that most repeat, far apart too.
static void test_embed_backward(void **state UNUSED)
{
	enum { MOST = 700 };
	int tokens[MOST];
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 4), T = rig_int(&rng, 1, round % 4 ? 12 : 170), n_vocab = 40,
		          C = rig_int(&rng, 1, round % 4 == 1 ? 300 : 50), first = rig_int(&rng, 0, 3), n_ctx = T + 4;
		const int accumulate = round % 2, has_table = round % 5 > 0, has_position = round % 3 > 0;
		cuda_begin(&rig);
		for (int i = 0; i < B * T; i++)
			tokens[i] = rig_int(&rng, 0, n_vocab - 1) / (1 + i % 5);
		const struct guarded dout = guarded_operand(&rig.host, B * T, C, C);
		const struct outputs table = cuda_outputs(&rig, n_vocab, C, C, accumulate),
		                     position = cuda_outputs(&rig, n_ctx, C, C, !accumulate);
		backend_cpu.embed_backward(rig_exec(&rig.host), has_table ? table.cpu.x : NULL, n_vocab, accumulate,
		        has_position ? position.cpu.x : NULL, n_ctx, !accumulate, dout.x, tokens, B, T, C, first);
		real *table_at = has_table ? cuda_mirror(&rig, &table.cuda) : NULL;
		real *position_at = has_position ? cuda_mirror(&rig, &position.cuda) : NULL;
		rig.exact->embed_backward(cuda_exec(&rig), table_at, n_vocab, accumulate, position_at, n_ctx,
		        !accumulate, cuda_mirror(&rig, &dout), tokens, B, T, C, first);
		cuda_fetch(&rig);
		if (has_table)
			assert_outputs("embed_backward: table", &table, NULL, 0);
		if (has_position)
			assert_outputs("embed_backward: position", &position, NULL, 0);
	}
}

static void test_adam(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = rig_int(&rng, 1, 3000);
		const struct adam adam = {.lr = 3e-3,
		        .beta1 = 0.9,
		        .beta2 = 0.98,
		        .eps = 1e-8,
		        .weight_decay = round % 2 ? 0.1 : 0,
		        .step = 1 + rig_int(&rng, 0, 900),
		        .grad_scale = round % 3 ? 1 : 0.37};
		cuda_begin(&rig);
		const struct guarded dx = guarded_operand(&rig.host, 1, n, n);
		const struct outputs x = cuda_outputs(&rig, 1, n, n, 1), m = cuda_outputs(&rig, 1, n, n, 1),
		                     v = cuda_outputs(&rig, 1, n, n, 1);
		double *none = sizes(1, n), *step = sizes(1, n);
		for (int i = 0; i < n; i++) { // second moments are squares
			v.cpu.x[i] = v.cuda.x[i] = fabsf((float)v.cpu.x[i]) + 1e-3F;
			none[i] = (double)(dx.x[i] * dx.x[i]) + fabs((double)dx.x[i]);
			step[i] = adam.lr * (fabs((double)m.cpu.x[i]) + fabs((double)dx.x[i])) * 100;
		}
		memcpy(v.cpu.before, v.cpu.memory, v.cpu.n_memory * sizeof(real));
		memcpy(v.cuda.before, v.cuda.memory, v.cuda.n_memory * sizeof(real));
		backend_cpu.adam(rig_exec(&rig.host), x.cpu.x, m.cpu.x, v.cpu.x, dx.x, n, &adam);
		rig.exact->adam(cuda_exec(&rig), cuda_mirror(&rig, &x.cuda), cuda_mirror(&rig, &m.cuda),
		        cuda_mirror(&rig, &v.cuda), cuda_mirror(&rig, &dx), n, &adam);
		cuda_fetch(&rig);
		assert_outputs("adam: m", &m, none, FUSED);
		assert_outputs("adam: v", &v, none, FUSED);
		assert_outputs("adam: x", &x, step, FUSED);
	}
}

// The forms of products that backward takes: dx = dout w (NN), dw = dout^T x (TN), with and without what is there.
static void test_products(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int form = round % 2 ? GEMM_NN : GEMM_TN, accumulate = round / 2 % 2;
		const int m = rig_int(&rng, 1, 40), n = rig_int(&rng, 1, 40), k = rig_int(&rng, 1, 60);
		cuda_begin(&rig);
		const struct guarded a = form == GEMM_TN ? guarded_operand(&rig.host, k, m, m + 1)
		                                         : guarded_operand(&rig.host, m, k, k + 1),
		                     b = guarded_operand(&rig.host, k, n, n + 2);
		const struct outputs exact = cuda_outputs(&rig, m, n, n + 1, accumulate);
		const struct guarded rounded = guarded_output(&rig.host, m, n, n + 1, accumulate);
		double *size = sizes(m, n);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
				for (int l = 0; l < k; l++)
					size[i * n + j] += fabs((double)(form == GEMM_TN ? a.x[l * a.stride + i]
					                                                 : a.x[i * a.stride + l]) *
					                        (double)b.x[l * b.stride + j]);
		memcpy(rounded.memory, exact.cpu.memory, exact.cpu.n_memory * sizeof(real));
		struct gemm gemm = {.form = form, .m = m, .n = n, .k = k, .accumulate = accumulate};
		gemm.a = a.x, gemm.b = b.x, gemm.c = exact.cpu.x;
		gemm.lda = a.stride, gemm.ldb = b.stride, gemm.ldc = n + 1;
		backend_cpu.gemm(rig_exec(&rig.host), &gemm);
		gemm.a = cuda_mirror(&rig, &a), gemm.b = cuda_mirror(&rig, &b), gemm.c = cuda_mirror(&rig, &exact.cuda);
		rig.exact->gemm(cuda_exec(&rig), &gemm);
		gemm.c = cuda_mirror(&rig, &rounded);
		rig.rounded->gemm(cuda_exec(&rig), &gemm);
		cuda_fetch(&rig);
		assert_outputs("gemm", &exact, size, SUM);
		// Both operands are rounded to 8 bits: half a unit of 2^-8 each.
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
				assert_true(fabs((double)(rounded.x[i * (n + 1) + j] - exact.cpu.x[i * (n + 1) + j])) <=
				            size[i * n + j] / 128);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_activations_backward),
	        cmocka_unit_test(test_column_sum),
	        cmocka_unit_test(test_norm_backward),
	        cmocka_unit_test(test_dot_heads),
	        cmocka_unit_test(test_embed_backward),
	        cmocka_unit_test(test_adam),
	        cmocka_unit_test(test_products),
	};
	rng = rig_rng(&rig.host);
	return cmocka_run_group_tests_name(rig.is_emulated ? "emulated" : "device", tests, NULL, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
