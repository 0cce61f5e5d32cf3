// SPDX-License-Identifier: MIT
// Sums over rows, and what is built of them: bias gradients, norms, embeddings' gradients, the norm of a gradient.
// Partial sums belong to fixed blocks of rows and are added in order, so thread counts do not change them.
#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/vec.h"

enum { SUM_BLOCK = 4096 };

// out (n) = [out +] partial (n_part, n) added in order.
static void reduce_parts(real *out, const real *partial, int n_part, int n, int accumulate)
{
	for (int j = 0; j < n; j++)
		out[j] = accumulate ? out[j] + partial[j] : partial[j];
	for (int part = 1; part < n_part; part++)
		for (int j = 0; j < n; j++)
			out[j] += partial[(ptrdiff_t)part * n + j];
}

void cpu_column_sum(const struct exec *exec, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate)
{
	const int n_block = cpu_blocks(m, CPU_ROW_BLOCK);
	struct arena_mark mark = arena_mark(exec->scratch);
	real *partial = arena_alloc(exec->scratch, (size_t)n_block * (size_t)n * sizeof(real));
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && (long)m * n > 16384) schedule(static)
	for (int block = 0; block < n_block; block++) {
		real *sum = partial + (ptrdiff_t)block * n;
		memset(sum, 0, (size_t)n * sizeof(real));
		for (int i = block * CPU_ROW_BLOCK; i < cpu_min(m, (block + 1) * CPU_ROW_BLOCK); i++)
			for (int j = 0; j < n; j++)
				sum[j] += x[i * ldx + j];
	}
	reduce_parts(out, partial, n_block, n, accumulate);
	arena_rewind(exec->scratch, mark);
}

double cpu_sum_squares(const struct exec *exec, const real *x, long n)
{
	const int n_block = cpu_blocks(n, SUM_BLOCK);
	struct arena_mark mark = arena_mark(exec->scratch);
	double *partial = arena_alloc(exec->scratch, (size_t)n_block * sizeof(*partial)), sum = 0;
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int block = 0; block < n_block; block++) {
		double s = 0;
		for (long i = (long)block * SUM_BLOCK; i < n && i < (long)(block + 1) * SUM_BLOCK; i++)
			s += (double)x[i] * x[i];
		partial[block] = s;
	}
	for (int block = 0; block < n_block; block++)
		sum += partial[block];
	arena_rewind(exec->scratch, mark);
	return sum;
}

static real row_sum(const real *x, int n)
{
	vec s = {0};
	int j = 0;
	for (; j + VEC <= n; j += VEC)
		s += vec_load(x + j);
	if (j < n)
		s += vec_load_first(x + j, n - j);
	return vec_sum(s);
}

// Sum of (x - mean)^2.
static real row_deviation(const real *x, int n, real mean)
{
	vec s = {0};
	int j = 0;
	for (; j + VEC <= n; j += VEC) {
		vec d = vec_load(x + j) - mean;
		s += d * d;
	}
	real sum = vec_sum(s);
	for (; j < n; j++)
		sum += (x[j] - mean) * (x[j] - mean);
	return sum;
}

void cpu_norm(const struct exec *exec, real *out, real *stat, const real *x, const real *gain, const real *bias, int m,
        int n, double eps, int is_rms)
{
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int i = 0; i < m; i++) {
		const real *row = x + (ptrdiff_t)i * n;
		real *to = out + (ptrdiff_t)i * n;
		real mean = is_rms ? 0 : row_sum(row, n) / (real)n;
		real r = 1 / (real)sqrt((double)(row_deviation(row, n, mean) / (real)n) + eps);
		if (bias)
			for (int j = 0; j < n; j++)
				to[j] = (row[j] - mean) * r * gain[j] + bias[j];
		else
			for (int j = 0; j < n; j++)
				to[j] = (row[j] - mean) * r * gain[j];
		if (stat) {
			stat[2 * (ptrdiff_t)i] = mean;
			stat[2 * (ptrdiff_t)i + 1] = r;
		}
	}
}

// mean(g) and mean(g xhat) of a row, with g = dout * gain.
static void norm_row_sums(
        const real *dout, const real *x, const real *gain, int n, real mean, real r, real *g_mean, real *gx_mean)
{
	vec s = {0}, sx = {0};
	int j = 0;
	for (; j < n; j += VEC) {
		int c = cpu_min(VEC, n - j);
		vec g = c == VEC ? vec_load(dout + j) * vec_load(gain + j)
		                 : vec_load_first(dout + j, c) * vec_load_first(gain + j, c);
		vec xj = c == VEC ? vec_load(x + j) : vec_load_first(x + j, c);
		s += g;
		sx += g * ((xj - mean) * r);
	}
	*g_mean = vec_sum(s) / (real)n;
	*gx_mean = vec_sum(sx) / (real)n;
}

