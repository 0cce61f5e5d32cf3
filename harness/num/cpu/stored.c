// SPDX-License-Identifier: MIT
// Rows in the types that caches and weights are kept in: written, read, looked up by token.
#include <string.h>

#include "harness/num/cpu/cpu.h"
#include "harness/num/stored.h"

enum { N = DTYPE_BLOCK };

// --- reading ------------------------------------------------------------------------------------------------------

static void read_unit(
        const struct stored *s, real *x, ptrdiff_t ldx, const unsigned char *unit, int t0, int n, int from, int d)
{
	for (int c = 0; c < d; c++) {
		real channel[N];
		dtype_read(s->dtype, channel, unit + (from + c) * s->channel_bytes, N);
		for (int t = 0; t < n; t++)
			x[t * ldx + c] = channel[t0 + t];
	}
}

void cpu_read_block(const struct stored *s, real *x, ptrdiff_t ldx, int b, int position, int n, int S, int from, int d)
{
	const unsigned char *sequence = s->at + b * s->b_bytes;
	from += s->from;
	if (s->tail && position / N * N + N <= S) {
		read_unit(s, x, ldx, sequence + position / N * s->row_bytes, position % N, n, from, d);
		return;
	}
	for (int t = 0; t < n; t++) {
		if (s->tail)
			memcpy(x + t * ldx, s->tail + ((ptrdiff_t)b * N + (position + t) % N) * s->columns + from,
			        (size_t)d * sizeof(*x));
		else
			dtype_read_columns(
			        s->dtype, x + t * ldx, sequence + (position + t) * s->row_bytes, s->columns, from, d);
	}
}

// To out, or onto it, a row of reals at a time.
static void add_block(
        struct strided_out out, const struct stored *s, real *row, int b, int position, int n, int S, int from, int d)
{
	for (int t = 0; t < n; t++) {
		real *to = out.x + t * out.t_stride;
		cpu_read_block(s, row, d, b, position + t, 1, S, from, d);
		for (int c = 0; c < d; c++)
			to[c] += row[c];
	}
}

// Blocks of positions are shared out among threads; each is a function of its bytes.
void cpu_read_rows(const struct exec *exec, struct strided_out out, const struct stored *from, int B, int position,
        int n, int S, int at, int d)
{
	const int first = position / N, n_block = n > 0 ? (position + n - 1) / N - first + 1 : 0;
	const struct arena_mark mark = arena_mark(exec->scratch);
	real *rows = NULL;
	if (out.accumulate)
		rows = arena_alloc(exec->scratch, (size_t)exec->n_thread * (size_t)d * sizeof(*rows));
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && n_block > 1) schedule(static)
	for (int i = 0; i < B * n_block; i++) {
		const int b = i / n_block, block = (first + i % n_block) * N;
		const int begin = block > position ? block : position, end = cpu_min(block + N, position + n);
		struct strided_out to = out;
		to.x += b * out.b_stride + (begin - position) * out.t_stride;
		if (out.accumulate)
			add_block(to, from, rows + (ptrdiff_t)cpu_thread() * d, b, begin, end - begin, S, at, d);
		else
			cpu_read_block(from, to.x, to.t_stride, b, begin, end - begin, S, at, d);
	}
	arena_rewind(exec->scratch, mark);
}

// The rows of the tokens as a table of their own.
void cpu_embed_stored(const struct exec *exec, real *out, const struct stored *table, const real *position,
        const int *tokens, int B, int T, int C, int first)
{
	const struct arena_mark mark = arena_mark(exec->scratch);
	const size_t n = (size_t)B * (size_t)T;
	real *rows = arena_alloc(exec->scratch, n * (size_t)C * sizeof(*rows));
	int *number = arena_alloc(exec->scratch, n * sizeof(*number));
	for (int i = 0; i < B * T; i++) {
		cpu_read_block(table, rows + (ptrdiff_t)i * C, C, 0, tokens[i], 1, tokens[i] + 1, 0, C);
		number[i] = i;
	}
	cpu_embed(exec, out, rows, position, number, B, T, C, first);
	arena_rewind(exec->scratch, mark);
}

// --- writing ------------------------------------------------------------------------------------------------------

static unsigned char *unit_at(const struct stored *s, int b, int i)
{
	return (unsigned char *)s->at + b * s->b_bytes + i * s->row_bytes;
}

static real *tail_at(const struct stored *s, int b, int position)
{
	return (real *)s->tail + ((ptrdiff_t)b * N + position % N) * s->columns;
}

// A full tail becomes a unit.
static void write_unit(const struct stored *s, int b, int i)
{
	unsigned char *to = unit_at(s, b, i);
	const real *from = tail_at(s, b, 0);
	for (int c = 0; c < s->columns; c++, to += s->channel_bytes) {
		real channel[N];
		for (int t = 0; t < N; t++)
			channel[t] = from[(ptrdiff_t)t * s->columns + c];
		dtype_write(s->dtype, to, channel, N);
	}
}

void cpu_store_rows(const struct exec *exec, const struct stored *to, struct strided x, int B, int T, int first)
{
	(void)exec;
	for (int b = 0; b < B; b++)
		for (int t = 0; t < T; t++) {
			const real *row = x.x + b * x.b_stride + t * x.t_stride;
			const int position = first + t;
			if (!to->tail) {
				dtype_write(to->dtype, unit_at(to, b, position), row, to->columns);
				continue;
			}
			memcpy(tail_at(to, b, position), row, (size_t)to->columns * sizeof(*row));
			if (position % N == N - 1)
				write_unit(to, b, position / N);
		}
}
