// SPDX-License-Identifier: MIT
// Kernels that look into the heads of a row: copies of runs of columns, a factor per head, dot products per head.
#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/vec.h"

enum { WORTH_THREADS = 8192 }; // numbers from which on threads share the rows

// Rows r of a (B, T, ...) operand, r = b * T + t.
static inline ptrdiff_t row_at(int r, int T, ptrdiff_t b_stride, ptrdiff_t t_stride)
{
	return r / T * b_stride + r % T * t_stride;
}

// A call of memcpy or a vector loop with its ends costs more than the few numbers of a short run.
static inline void copy_run(real *to, const real *from, int n, int accumulate)
{
	int j = 0;
	for (; j + VEC <= n; j += VEC)
		vec_store(to + j, accumulate ? vec_load(to + j) + vec_load(from + j) : vec_load(from + j));
	for (; j < n; j++)
		to[j] = accumulate ? to[j] + from[j] : from[j];
}

void cpu_copy_columns(const struct exec *exec, struct strided_out out, struct strided x, int B, int T,
        const struct column_run *run, int n_run)
{
	long n = 0;
	for (int i = 0; i < n_run; i++)
		n += run[i].n;
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && n * B * T > WORTH_THREADS)              \
        schedule(static)
	for (int r = 0; r < B * T; r++) {
		real *to = out.x + row_at(r, T, out.b_stride, out.t_stride);
		const real *from = x.x + row_at(r, T, x.b_stride, x.t_stride);
		for (int i = 0; i < n_run; i++)
			copy_run(to + run[i].to, from + run[i].from, run[i].n, out.accumulate);
	}
}

void cpu_scale_heads(const struct exec *exec, struct strided_out out, struct strided x, int B, int T, int C, int n_head,
        const real *gain, ptrdiff_t gain_stride)
{
	const int d = C / n_head;
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && (long)B * T * C > WORTH_THREADS)        \
        schedule(static)
	for (int r = 0; r < B * T; r++)
		for (int h = 0; h < n_head; h++) {
			real *to = out.x + row_at(r, T, out.b_stride, out.t_stride) + h * d;
			const real *from = x.x + row_at(r, T, x.b_stride, x.t_stride) + h * d;
			const real factor = gain[h * gain_stride];
			for (int j = 0; j < d; j++)
				to[j] = out.accumulate ? to[j] + from[j] * factor : from[j] * factor;
		}
}

// Sum over a block of rows of the dot product of heads of d numbers.
static real dot_block(
        const real *a, const real *b, struct strided sa, struct strided sb, int T, int first, int last, int d)
{
	vec sum = {0};
	real rest = 0;
	for (int r = first; r < last; r++) {
		const real *x = a + row_at(r, T, sa.b_stride, sa.t_stride);
		const real *y = b + row_at(r, T, sb.b_stride, sb.t_stride);
		int j = 0;
		for (; j + VEC <= d; j += VEC)
			sum += vec_load(x + j) * vec_load(y + j);
		for (; j < d; j++)
			rest += x[j] * y[j];
	}
	return vec_sum(sum) + rest;
}

void cpu_dot_heads(
        const struct exec *exec, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head)
{
	const int d = C / n_head, rows = B * T, n_block = cpu_blocks(rows, CPU_ROW_BLOCK);
	struct arena_mark mark = arena_mark(exec->scratch);
	real *partial = arena_alloc(exec->scratch, (size_t)n_block * (size_t)n_head * sizeof(real));
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && (long)rows * C > WORTH_THREADS)         \
        schedule(static)
	for (int block = 0; block < n_block; block++)
		for (int h = 0; h < n_head; h++)
			partial[block * n_head + h] = dot_block(a.x + h * d, b.x + h * d, a, b, T,
			        block * CPU_ROW_BLOCK, cpu_min(rows, (block + 1) * CPU_ROW_BLOCK), d);
	for (int h = 0; h < n_head; h++) {
		out[h] = 0;
		for (int block = 0; block < n_block; block++)
			out[h] += partial[block * n_head + h];
	}
	arena_rewind(exec->scratch, mark);
}
