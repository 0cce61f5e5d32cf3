// SPDX-License-Identifier: MIT
#include "harness/bench/profile.h"

#include <string.h>

#include "harness/base/err.h"
#include "harness/base/progress.h"

const char *const profile_name[PROFILE_KINDS] = {"gemm forward", "gemm backward", "attention forward",
        "attention backward", "norm", "gelu", "residual", "bias gradient", "embed", "loss", "optimiser", "other"};

static struct profile *profile;

double attention_flops(const struct attention_shape *s, int is_backward)
{
	double pairs = 0;
	for (int t = 0; t < s->T; t++)
		pairs += s->causal && s->q_position + t + 1 < s->S ? s->q_position + t + 1 : s->S;
	pairs *= (double)s->B * s->n_head;
	return pairs * (is_backward ? 6.0 * s->d_qk + 4.0 * s->d_v : 2.0 * s->d_qk + 2.0 * s->d_v);
}

static void note_product(const struct gemm *g, double spent_s)
{
	int i = 0;
	for (; i < profile->n_product; i++) {
		const struct profile_product *p = &profile->product[i];
		if (p->form == g->form && p->m == g->m && p->n == g->n && p->k == g->k)
			break;
	}
	if (i == PROFILE_PRODUCTS)
		BUG("bench: more than %d product shapes in one step", PROFILE_PRODUCTS);
	if (i == profile->n_product)
		profile->product[profile->n_product++] = (struct profile_product){g->form, g->m, g->n, g->k, 0, 0};
	profile->product[i].calls++;
	profile->product[i].spent_s += spent_s;
}

// A slot's wrapper: the same parameters, the time added to its kind.
#define TIMED(kind, slot, parameters, ...)                                                                             \
	static void slot parameters                                                                                    \
	{                                                                                                              \
		const double start = clock_s();                                                                        \
		backend_cpu.slot(__VA_ARGS__);                                                                         \
		profile->spent_s[kind] += clock_s() - start;                                                           \
	}

TIMED(PROFILE_COLUMN_SUM, column_sum,
        (const struct exec *e, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate), e, out, x, ldx,
        m, n, accumulate)
TIMED(PROFILE_EMBED, embed,
        (const struct exec *e, real *out, const real *table, const real *position, const int *tokens, int B, int T,
                int C, int first),
        e, out, table, position, tokens, B, T, C, first)
TIMED(PROFILE_EMBED, embed_backward,
        (const struct exec *e, real *dtable, int n_vocab, int at, real *dposition, int n_ctx, int ap, const real *dout,
                const int *tokens, int B, int T, int C, int first),
        e, dtable, n_vocab, at, dposition, n_ctx, ap, dout, tokens, B, T, C, first)
TIMED(PROFILE_NORM, norm,
        (const struct exec *e, real *out, real *stat, const real *x, const real *gain, const real *bias, int m, int n,
                double eps, int is_rms),
        e, out, stat, x, gain, bias, m, n, eps, is_rms)
TIMED(PROFILE_NORM, norm_backward,
        (const struct exec *e, real *dx, int ax, real *dgain, int ag, real *dbias, int ab, const real *dout,
                const real *x, const real *stat, const real *gain, int m, int n, int is_rms),
        e, dx, ax, dgain, ag, dbias, ab, dout, x, stat, gain, m, n, is_rms)
TIMED(PROFILE_UNARY, unary, (const struct exec *e, real *out, real *slope, const real *x, long n, enum unary kind), e,
        out, slope, x, n, kind)
TIMED(PROFILE_UNARY, unary_backward,
        (const struct exec *e, real *dx, const real *dout, const real *slope, long n, int accumulate), e, dx, dout,
        slope, n, accumulate)
TIMED(PROFILE_OTHER, swiglu, (const struct exec *e, real *out, const real *x, int m, int n), e, out, x, m, n)
TIMED(PROFILE_OTHER, swiglu_backward,
        (const struct exec *e, real *dx, const real *dout, const real *x, int m, int n, int accumulate), e, dx, dout, x,
        m, n, accumulate)
TIMED(PROFILE_RESIDUAL, add, (const struct exec *e, real *out, const real *a, const real *b, long n), e, out, a, b, n)
TIMED(PROFILE_RESIDUAL, copy,
        (const struct exec *e, real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n, int accumulate), e,
        out, ldo, x, ldx, m, n, accumulate)
TIMED(PROFILE_OTHER, dropout,
        (const struct exec *e, real *out, const real *x, long n, double p, uint64_t seed, uint64_t index,
                int accumulate),
        e, out, x, n, p, seed, index, accumulate)
