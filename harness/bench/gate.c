// SPDX-License-Identifier: MIT
#include "harness/bench/gate.h"

#include <math.h>

#include "harness/base/rng.h"
#include "harness/num/cpu/probe.h"

// Largest difference from the loop in double: rounding of float at sums of a few hundred numbers below 1.
static const double tolerance = 1e-4;

static real *numbers(struct arena *arena, long n, uint64_t index)
{
	real *x = arena_alloc(arena, (size_t)n * sizeof(real));
	struct rng rng = rng_make(2, RNG_CHECK, index);
	for (long i = 0; i < n; i++)
		x[i] = (real)(rng_uniform(&rng) - 0.5);
	return x;
}

static double product_error(const struct gemm *g)
{
	double worst = 0;
	for (int i = 0; i < g->m; i++)
		for (int j = 0; j < g->n; j++) {
			double sum = 0;
			for (int p = 0; p < g->k; p++)
				sum += (double)(g->form == GEMM_TN ? g->a[p * g->lda + i] : g->a[i * g->lda + p]) *
				       (double)(g->form == GEMM_NT ? g->b[j * g->ldb + p] : g->b[p * g->ldb + j]);
			worst = fmax(worst, fabs(sum - (double)g->c[i * g->ldc + j]));
		}
	return worst;
}

static int check_products(int n_thread, struct arena *arena, struct err *err)
{
	const int m = 101, n = 72, k = 300;
	const struct exec exec = {n_thread, arena};
	const real *a = numbers(arena, m * k, 1), *b = numbers(arena, k * n, 2);
	real *c = numbers(arena, m * n, 3);
	for (int form = GEMM_NN; form <= GEMM_TN; form++)
		for (int way = 0; way < 3; way++) {
			const struct gemm g = {.form = (enum gemm_form)form,
			        .m = m,
			        .n = n,
			        .k = k,
			        .a = a,
			        .b = b,
			        .c = c,
			        .lda = form == GEMM_TN ? m : k,
			        .ldb = form == GEMM_NT ? k : n,
			        .ldc = n};
			if (way == 0)
				backend_cpu.gemm(&exec, &g);
			else
				probe_gemm(&exec, &g, way == 1 ? PROBE_BLAS_OWN_THREADS : PROBE_BLAS_HALVES);
			const double error = product_error(&g);
			if (!(error < tolerance))
				return err_fault(
				        err, "bench: gate: a matrix product is off by %.2g (run 'make test')", error);
		}
	return 0;
}

// Plain attention of one head; d may be its gradient of out, then dq, dk, dv are filled.
struct head {
	int T, d;
	double scale;
	const real *q, *k, *v, *d_out;
	double *out, *dq, *dk, *dv, *weight;
};

static void plain_head(const struct head *h)
{
	const int d = h->d;
	for (int i = 0; i < h->T; i++) {
		double total = 0, delta = 0;
		for (int j = 0; j <= i; j++) {
			double score = 0;
			for (int c = 0; c < d; c++)
				score += (double)h->q[i * d + c] * (double)h->k[j * d + c];
			total += h->weight[j] = exp(score * h->scale);
		}
		for (int j = 0; j <= i; j++)
			for (int c = 0; c < d; c++) {
				const double part = h->weight[j] / total * (double)h->v[j * d + c];
				h->out[i * d + c] += part;
				delta += part * (double)h->d_out[i * d + c];
			}
		for (int j = 0; j <= i; j++) {
			double dp = 0;
			const double p = h->weight[j] / total;
			for (int c = 0; c < d; c++) {
				dp += (double)h->d_out[i * d + c] * (double)h->v[j * d + c];
				h->dv[j * d + c] += p * (double)h->d_out[i * d + c];
			}
			for (int c = 0; c < d; c++) {
				h->dq[i * d + c] += h->scale * p * (dp - delta) * (double)h->k[j * d + c];
				h->dk[j * d + c] += h->scale * p * (dp - delta) * (double)h->q[i * d + c];
			}
		}
	}
}

static double difference(const real *x, const double *y, long n)
{
	double worst = 0;
	for (long i = 0; i < n; i++)
		worst = fmax(worst, isfinite((double)x[i]) ? fabs((double)x[i] - y[i]) : INFINITY);
	return worst;
}

static int check_attention(int n_thread, int T, int d, struct arena *arena, struct err *err)
{
	enum { HEADS = 2 };
	const long n = (long)T * d;
	const struct attention_shape shape = {.B = HEADS,
	        .T = T,
	        .S = T,
	        .n_head = 1,
	        .n_k_head = 1,
	        .n_v_head = 1,
	        .d_qk = d,
	        .d_v = d,
	        .causal = 1,
	        .scale = 1 / sqrt(d)};
	real *x[8]; // q, k, v, dout; out, dq, dk, dv
	for (int i = 0; i < 8; i++)
		x[i] = numbers(arena, HEADS * n, (uint64_t)(10 + i));
	real *lse = numbers(arena, (long)HEADS * T, 20);
	double *y[4], *weight = arena_alloc(arena, (size_t)T * sizeof(double));
	for (int i = 0; i < 4; i++)
		y[i] = arena_zalloc(arena, (size_t)(HEADS * n) * sizeof(double));
	for (int b = 0; b < HEADS; b++)
		plain_head(&(struct head){T, d, shape.scale, x[0] + b * n, x[1] + b * n, x[2] + b * n, x[3] + b * n,
		        y[0] + b * n, y[1] + b * n, y[2] + b * n, y[3] + b * n, weight});
	const struct exec exec = {n_thread, arena};
	struct strided in[5];
	struct strided_out to[4];
	for (int i = 0; i < 5; i++)
		in[i] = (struct strided){x[i], n, d};
	for (int i = 0; i < 4; i++)
		to[i] = (struct strided_out){x[4 + i], n, d, 0};
	backend_cpu.attention(&exec, to[0], lse, in[0], in[1], in[2], &shape);
	backend_cpu.attention_backward(&exec, to[1], to[2], to[3], in[3], in[4], lse, in[0], in[1], in[2], &shape);
	for (int i = 0; i < 4; i++) {
		const double error = difference(x[4 + i], y[i], HEADS * n);
		if (!(error < tolerance))
			return err_fault(err, "bench: gate: attention at T %d, d %d is off by %.2g (run 'make test')",
			        T, d, error);
	}
	return 0;
}

int gate_check(int n_thread, struct err *err)
{
	struct arena arena;
	arena_init(&arena, 4 << 20);
	int result = check_products(n_thread, &arena, err);
	result = result ? result : check_attention(n_thread, 18, 16, &arena, err);
	result = result ? result : check_attention(n_thread, 18, 4, &arena, err);
	result = result ? result : check_attention(n_thread, 300, 64, &arena, err);
	arena_release(&arena);
	return result;
}
