// SPDX-License-Identifier: MIT
// Every slot of the CPU backend but products, attention and rope (test_kernels_gemm.c and its neighbours) against plain
// double-precision loops: random odd sizes, guards around outputs, NaN in outputs that must not be read.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/num/guard.h"
#include "tests/test.h"

static const double SUM_ROUNDING = 4;      // sums, and a few operations in a row
static const double FUNCTION_ROUNDING = 8; // exp, sigmoid, log: 2 ulp and what follows from it
static const double GELU_ERROR = 4;        // Phi by a polynomial of absolute error 1e-7, about an epsilon
static const double ADAM_ROUNDING = 8;

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

static double *numbers(long n)
{
	return arena_zalloc(&rig.memory, (size_t)n * sizeof(double));
}

static void test_column_sum(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 300), n = rig_int(&rng, 1, 70), accumulate = round % 2;
		const struct guarded x = guarded_operand(&rig, m, n, n + round % 5);
		const struct guarded out = guarded_output(&rig, 1, n, n, accumulate);
		struct expected e = expected_make(&rig, 1, n);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
				expected_add(&e, j, (double)x.x[i * x.stride + j]);
		backend_cpu.column_sum(rig_exec(&rig), out.x, x.x, x.stride, m, n, accumulate);
		assert_near("column_sum", &out, e.x, e.size, SUM_ROUNDING);
		assert_untouched("column_sum", &x);
	}
}

static void test_embed(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int B = rig_int(&rng, 1, 4), T = rig_int(&rng, 1, 20), C = rig_int(&rng, 1, 50),
		          V = rig_int(&rng, 1, 9);
		const int n_ctx = T + 5, first = rig_int(&rng, 0, 5), accumulate = round % 2,
		          with_position = round % 3 > 0;
		const int *tokens = rig_tokens(&rig, B * T, V);
		const struct guarded table = guarded_operand(&rig, V, C, C),
		                     position = guarded_operand(&rig, n_ctx, C, C);
		const struct guarded out = guarded_output(&rig, B * T, C, C, 0),
		                     dout = guarded_operand(&rig, B * T, C, C);
		const struct guarded dtable = guarded_output(&rig, V, C, C, accumulate);
		const struct guarded dposition = guarded_output(&rig, n_ctx, C, C, accumulate);
		struct expected e = expected_make(&rig, B * T, C), et = expected_make(&rig, V, C),
		                ep = expected_make(&rig, n_ctx, C);
		for (int row = 0; row < B * T; row++)
			for (int j = 0; j < C; j++) {
				const int at = first + row % T;
				expected_add(&e, (long)row * C + j, (double)table.x[tokens[row] * C + j]);
				if (with_position)
					expected_add(&e, (long)row * C + j, (double)position.x[at * C + j]);
				expected_add(&et, (long)tokens[row] * C + j, (double)dout.x[row * C + j]);
				expected_add(&ep, (long)at * C + j, (double)dout.x[row * C + j]);
			}
		backend_cpu.embed(
		        rig_exec(&rig), out.x, table.x, with_position ? position.x : NULL, tokens, B, T, C, first);
		assert_near("embed", &out, e.x, e.size, SUM_ROUNDING);
		backend_cpu.embed_backward(rig_exec(&rig), dtable.x, V, accumulate, with_position ? dposition.x : NULL,
		        n_ctx, accumulate, dout.x, tokens, B, T, C, first);
		assert_near("embed_backward: table", &dtable, et.x, et.size, SUM_ROUNDING);
		if (with_position)
			assert_near("embed_backward: position", &dposition, ep.x, ep.size, SUM_ROUNDING);
		else
			assert_untouched("embed_backward without positions", &dposition);
	}
}