TIMED(PROFILE_OTHER, copy_columns,
        (const struct exec *e, struct strided_out out, struct strided x, int B, int T, const struct column_run *run,
                int n_run),
        e, out, x, B, T, run, n_run)
TIMED(PROFILE_OTHER, scale_heads,
        (const struct exec *e, struct strided_out out, struct strided x, int B, int T, int C, int n_head,
                const real *gain, ptrdiff_t gain_stride),
        e, out, x, B, T, C, n_head, gain, gain_stride)
TIMED(PROFILE_OTHER, dot_heads,
        (const struct exec *e, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head), e, out,
        a, b, B, T, C, n_head)
TIMED(PROFILE_OTHER, rope,
        (const struct exec *e, struct strided_out out, struct strided x, int B, int T, int C, const struct rope *r), e,
        out, x, B, T, C, r)
TIMED(PROFILE_LOSS, cross_entropy,
        (const struct exec *e, double *loss, int *hit, real *dlogits, const real *logits, const int *targets, int m,
                int n, double grad_scale),
        e, loss, hit, dlogits, logits, targets, m, n, grad_scale)
TIMED(PROFILE_OPTIMISER, adam,
        (const struct exec *e, real *x, real *m, real *v, const real *dx, long n, const struct adam *a), e, x, m, v, dx,
        n, a)

static double sum_squares(const struct exec *e, const real *x, long n)
{
	const double start = clock_s(), sum = backend_cpu.sum_squares(e, x, n);
	profile->spent_s[PROFILE_OPTIMISER] += clock_s() - start;
	return sum;
}

static void gemm(const struct exec *e, const struct gemm *g)
{
	const double start = clock_s();
	backend_cpu.gemm(e, g);
	const double spent_s = clock_s() - start;
	profile->spent_s[g->form == GEMM_NT ? PROFILE_GEMM_FORWARD : PROFILE_GEMM_BACKWARD] += spent_s;
	note_product(g, spent_s);
}

static void attention(const struct exec *e, struct strided_out out, real *lse, struct strided q, struct strided k,
        struct strided v, const struct attention_shape *shape)
{
	const double start = clock_s();
	backend_cpu.attention(e, out, lse, q, k, v, shape);
	profile->spent_s[PROFILE_ATTENTION_FORWARD] += clock_s() - start;
	profile->attention_flops += attention_flops(shape, 0);
}

static void attention_backward(const struct exec *e, struct strided_out dq, struct strided_out dk,
        struct strided_out dv, struct strided dout, struct strided out, const real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *shape)
{
	const double start = clock_s();
	backend_cpu.attention_backward(e, dq, dk, dv, dout, out, lse, q, k, v, shape);
	profile->spent_s[PROFILE_ATTENTION_BACKWARD] += clock_s() - start;
	profile->attention_flops += attention_flops(shape, 1);
}

static void attention_stored(const struct exec *e, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *shape)
{
	const double start = clock_s();
	backend_cpu.attention_stored(e, out, q, k, v, shape);
	profile->spent_s[PROFILE_ATTENTION_FORWARD] += clock_s() - start;
	profile->attention_flops += attention_flops(shape, 0);
}

static void linear_stored(const struct exec *e, const struct linear_stored *l)
{
	const double start = clock_s();
	backend_cpu.linear_stored(e, l);
	profile->spent_s[PROFILE_GEMM_FORWARD] += clock_s() - start;
}

const struct backend *profile_start(struct profile *to)
{
	static struct backend timed;
	// What has no wrapper (library) stays the CPU's own.
	timed = backend_cpu;
	timed.gemm = gemm;
	timed.column_sum = column_sum;
	timed.embed = embed;
	timed.embed_backward = embed_backward;
	timed.norm = norm;
	timed.norm_backward = norm_backward;
	timed.unary = unary;
	timed.unary_backward = unary_backward;
	timed.swiglu = swiglu;
	timed.swiglu_backward = swiglu_backward;
	timed.add = add;
	timed.copy = copy;
	timed.dropout = dropout;
	timed.copy_columns = copy_columns;
	timed.scale_heads = scale_heads;
	timed.dot_heads = dot_heads;
	timed.rope = rope;
	timed.attention = attention;
	timed.attention_backward = attention_backward;
	timed.attention_stored = attention_stored;
	timed.linear_stored = linear_stored;
	timed.cross_entropy = cross_entropy;
	timed.sum_squares = sum_squares;
	timed.adam = adam;
	memset(to, 0, sizeof(*to));
	profile = to;
	return &timed;
}
