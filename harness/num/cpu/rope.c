// SPDX-License-Identifier: MIT
// Rotary positions. The table of angles is made anew at each call: it is small beside the rows that are turned by it.
#include <math.h>

#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/vec.h"

// An angle is the sum of that of its position's multiple of ANCHOR and of the rest, so that few sines are taken. What a
// position gets depends on the position alone, so decoding turns as the whole sequence did.
enum { ANCHOR = 16 };

struct turn {
	double c, s;
};

// Cosine and signed sine per row and pair (halves: n_rotary / 2 numbers of each) or per row and number (neighbours:
// n_rotary, sine of the first of a pair with a minus), so that either layout reads them in step with the row.
static void fill_table(real *cosine, real *sine, const struct rope *r, int set, int T)
{
	struct turn rest[ANCHOR], anchor = {0, 0};
	const int pairs = r->n_rotary / 2, width = r->halves ? pairs : 2 * pairs;
	for (int i = 0; i < pairs; i++) {
		const double frequency = (r->backwards ? -1 : 1) * rope_plane_frequency(r, set, i);
		unsigned known = 0; // of rest, one bit each
		for (int t = 0; t < T; t++) {
			const int p = r->first + t, a = p % ANCHOR;
			if (!(known >> a & 1)) {
				rest[a] = (struct turn){cos(a * frequency), sin(a * frequency)};
				known |= 1u << a;
			}
			if (t == 0 || a == 0)
				anchor = (struct turn){cos((p - a) * frequency), sin((p - a) * frequency)};
			const double c = anchor.c * rest[a].c - anchor.s * rest[a].s;
			const double s = anchor.s * rest[a].c + anchor.c * rest[a].s;
			const ptrdiff_t at = (ptrdiff_t)t * width + (r->halves ? i : 2 * i);
			cosine[at] = (real)c;
			sine[at] = (real)(r->halves ? s : -s);
			if (!r->halves)
				cosine[at + 1] = (real)c, sine[at + 1] = (real)s;
		}
	}
}

// (u, v) = (a, b) turned; u and v may be a and b.
static inline void turn_halves(
        real *u, real *v, const real *a, const real *b, const real *c, const real *s, int n, int accumulate)
{
	int i = 0;
	for (; i + VEC <= n; i += VEC) {
		const vec x = vec_load(a + i), y = vec_load(b + i), ci = vec_load(c + i), si = vec_load(s + i);
		const vec p = x * ci - y * si, q = x * si + y * ci;
		vec_store(u + i, accumulate ? vec_load(u + i) + p : p);
		vec_store(v + i, accumulate ? vec_load(v + i) + q : q);
	}
	for (; i < n; i++) {
		const real x = a[i], y = b[i], p = x * c[i] - y * s[i], q = x * s[i] + y * c[i];
		u[i] = accumulate ? u[i] + p : p;
		v[i] = accumulate ? v[i] + q : q;
	}
}

static inline void turn_neighbours(real *u, const real *a, const real *c, const real *s, int n, int accumulate)
{
#ifdef KVLAB_DOUBLE
	const vec_mask swap = {1, 0, 3, 2};
#else
	const vec_mask swap = {1, 0, 3, 2, 5, 4, 7, 6};
#endif
	int i = 0;
	for (; i + VEC <= n; i += VEC) {
		const vec x = vec_load(a + i), p = x * vec_load(c + i) + __builtin_shuffle(x, swap) * vec_load(s + i);
		vec_store(u + i, accumulate ? vec_load(u + i) + p : p);
	}
	for (; i < n; i += 2) {
		const real x = a[i], y = a[i + 1];
		const real p = x * c[i] + y * s[i], q = y * c[i + 1] + x * s[i + 1];
		u[i] = accumulate ? u[i] + p : p;
		u[i + 1] = accumulate ? u[i + 1] + q : q;
	}
}

// Numbers from..to-1 of a head, which stay as they are.
static inline void keep(real *u, const real *a, int from, int to, int accumulate)
{
	for (int j = from; j < to; j++)
		u[j] = accumulate ? u[j] + a[j] : a[j];
}

void cpu_rope(
        const struct exec *exec, struct strided_out out, struct strided x, int B, int T, int C, const struct rope *r)
{
	const int pairs = r->n_rotary / 2, width = r->halves ? pairs : 2 * pairs, d = C / r->n_head;
	const int n_set = r->plane ? r->n_plane_set : 1;
	const size_t one = (size_t)T * (size_t)width, n = (size_t)n_set * one;
	struct arena_mark mark = arena_mark(exec->scratch);
	real *cosine = arena_alloc(exec->scratch, 2 * n * sizeof(real)), *sine = cosine + n;
	for (int set = 0; set < n_set; set++)
		fill_table(cosine + (size_t)set * one, sine + (size_t)set * one, r, set, T);
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1) schedule(static)
	for (int row = 0; row < B * T; row++) {
		const int b = row / T, t = row % T;
		for (int h = 0; h < r->n_head; h++) {
			const size_t at = (size_t)(h * n_set / r->n_head) * one + (size_t)t * (size_t)width;
			const real *c = cosine + at, *s = sine + at;
			const real *a = x.x + b * x.b_stride + t * x.t_stride + h * d;
			real *u = out.x + b * out.b_stride + t * out.t_stride + h * d;
			keep(u, a, 0, r->from, out.accumulate);
			keep(u, a, r->from + r->n_rotary, d, out.accumulate);
			a += r->from, u += r->from;
			if (r->halves)
				turn_halves(u, u + pairs, a, a + pairs, c, s, pairs, out.accumulate);
			else
				turn_neighbours(u, a, c, s, r->n_rotary, out.accumulate);
		}
	}
	arena_rewind(exec->scratch, mark);
}
