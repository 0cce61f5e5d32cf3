// SPDX-License-Identifier: MIT
// Kernels that touch each number once: bound by memory, so each is one pass, vectorised and shared out in fixed blocks.
#include "harness/base/rng.h"
#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/vec.h"

enum { BLOCK = 8192 }; // numbers a thread takes at a time

// Runs `body` for blocks [from, to) of n numbers. (Formatted by hand: the string of _Pragma must stay whole.)
// clang-format off
#define FOR_BLOCKS(n, from, to)                                                                                        \
	_Pragma("omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && n > BLOCK) schedule(static)")  \
	for (long from = 0; from < n; from += BLOCK)                                                                   \
		for (long to = from + BLOCK < n ? from + BLOCK : n, once = 1; once; once = 0)
// clang-format on

static inline vec gelu(vec x, vec *slope)
{
	vec density, cdf = vec_normal_cdf(x, &density);
	*slope = cdf + x * density;
	return x * cdf;
}

// The polynomial sees x within +-10, where the sigmoid is 1 or nothing already: its cube cannot overflow.
static inline vec gelu_new(vec x, vec *slope)
{
	const real a = (real)1.5957691216057308, b = (real)0.044715; // a = 2 sqrt(2 / pi)
	const vec z = vec_max(vec_min(x, vec_set(10)), vec_set(-10)), zz = z * z;
	const vec e = vec_exp(-a * z * (1 + b * zz)), s = 1 / (1 + e), rest = e * s; // 1 - s without cancellation
	*slope = s + x * s * rest * (a * (1 + 3 * b * zz));
	return x * s;
}

static inline vec relu(vec x, vec *slope)
{
	const vec_mask off = x <= vec_set(0); // NaN is not below 0: it must reach the loss
	*slope = vec_choose(off, vec_set(0), vec_set(1));
	return vec_choose(off, vec_set(0), x);
}

static inline __attribute__((always_inline)) void map(
        real *out, real *slope, const real *x, long n, vec (*f)(vec, vec *))
{
	vec d;
	long i = 0;
	for (; i + VEC <= n; i += VEC) {
		vec_store(out + i, f(vec_load(x + i), &d));
		if (slope)
			vec_store(slope + i, d);
	}
	if (i == n)
		return;
	vec_store_first(out + i, f(vec_load_first(x + i, (int)(n - i)), &d), (int)(n - i));
	if (slope)
		vec_store_first(slope + i, d, (int)(n - i));
}

void cpu_unary(const struct exec *exec, real *out, real *slope, const real *x, long n, enum unary kind)
{
	FOR_BLOCKS(n, from, to)
	{
		real *d = slope ? slope + from : NULL;
		if (kind == UNARY_GELU)
			map(out + from, d, x + from, to - from, gelu);
		else if (kind == UNARY_GELU_NEW)
			map(out + from, d, x + from, to - from, gelu_new);
		else
			map(out + from, d, x + from, to - from, relu);
	}
}

void cpu_unary_backward(const struct exec *exec, real *dx, const real *dout, const real *slope, long n, int accumulate)
{
	FOR_BLOCKS(n, from, to)
	for (long i = from; i < to; i++)
		dx[i] = accumulate ? dx[i] + dout[i] * slope[i] : dout[i] * slope[i];
}

static vec sigmoid(vec x)
{
	return 1 / (1 + vec_exp(-x));
}

void cpu_swiglu(const struct exec *exec, real *out, const real *x, int m, int n)
{
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int i = 0; i < m; i++) {
		const real *gate = x + (ptrdiff_t)i * 2 * n, *up = gate + n;
		for (int j = 0; j < n; j += VEC) {
			int c = cpu_min(VEC, n - j);
			vec g = vec_load_first(gate + j, c);
			vec_store_first(out + (ptrdiff_t)i * n + j, g * sigmoid(g) * vec_load_first(up + j, c), c);
		}
	}
}

void cpu_swiglu_backward(
        const struct exec *exec, real *dx, const real *dout, const real *x, int m, int n, int accumulate)
{
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int i = 0; i < m; i++) {
		const real *gate = x + (ptrdiff_t)i * 2 * n, *up = gate + n, *d = dout + (ptrdiff_t)i * n;
		real *dgate = dx + (ptrdiff_t)i * 2 * n, *dup = dgate + n;
		for (int j = 0; j < n; j += VEC) {
			int c = cpu_min(VEC, n - j);
			vec g = vec_load_first(gate + j, c), s = sigmoid(g), dj = vec_load_first(d + j, c);
			vec to_up = dj * g * s, to_gate = dj * vec_load_first(up + j, c) * s * (1 + g * (1 - s));
			if (accumulate) {
				to_up += vec_load_first(dup + j, c);
				to_gate += vec_load_first(dgate + j, c);
			}
			vec_store_first(dup + j, to_up, c);
			vec_store_first(dgate + j, to_gate, c);
		}
	}
}

void cpu_add(const struct exec *exec, real *out, const real *a, const real *b, long n)
{
	FOR_BLOCKS(n, from, to)
	for (long i = from; i < to; i++)
		out[i] = a[i] + b[i];
}

void cpu_copy(
        const struct exec *exec, real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n, int accumulate)
{
	const int n_block = cpu_blocks(m, CPU_ROW_BLOCK);
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && (long)m * n > BLOCK) schedule(static)
	for (int block = 0; block < n_block; block++)
		for (int i = block * CPU_ROW_BLOCK; i < cpu_min(m, (block + 1) * CPU_ROW_BLOCK); i++) {
			real *to = out + i * ldo;
			const real *from = x + i * ldx;
			if (!accumulate)
				memcpy(to, from, (size_t)n * sizeof(real));
			else
				for (int j = 0; j < n; j++)
					to[j] += from[j];
		}
}

void cpu_dropout(const struct exec *exec, real *out, const real *x, long n, double p, uint64_t seed, uint64_t index,
        int accumulate)
{
	const uint32_t threshold = (uint32_t)(p * 4294967296.0); // dropped when the word is below it
	const real scale = (real)(1 / (1 - p));
	FOR_BLOCKS(n, from, to)
	for (long i = from; i < to; i += 4) {
		uint32_t word[4];
		rng_block(word, seed, RNG_DROPOUT, index, (uint32_t)(i / 4));
		for (long j = i; j < i + 4 && j < to; j++) {
			real kept = word[j - i] < threshold ? 0 : x[j] * scale;
			out[j] = accumulate ? out[j] + kept : kept;
		}
	}
}
