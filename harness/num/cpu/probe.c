// SPDX-License-Identifier: MIT
#include "harness/num/cpu/probe.h"

#include <cblas.h>
#include <string.h>

#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/vec.h"

// 12 chains of multiply-adds hide a latency of 4 cycles on two units, and fit the 16 registers of AVX2.
enum { CHAINS = 12, ROUNDS = 200000 };

static real fma_chains(void)
{
	vec chain[CHAINS], a = vec_set((real)0.999), b = vec_set((real)0.001);
	for (int i = 0; i < CHAINS; i++)
		chain[i] = vec_set((real)i);
	// The compiler must neither merge the chains nor take them out of registers.
	__asm__ volatile("" : "+x"(a), "+x"(b));
	for (int round = 0; round < ROUNDS; round++)
#pragma GCC unroll 12
		for (int i = 0; i < CHAINS; i++)
			chain[i] = chain[i] * a + b;
	real sum = 0;
	for (int i = 0; i < CHAINS; i++)
		sum += vec_sum(chain[i]);
	return sum;
}

double probe_fma(int n_thread)
{
	volatile real sink[64];
#pragma omp parallel for num_threads(n_thread) if (n_thread > 1) schedule(static)
	for (int thread = 0; thread < n_thread; thread++)
		sink[thread % 64] = fma_chains();
	(void)sink[0];
	return 2.0 * VEC * CHAINS * ROUNDS * n_thread;
}

double probe_read(const real *x, long n, int n_thread)
{
	double sum = 0;
#pragma omp parallel for num_threads(n_thread) if (n_thread > 1) schedule(static) reduction(+ : sum)
	for (int thread = 0; thread < n_thread; thread++) {
		vec part[8] = {{0}};
		const long to = n * (thread + 1) / n_thread;
		for (long i = n * thread / n_thread; i + 8 * VEC <= to; i += 8 * VEC)
			for (int l = 0; l < 8; l++)
				part[l] += vec_load(x + i + l * VEC);
		for (int l = 0; l < 8; l++)
			sum += (double)vec_sum(part[l]);
	}
	return sum;
}

// Rows i0..i0+m-1 of C, rows p0..p0+k-1 of the sum, to c.
static void blas(const struct gemm *g, int i0, int m, int p0, int k, real *c, ptrdiff_t ldc, int accumulate)
{
	const CBLAS_TRANSPOSE ta = g->form == GEMM_TN ? CblasTrans : CblasNoTrans;
	const CBLAS_TRANSPOSE tb = g->form == GEMM_NT ? CblasTrans : CblasNoTrans;
	const real *a = g->form == GEMM_TN ? g->a + p0 * g->lda + i0 : g->a + i0 * g->lda + p0;
	const real *b = g->form == GEMM_NT ? g->b + p0 : g->b + p0 * g->ldb;
#ifdef KVLAB_DOUBLE
	cblas_dgemm
#else
	cblas_sgemm
#endif
	        (CblasRowMajor, ta, tb, m, g->n, k, 1, a, (int)g->lda, b, (int)g->ldb, (real)accumulate, c, (int)ldc);
}

static void halves_of_rows(const struct exec *exec, const struct gemm *g)
{
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int part = 0; part < exec->n_thread; part++) {
		const int from = g->m * part / exec->n_thread, to = g->m * (part + 1) / exec->n_thread;
		if (to > from)
			blas(g, from, to - from, 0, g->k, g->c + from * g->ldc, g->ldc, g->accumulate);
	}
}

static void halves_of_sum(const struct exec *exec, const struct gemm *g)
{
	struct arena_mark mark = arena_mark(exec->scratch);
	const ptrdiff_t size = (ptrdiff_t)g->m * g->n;
	real *sum = arena_alloc(exec->scratch, (size_t)size * (size_t)exec->n_thread * sizeof(real));
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int part = 0; part < exec->n_thread; part++) {
		const int from = g->k * part / exec->n_thread, to = g->k * (part + 1) / exec->n_thread;
		blas(g, 0, g->m, from, to - from, sum + part * size, g->n, 0);
	}
	for (int part = 0; part < exec->n_thread; part++)
		for (int i = 0; i < g->m; i++)
			for (int j = 0; j < g->n; j++) {
				real *to = g->c + i * g->ldc + j, x = sum[part * size + (ptrdiff_t)i * g->n + j];
				*to = part || g->accumulate ? *to + x : x;
			}
	arena_rewind(exec->scratch, mark);
}

void probe_gemm(const struct exec *exec, const struct gemm *g, enum probe_blas how)
{
	openblas_set_num_threads(how == PROBE_BLAS_OWN_THREADS ? exec->n_thread : 1);
	if (how == PROBE_BLAS_OWN_THREADS)
		blas(g, 0, g->m, 0, g->k, g->c, g->ldc, g->accumulate);
	else if (g->form == GEMM_TN && exec->n_thread > 1)
		halves_of_sum(exec, g);
	else
		halves_of_rows(exec, g);
	openblas_set_num_threads(1);
}
