// SPDX-License-Identifier: MIT
// Products with weights as they lie. Few rows: kernels that read each weight once, at the speed of memory (rows.cuh).
// More: weights become reals or bf16 a piece at a time, unless they are bf16 already, and go through gemm's product.
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/few_rows.cuh"
#include "harness/num/cuda/gemm.cuh"
#include "harness/num/cuda/matmul.cuh"
#include "harness/num/stored.h"

// Rows up to which quantised weights are rather read again, eight rows at a time, than unpacked into memory: 34 bytes
// of q8 read four times are less than 34 read, 64 written and 64 read.
enum { THREADS = 256, MOST_ROWS_PACKED = 32, PIECE_BYTES = 64 << 20 };

static __device__ __forceinline__ void put(float *to, float x)
{
	*to = x;
}
static __device__ __forceinline__ void put(__nv_bfloat16 *to, float x)
{
	*to = __float2bfloat16_rn(x);
}

template <typename T>
static __global__ void __launch_bounds__(THREADS) unpack(
        T *out, long ldo, int dtype, const unsigned char *w, ptrdiff_t row_bytes, int rows, int columns, int total)
{
	const long i = (long)blockIdx.x * THREADS + threadIdx.x;
	if (i < (long)rows * columns)
		put(out + i / columns * ldo + i % columns,
		        dtype_number(dtype, w + i / columns * row_bytes, total, (int)(i % columns)));
}

// Rows of w as an operand of a product, in scratch memory unless they can be taken where they are.
static const void *operand(
        const struct exec *exec, long *ld, const struct stored *w, long from, int rows, int columns, int is_bf16)
{
	const unsigned char *at = w->at + from * w->row_bytes;
	const int size = is_bf16 ? 2 : 4, is_same = w->dtype == (is_bf16 ? DTYPE_BF16 : DTYPE_F32);
	const int n_block = cuda_blocks((long)rows * columns, THREADS);
	if (is_same && (uintptr_t)at % 16 == 0 && w->row_bytes % 16 == 0) {
		*ld = w->row_bytes / size;
		return at;
	}
	*ld = (columns + CHUNK - 1) / CHUNK * CHUNK;
	if (is_bf16) {
		__nv_bfloat16 *to = cuda_scratch<__nv_bfloat16>(exec, rows * *ld);
		LAUNCH((unpack<__nv_bfloat16>), n_block, THREADS, 0, cuda.stream, to, *ld, (int)w->dtype, at,
		        w->row_bytes, rows, columns, w->columns);
		cuda_launched("unpack");
		return to;
	}
	float *to = cuda_scratch<float>(exec, rows * *ld);
	LAUNCH((unpack<float>), n_block, THREADS, 0, cuda.stream, to, *ld, (int)w->dtype, at, w->row_bytes, rows,
	        columns, w->columns);
	cuda_launched("unpack");
	return to;
}

// Part `part` through the product: numbers of y from..from+n-1.
static void multiply_piece(const struct exec *exec, const struct linear_stored *l, const void *x, long ldx, int part,
        int from, int n, int is_bf16)
{
	const struct arena_mark mark = arena_mark(exec->scratch);
	const int rows = l->is_transposed ? l->k : n, columns = l->is_transposed ? l->n : l->k;
	const long first = (long)(part * l->n_matrix / l->n_part) * (l->is_transposed ? l->k : l->n) + from;
	struct matmul p = {};
	p.is_bf16 = is_bf16;
	p.b_is_transposed = !l->is_transposed;
	p.m = l->m, p.n = n, p.k = l->k, p.n_batch = 1;
	p.a = x, p.lda = ldx;
	p.b = operand(exec, &p.ldb, l->w, first, rows, columns, is_bf16);
	p.bias = l->bias ? l->bias + part * l->n + from : NULL;
	p.c = l->y + part * l->y_part + from, p.ldc = l->ldy;
	cuda_matmul(&p);
	arena_rewind(exec->scratch, mark);
}

static void multiply(const struct exec *exec, const struct linear_stored *l, int is_bf16)
{
	const long bytes = (long)(l->k + CHUNK) * (is_bf16 ? 2 : 4);
	const int piece = l->is_transposed || l->n < PIECE_BYTES / bytes ? l->n : (int)(PIECE_BYTES / bytes);
	for (int part = 0; part < l->n_part; part++) {
		const struct arena_mark mark = arena_mark(exec->scratch);
		const real *rows = l->x + part * l->x_part;
		long ldx = l->ldx;
		const void *x = is_bf16 ? cuda_rounded(exec, &ldx, rows, l->ldx, l->m, l->k) : rows;
		for (int from = 0; from < l->n; from += piece)
			multiply_piece(exec, l, x, ldx, part, from, l->n - from < piece ? l->n - from : piece, is_bf16);
		arena_rewind(exec->scratch, mark);
	}
}

static void linear_stored(const struct exec *exec, const struct linear_stored *l, int is_bf16)
{
	const int is_packed = l->w->dtype == DTYPE_Q8 || l->w->dtype == DTYPE_Q4;
	if (l->m < 1 || l->n < 1)
		return;
	if (l->m > (is_packed ? (int)MOST_ROWS_PACKED : (int)FEW_ROWS)) {
		multiply(exec, l, is_bf16);
		return;
	}
	for (int from = 0; from < l->m; from += FEW_ROWS) {
		struct linear_stored some = *l;
		some.m = l->m - from < FEW_ROWS ? l->m - from : FEW_ROWS;
		some.x += from * l->ldx;
		some.y += from * l->ldy;
		few_rows(&some);
	}
}

void cuda_linear_stored_exact(const struct exec *exec, const struct linear_stored *l)
{
	linear_stored(exec, l, 0);
}

void cuda_linear_stored_rounded(const struct exec *exec, const struct linear_stored *l)
{
	linear_stored(exec, l, 1);
}
