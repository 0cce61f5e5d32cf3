// SPDX-License-Identifier: MIT
// The gemm slot: in f32 as it is, or with operands rounded to bf16 first, in rows whose length suits tensor cores.
#include "harness/num/cuda/gemm.cuh"

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/dtype.cuh"
#include "harness/num/cuda/matmul.cuh"

enum { THREADS = 256 };

static __global__ void __launch_bounds__(THREADS)
        round_rows(__nv_bfloat16 *out, long ldo, const float *x, ptrdiff_t ldx, long rows, int columns)
{
	const long i = (long)blockIdx.x * THREADS + threadIdx.x;
	if (i < rows * columns)
		out[i / columns * ldo + i % columns] = __float2bfloat16_rn(x[i / columns * ldx + i % columns]);
}

const void *cuda_rounded(const struct exec *exec, long *ld, const real *x, ptrdiff_t ldx, long rows, int columns)
{
	*ld = (columns + CHUNK - 1) / CHUNK * CHUNK;
	__nv_bfloat16 *to = cuda_scratch<__nv_bfloat16>(exec, rows * *ld);
	LAUNCH(round_rows, cuda_blocks(rows * columns, THREADS), THREADS, 0, cuda.stream, to, *ld, x, ldx, rows,
	        columns);
	cuda_launched("round_rows");
	return to;
}

static struct matmul matmul_of(const struct gemm *g)
{
	struct matmul p = {};
	p.a_is_transposed = g->form == GEMM_TN;
	p.b_is_transposed = g->form == GEMM_NT;
	p.accumulate = g->accumulate;
	p.m = g->m, p.n = g->n, p.k = g->k, p.n_batch = 1;
	p.a = g->a, p.b = g->b, p.bias = g->bias, p.c = g->c;
	p.lda = g->lda, p.ldb = g->ldb, p.ldc = g->ldc;
	return p;
}

void cuda_gemm_exact(const struct exec *, const struct gemm *g)
{
	const struct matmul p = matmul_of(g);
	if (g->m > 0 && g->n > 0)
		cuda_matmul(&p);
}

void cuda_gemm_rounded(const struct exec *exec, const struct gemm *g)
{
	struct matmul p = matmul_of(g);
	const struct arena_mark mark = arena_mark(exec->scratch);
	if (g->m < 1 || g->n < 1)
		return;
	p.is_bf16 = 1;
	p.a = p.a_is_transposed ? cuda_rounded(exec, &p.lda, g->a, g->lda, g->k, g->m)
	                        : cuda_rounded(exec, &p.lda, g->a, g->lda, g->m, g->k);
	p.b = p.b_is_transposed ? cuda_rounded(exec, &p.ldb, g->b, g->ldb, g->n, g->k)
	                        : cuda_rounded(exec, &p.ldb, g->b, g->ldb, g->k, g->n);
	cuda_matmul(&p);
	arena_rewind(exec->scratch, mark);
}

void cuda_probe_product(const struct exec *, real *c, const void *a, const void *b, int n)
{
	struct matmul p = {};
	p.is_bf16 = 1, p.b_is_transposed = 1;
	p.m = p.n = p.k = n, p.n_batch = 1;
	p.a = a, p.b = b, p.c = c;
	p.lda = p.ldb = p.ldc = n;
	cuda_matmul(&p);
}