// One row of the norms in double; sizes allow for the rounding of mean and deviation, which every element shares.
static void norm_row(const real *x, const real *gain, const real *bias, const real *dout, int n, double eps, int is_rms,
        struct expected *out, struct expected *dx, struct expected *dgain, struct expected *dbias, long at)
{
	double mean = 0, variance = 0, g_mean = 0, gx_mean = 0, g_size = 0, x_size = 0;
	for (int j = 0; j < n && !is_rms; j++)
		mean += (double)x[j] / n;
	for (int j = 0; j < n; j++) {
		variance += ((double)x[j] - mean) * ((double)x[j] - mean) / n;
		x_size = fmax(x_size, fabs((double)x[j]));
	}
	const double r = 1 / sqrt(variance + eps);
	for (int j = 0; j < n; j++) {
		const double xhat = ((double)x[j] - mean) * r, g = (double)dout[j] * (double)gain[j];
		g_mean += is_rms ? 0 : g / n;
		gx_mean += g * xhat / n;
		g_size += fabs(g) * (1 + fabs(xhat)) / n;
	}
	for (int j = 0; j < n; j++) {
		const double xhat = ((double)x[j] - mean) * r, d = (double)dout[j], size = 1 + x_size * r;
		out->x[at + j] = xhat * (double)gain[j] + (bias ? (double)bias[j] : 0);
		out->size[at + j] = size * fabs((double)gain[j]) + (bias ? fabs((double)bias[j]) : 0);
		dx->x[at + j] = r * (d * (double)gain[j] - g_mean - xhat * gx_mean);
		dx->size[at + j] = r * size * size * (fabs(d * (double)gain[j]) + g_size);
		dgain->x[j] += d * xhat;
		dgain->size[j] += fabs(d) * size;
		expected_add(dbias, j, d);
	}
}

static void test_norms(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 150), n = rig_int(&rng, 2, 80), accumulate = round % 2,
		          is_rms = round % 4 > 1;
		const struct guarded x = guarded_operand(&rig, m, n, n), gain = guarded_operand(&rig, 1, n, n);
		const struct guarded bias = guarded_operand(&rig, 1, n, n), dout = guarded_operand(&rig, m, n, n);
		const struct guarded out = guarded_output(&rig, m, n, n, 0), stat = guarded_output(&rig, m, 2, 2, 0);
		const struct guarded dx = guarded_output(&rig, m, n, n, accumulate);
		const struct guarded dgain = guarded_output(&rig, 1, n, n, accumulate);
		const struct guarded dbias = guarded_output(&rig, 1, n, n, accumulate);
		const real *b = is_rms || round % 8 == 0 ? NULL : bias.x;
		struct expected e = expected_make(&rig, m, n), ex = expected_make(&rig, m, n),
		                eg = expected_make(&rig, 1, n), eb = expected_make(&rig, 1, n);
		for (int i = 0; i < m; i++)
			norm_row(x.x + i * n, gain.x, b, dout.x + i * n, n, 1e-5, is_rms, &e, &ex, &eg, &eb,
			        (long)i * n);
		backend_cpu.norm(rig_exec(&rig), out.x, stat.x, x.x, gain.x, b, m, n, 1e-5, is_rms);
		assert_near("norm", &out, e.x, e.size, SUM_ROUNDING);
		assert_guards("norm: stat", &stat);
		backend_cpu.norm_backward(rig_exec(&rig), dx.x, accumulate, dgain.x, accumulate, b ? dbias.x : NULL,
		        accumulate, dout.x, x.x, stat.x, gain.x, m, n, is_rms);
		assert_near("norm_backward: dx", &dx, ex.x, ex.size, SUM_ROUNDING);
		assert_near("norm_backward: dgain", &dgain, eg.x, eg.size, SUM_ROUNDING);
		if (b)
			assert_near("norm_backward: dbias", &dbias, eb.x, eb.size, SUM_ROUNDING);
		else
			assert_untouched("norm_backward without bias", &dbias);
		assert_untouched("norm", &x);
	}
}

// Value and slope in double.
static double relu(double v, double *slope)
{
	*slope = v > 0;
	return fmax(v, 0);
}

static double gelu(double v, double *slope)
{
	const double cdf = 0.5 * erfc(-v * sqrt(0.5)), density = exp(-v * v / 2) / sqrt(2 * M_PI);
	*slope = cdf + v * density;
	return v * cdf;
}

static double gelu_new(double v, double *slope)
{
	const double u = sqrt(2 / M_PI) * (v + 0.044715 * v * v * v), du = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * v * v);
	*slope = 0.5 * (1 + tanh(u)) + 0.5 * v * du / (cosh(u) * cosh(u));
	return 0.5 * v * (1 + tanh(u));
}

static const struct {
	const char *name;
	enum unary kind;
	double (*value)(double v, double *slope);
} unary_kinds[] = {{"relu", UNARY_RELU, relu}, {"gelu", UNARY_GELU, gelu}, {"gelu_new", UNARY_GELU_NEW, gelu_new}};