void cpu_norm_backward(const struct exec *exec, real *dx, int accumulate_x, real *dgain, int accumulate_gain,
        real *dbias, int accumulate_bias, const real *dout, const real *x, const real *stat, const real *gain, int m,
        int n, int is_rms)
{
	const int n_block = cpu_blocks(m, CPU_ROW_BLOCK);
	struct arena_mark mark = arena_mark(exec->scratch);
	real *gain_part = arena_alloc(exec->scratch, (size_t)n_block * (size_t)n * sizeof(real));
	real *bias_part = arena_alloc(exec->scratch, (size_t)n_block * (size_t)n * sizeof(real));
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int block = 0; block < n_block; block++) {
		real *to_gain = gain_part + (ptrdiff_t)block * n, *to_bias = bias_part + (ptrdiff_t)block * n;
		memset(to_gain, 0, (size_t)n * sizeof(real));
		memset(to_bias, 0, (size_t)n * sizeof(real));
		for (int i = block * CPU_ROW_BLOCK; i < cpu_min(m, (block + 1) * CPU_ROW_BLOCK); i++) {
			const real *d = dout + (ptrdiff_t)i * n, *row = x + (ptrdiff_t)i * n;
			const real mean = stat[2 * (ptrdiff_t)i], r = stat[2 * (ptrdiff_t)i + 1];
			real g_mean, gx_mean;
			norm_row_sums(d, row, gain, n, mean, r, &g_mean, &gx_mean);
			if (is_rms)
				g_mean = 0;
			for (int j = 0; j < n; j++) {
				real xhat = (row[j] - mean) * r;
				to_gain[j] += d[j] * xhat;
				to_bias[j] += d[j];
			}
			if (!dx)
				continue;
			real *to = dx + (ptrdiff_t)i * n;
			for (int j = 0; j < n; j++) {
				real xhat = (row[j] - mean) * r, g = r * (d[j] * gain[j] - g_mean - xhat * gx_mean);
				to[j] = accumulate_x ? to[j] + g : g;
			}
		}
	}
	if (dgain)
		reduce_parts(dgain, gain_part, n_block, n, accumulate_gain);
	if (dbias)
		reduce_parts(dbias, bias_part, n_block, n, accumulate_bias);
	arena_rewind(exec->scratch, mark);
}

void cpu_embed(const struct exec *exec, real *out, const real *table, const real *position, const int *tokens, int B,
        int T, int C, int first)
{
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int row = 0; row < B * T; row++) {
		const real *from = table + (ptrdiff_t)tokens[row] * C;
		const real *at = position ? position + (ptrdiff_t)(first + row % T) * C : NULL;
		real *to = out + (ptrdiff_t)row * C;
		if (at)
			for (int j = 0; j < C; j++)
				to[j] = from[j] + at[j];
		else
			memcpy(to, from, (size_t)C * sizeof(real));
	}
}

// Tokens repeat, so threads share columns, not rows: each column is added up by one thread, in order of the rows.
void cpu_embed_backward(const struct exec *exec, real *dtable, int n_vocab, int accumulate_table, real *dposition,
        int n_ctx, int accumulate_position, const real *dout, const int *tokens, int B, int T, int C, int first)
{
	const int width = 16, n_part = cpu_blocks(C, width);
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int part = 0; part < n_part; part++) {
		const int from = part * width, n = cpu_min(width, C - from);
		for (int i = 0; dtable && !accumulate_table && i < n_vocab; i++)
			memset(dtable + (ptrdiff_t)i * C + from, 0, (size_t)n * sizeof(real));
		for (int i = 0; dposition && !accumulate_position && i < n_ctx; i++)
			memset(dposition + (ptrdiff_t)i * C + from, 0, (size_t)n * sizeof(real));
		for (int row = 0; row < B * T; row++) {
			const real *d = dout + (ptrdiff_t)row * C + from;
			real *to = dtable ? dtable + (ptrdiff_t)tokens[row] * C + from : NULL;
			real *at = dposition ? dposition + (ptrdiff_t)(first + row % T) * C + from : NULL;
			for (int j = 0; to && j < n; j++)
				to[j] += d[j];
			for (int j = 0; at && j < n; j++)
				at[j] += d[j];
		}
	}
}