static void test_unary(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = round < 30 ? rig_int(&rng, 1, 100) : rig_int(&rng, 8000, 20000), accumulate = round % 2;
		const char *name = unary_kinds[round / 2 % 3].name;
		const enum unary kind = unary_kinds[round / 2 % 3].kind;
		const struct guarded x = guarded_operand(&rig, 1, n, n), dout = guarded_operand(&rig, 1, n, n);
		const struct guarded out = guarded_output(&rig, 1, n, n, 0), slopes = guarded_output(&rig, 1, n, n, 0),
		                     dx = guarded_output(&rig, 1, n, n, accumulate);
		struct expected e = expected_make(&rig, 1, n), ed = expected_make(&rig, 1, n);
		for (int i = 0; i < n; i++) {
			x.x[i] *= i % 7 ? 1 : 20; // the tails too
			x.before[x.x - x.memory + i] = x.x[i];
			double slope;
			const double v = (double)x.x[i], density = exp(-v * v / 2) / sqrt(2 * M_PI);
			e.x[i] = unary_kinds[round / 2 % 3].value(v, &slope);
			e.size[i] = fabs(v);
			ed.x[i] = (double)dout.x[i] * slope;
			ed.size[i] = fabs((double)dout.x[i]) * (1 + fabs(v) * density * (1 + v * v));
		}
		backend_cpu.unary(rig_exec(&rig), out.x, slopes.x, x.x, n, kind);
		assert_near(name, &out, e.x, e.size, GELU_ERROR);
		backend_cpu.unary_backward(rig_exec(&rig), dx.x, dout.x, slopes.x, n, accumulate);
		backend_cpu.unary(rig_exec(&rig), out.x, NULL, x.x, n, kind); // evaluation keeps no slope
		assert_near(name, &out, e.x, e.size, GELU_ERROR);
		assert_near(name, &dx, ed.x, ed.size, GELU_ERROR);
		assert_untouched("unary", &x);
	}
}

static void test_swiglu(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 30), n = rig_int(&rng, 1, 50), accumulate = round % 2;
		const struct guarded x = guarded_operand(&rig, m, 2 * n, 2 * n), dout = guarded_operand(&rig, m, n, n);
		const struct guarded out = guarded_output(&rig, m, n, n, 0),
		                     dx = guarded_output(&rig, m, 2 * n, 2 * n, accumulate);
		struct expected e = expected_make(&rig, m, n), ed = expected_make(&rig, m, 2 * n);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++) {
				const double gate = (double)x.x[i * 2 * n + j], up = (double)x.x[i * 2 * n + n + j];
				const double s = 1 / (1 + exp(-gate)), d = (double)dout.x[i * n + j];
				const long at = (long)i * n + j, to_gate = (long)i * 2 * n + j, to_up = to_gate + n;
				e.x[at] = gate * s * up;
				e.size[at] = fabs(gate * up) * (1 + fabs(gate));
				ed.x[to_gate] = d * up * s * (1 + gate * (1 - s));
				ed.size[to_gate] = fabs(d * up) * (1 + gate * gate);
				ed.x[to_up] = d * gate * s;
				ed.size[to_up] = fabs(d * gate) * (1 + fabs(gate));
			}
		backend_cpu.swiglu(rig_exec(&rig), out.x, x.x, m, n);
		assert_near("swiglu", &out, e.x, e.size, FUNCTION_ROUNDING);
		backend_cpu.swiglu_backward(rig_exec(&rig), dx.x, dout.x, x.x, m, n, accumulate);
		assert_near("swiglu_backward", &dx, ed.x, ed.size, FUNCTION_ROUNDING);
		assert_untouched("swiglu", &x);
	}
}

static void test_add_and_copy(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 150), n = rig_int(&rng, 1, 70), accumulate = round % 2;
		const struct guarded a = guarded_operand(&rig, m, n, n), b = guarded_operand(&rig, m, n, n);
		const struct guarded sum = guarded_output(&rig, m, n, n, 0);
		const struct guarded x = guarded_operand(&rig, m, n, n + round % 5);
		const struct guarded copy = guarded_output(&rig, m, n, n + round % 3, accumulate);
		struct expected es = expected_make(&rig, m, n), ec = expected_make(&rig, m, n);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++) {
				expected_add(&es, (long)i * n + j, (double)a.x[i * n + j]);
				expected_add(&es, (long)i * n + j, (double)b.x[i * n + j]);
				expected_add(&ec, (long)i * n + j, (double)x.x[i * x.stride + j]);
			}
		backend_cpu.add(rig_exec(&rig), sum.x, a.x, b.x, (long)m * n);
		assert_near("add", &sum, es.x, es.size, 1);
		backend_cpu.copy(rig_exec(&rig), copy.x, copy.stride, x.x, x.stride, m, n, accumulate);
		assert_near("copy", &copy, ec.x, ec.size, accumulate);
		assert_untouched("copy", &x);
	}
}

// Kept or dropped is a pure function of the key and the element, shares are right, and what is kept is scaled.
static void test_dropout(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = rig_int(&rng, 1, 30000), accumulate = round % 2;
		const double p = 0.05 + 0.9 * rng_uniform(&rng);
		const struct guarded x = guarded_operand(&rig, 1, n, n),
		                     out = guarded_output(&rig, 1, n, n, accumulate);
		struct expected e = expected_make(&rig, 1, n);
		int n_dropped = 0;
		backend_cpu.dropout(rig_exec(&rig), out.x, x.x, n, p, 5, (uint64_t)round, accumulate);
		for (int i = 0; i < n; i++) {
			uint32_t word[4];
			rng_block(word, 5, RNG_DROPOUT, (uint64_t)round, (uint32_t)(i / 4));
			const int is_dropped = word[i % 4] < p * 4294967296.0;
			n_dropped += is_dropped;
			e.x[i] = is_dropped ? 0 : (double)x.x[i] / (1 - p);
			e.size[i] = fabs(e.x[i]);
		}
		assert_near("dropout", &out, e.x, e.size, SUM_ROUNDING);
		assert_true(fabs(n_dropped - n * p) < 6 * sqrt(n * p * (1 - p)) + 1);
	}
}

// Through the op: two sites of a step, and two steps, have masks of their own; evaluation has none.
static void dropout_masks_differ_by_site_and_step(void **state UNUSED)
{
	enum { ROWS = 40, COLUMNS = 25, N = ROWS * COLUMNS };
	struct tensor *x = rig_tensor(&rig, 1, ROWS, COLUMNS);
	real mask[4][N];
	for (int i = 0; i < N; i++)
		x->x[i] = 1;
	for (int step = 0; step < 2; step++) {
		rig_begin(&rig, TAPE_RECORD);
		rig.tape.dropout_step = (unsigned)step + 7;
		for (int site = 0; site < 2; site++)
			memcpy(mask[2 * step + site], op_dropout(&rig.tape, x, 0.5)->x, sizeof(mask[0]));
	}
	for (int a = 0; a < 4; a++)
		for (int b = 0; b < a; b++) {
			int n_same = 0;
			for (int i = 0; i < N; i++)
				n_same += mask[a][i] == mask[b][i];
			assert_true(abs(n_same - N / 2) < 6 * 16); // independent: half agree, deviation 16
		}
	rig_begin(&rig, TAPE_RUN);
	assert_ptr_equal(op_dropout(&rig.tape, x, 0.5), x);
}

static void test_cross_entropy(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int m = rig_int(&rng, 1, 60), n = rig_int(&rng, 1, 300), with_gradient = round % 4 > 0;
		const double scale = 1.0 / m;
		const struct guarded x = guarded_operand(&rig, m, n, n), dx = guarded_output(&rig, m, n, n, 0);
		int *target = rig_tokens(&rig, m, n), *hit = arena_alloc(&rig.memory, (size_t)m * sizeof(int));
		double *loss = numbers(m);
		struct expected e = expected_make(&rig, m, n);
		target[m / 2] = round % 2 ? -1 : target[m / 2];
		backend_cpu.cross_entropy(
		        rig_exec(&rig), loss, hit, with_gradient ? dx.x : NULL, x.x, target, m, n, scale);
		for (int i = 0; i < m; i++) {
			const real *row = x.x + i * n;
			double sum = 0, most = -INFINITY;
			for (int j = 0; j < n; j++) {
				sum += exp((double)row[j]);
				most = fmax(most, (double)row[j]);
			}
			if (target[i] < 0) {
				assert_true(loss[i] == 0 && hit[i] == 0);
				continue;
			}
			const double right = log(sum) - (double)row[target[i]];
			assert_true(fabs(loss[i] - right) <=
			            FUNCTION_ROUNDING * FLT_EPSILON * (1 + fabs(most) + fabs(right)));
			assert_int_equal(hit[i], (double)row[target[i]] == most);
			for (int j = 0; j < n; j++) {
				e.x[(long)i * n + j] = (exp((double)row[j]) / sum - (j == target[i])) * scale;
				e.size[(long)i * n + j] =
				        (exp((double)row[j]) / sum * (1 + fabs(most)) + (j == target[i])) * scale;
			}
		}
		if (with_gradient)
			assert_near("cross_entropy", &dx, e.x, e.size, FUNCTION_ROUNDING);
		else
			assert_untouched("cross_entropy without gradient", &dx);
		assert_untouched("cross_entropy", &x);
	}
}

static void test_sum_squares(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = rig_int(&rng, 1, 10000);
		const struct guarded x = guarded_operand(&rig, 1, n, n);
		double sum = 0;
		for (int i = 0; i < n; i++)
			sum += (double)x.x[i] * (double)x.x[i];
		assert_true(
		        fabs(backend_cpu.sum_squares(rig_exec(&rig), x.x, n) - sum) <= 1e-13 * sum); // summed in double
	}
}

static void test_adam(void **state UNUSED)
{
	for (int round = 0; round < ROUNDS; round++) {
		const int n = rig_int(&rng, 1, 20000);
		const struct adam a = {.lr = 0.01,
		        .beta1 = 0.9,
		        .beta2 = 0.99,
		        .eps = 1e-6,
		        .weight_decay = round % 2 * 0.1,
		        .step = 1 + round,
		        .grad_scale = round % 3 ? 1 : 0.25};
		const struct guarded x = guarded_output(&rig, 1, n, n, 1), m = guarded_output(&rig, 1, n, n, 1);
		const struct guarded v = guarded_output(&rig, 1, n, n, 1), dx = guarded_operand(&rig, 1, n, n);
		struct expected ex = expected_make(&rig, 1, n), em = expected_make(&rig, 1, n),
		                ev = expected_make(&rig, 1, n);
		for (int i = 0; i < n; i++) {
			v.x[i] = fabsf(v.x[i]);
			v.before[v.x - v.memory + i] = v.x[i];
			const double g = (double)dx.x[i] * a.grad_scale, m0 = (double)m.x[i], v0 = (double)v.x[i];
			const double m1 = a.beta1 * m0 + (1 - a.beta1) * g, v1 = a.beta2 * v0 + (1 - a.beta2) * g * g;
			const double step = a.lr * (m1 / (1 - pow(a.beta1, (double)a.step))) /
			                    (sqrt(v1 / (1 - pow(a.beta2, (double)a.step))) + a.eps);
			// Differences from what was there, as assert_near wants them.
			em.x[i] = m1 - m0, em.size[i] = fabs(m0) + fabs(g);
			ev.x[i] = v1 - v0, ev.size[i] = v0 + g * g;
			ex.x[i] = -a.lr * a.weight_decay * (double)x.x[i] - step,
			ex.size[i] = fabs(step) * (1 + em.size[i] / fabs(m1));
		}
		backend_cpu.adam(rig_exec(&rig), x.x, m.x, v.x, dx.x, n, &a);
		assert_near("adam: x", &x, ex.x, ex.size, ADAM_ROUNDING);
		assert_near("adam: m", &m, em.x, em.size, ADAM_ROUNDING);
		assert_near("adam: v", &v, ev.x, ev.size, ADAM_ROUNDING);
		assert_untouched("adam", &dx);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_column_sum),
	        cmocka_unit_test(test_embed),
	        cmocka_unit_test(test_norms),
	        cmocka_unit_test(test_unary),
	        cmocka_unit_test(test_swiglu),
	        cmocka_unit_test(test_add_and_copy),
	        cmocka_unit_test(test_dropout),
	        cmocka_unit_test(dropout_masks_differ_by_site_and_step),
	        cmocka_unit_test(test_cross_entropy),
	        cmocka_unit_test(test_sum_squares),
	        cmocka_unit_test(test_adam),
	};
	return cmocka_run_group_tests_name("kernels", tests, setup, teardown);
}
