// SPDX-License-Identifier: MIT
#include "tests/num/apart.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "harness/base/err.h"

// Chunks that arenas have taken.
enum { CHUNKS = 512 };
static struct {
	void *at;
	size_t bytes;
} chunk[CHUNKS];
static int n_chunk, is_open;
static long n_call;

static void protect(int i)
{
	if (chunk[i].at && mprotect(chunk[i].at, chunk[i].bytes, is_open ? PROT_READ | PROT_WRITE : PROT_NONE))
		BUG("mprotect");
}

static void *take(size_t bytes)
{
	int i = 0;
	while (i < n_chunk && chunk[i].at)
		i++;
	if (i == CHUNKS)
		BUG("more than %d chunks", CHUNKS);
	chunk[i].bytes = bytes;
	chunk[i].at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (chunk[i].at == MAP_FAILED)
		die_no_memory(bytes);
	n_chunk = i == n_chunk ? n_chunk + 1 : n_chunk;
	protect(i);
	return chunk[i].at;
}

static void give(void *at, size_t bytes)
{
	for (int i = 0; i < n_chunk; i++)
		if (chunk[i].at == at) {
			munmap(at, bytes);
			chunk[i].at = NULL;
			return;
		}
	BUG("memory that was not taken");
}

static double available(void)
{
	return 1e9;
}

void apart_open(void)
{
	is_open = 1;
	n_call++;
	for (int i = 0; i < n_chunk; i++)
		protect(i);
}

void apart_close(void)
{
	is_open = 0;
	for (int i = 0; i < n_chunk; i++)
		protect(i);
}

long apart_calls(void)
{
	return n_call;
}

#define SLOT(name, parameters, ...)                                                                                    \
	static void name parameters                                                                                    \
	{                                                                                                              \
		apart_open();                                                                                          \
		backend_cpu.name(__VA_ARGS__);                                                                         \
		apart_close();                                                                                         \
	}
SLOT(upload, (const struct exec *e, void *to, const void *from, size_t bytes), e, to, from, bytes)
SLOT(download, (const struct exec *e, void *to, const void *from, size_t bytes), e, to, from, bytes)
SLOT(move, (const struct exec *e, void *to, const void *from, size_t bytes), e, to, from, bytes)
SLOT(clear, (const struct exec *e, void *at, size_t bytes), e, at, bytes)
SLOT(gemm, (const struct exec *e, const struct gemm *g), e, g)
SLOT(column_sum, (const struct exec *e, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate), e, out,
        x, ldx, m, n, accumulate)
SLOT(embed,
        (const struct exec *e, real *out, const real *table, const real *position, const int *tokens, int B, int T,
                int C, int first),
        e, out, table, position, tokens, B, T, C, first)
SLOT(embed_stored,
        (const struct exec *e, real *out, const struct stored *table, const real *position, const int *tokens, int B,
                int T, int C, int first),
        e, out, table, position, tokens, B, T, C, first)
SLOT(embed_backward,
        (const struct exec *e, real *dtable, int n_vocab, int accumulate_table, real *dposition, int n_ctx,
                int accumulate_position, const real *dout, const int *tokens, int B, int T, int C, int first),
        e, dtable, n_vocab, accumulate_table, dposition, n_ctx, accumulate_position, dout, tokens, B, T, C, first)
SLOT(norm,
        (const struct exec *e, real *out, real *stat, const real *x, const real *gain, const real *bias, int m, int n,
                double eps, int is_rms),
        e, out, stat, x, gain, bias, m, n, eps, is_rms)
SLOT(norm_backward,
        (const struct exec *e, real *dx, int ax, real *dgain, int ag, real *dbias, int ab, const real *dout,
                const real *x, const real *stat, const real *gain, int m, int n, int is_rms),
        e, dx, ax, dgain, ag, dbias, ab, dout, x, stat, gain, m, n, is_rms)
SLOT(unary, (const struct exec *e, real *out, real *slope, const real *x, long n, enum unary kind), e, out, slope, x, n,
        kind)
SLOT(unary_backward, (const struct exec *e, real *dx, const real *dout, const real *slope, long n, int accumulate), e,
        dx, dout, slope, n, accumulate)
SLOT(swiglu, (const struct exec *e, real *out, const real *x, int m, int n), e, out, x, m, n)
SLOT(swiglu_backward, (const struct exec *e, real *dx, const real *dout, const real *x, int m, int n, int accumulate),
        e, dx, dout, x, m, n, accumulate)
SLOT(add, (const struct exec *e, real *out, const real *a, const real *b, long n), e, out, a, b, n)
SLOT(copy, (const struct exec *e, real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n, int accumulate),
        e, out, ldo, x, ldx, m, n, accumulate)
SLOT(dropout,
        (const struct exec *e, real *out, const real *x, long n, double p, uint64_t seed, uint64_t index,
                int accumulate),
        e, out, x, n, p, seed, index, accumulate)
SLOT(copy_columns,
        (const struct exec *e, struct strided_out out, struct strided x, int B, int T, const struct column_run *run,
                int n_run),
        e, out, x, B, T, run, n_run)
SLOT(scale_heads,
        (const struct exec *e, struct strided_out out, struct strided x, int B, int T, int C, int n_head,
                const real *gain, ptrdiff_t stride),
        e, out, x, B, T, C, n_head, gain, stride)
SLOT(dot_heads, (const struct exec *e, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head),
        e, out, a, b, B, T, C, n_head)
SLOT(rope, (const struct exec *e, struct strided_out out, struct strided x, int B, int T, int C, const struct rope *r),
        e, out, x, B, T, C, r)
SLOT(attention,
        (const struct exec *e, struct strided_out out, real *lse, struct strided q, struct strided k, struct strided v,
                const struct attention_shape *s),
        e, out, lse, q, k, v, s)
SLOT(attention_backward,
        (const struct exec *e, struct strided_out dq, struct strided_out dk, struct strided_out dv, struct strided dout,
                struct strided out, const real *lse, struct strided q, struct strided k, struct strided v,
                const struct attention_shape *s),
        e, dq, dk, dv, dout, out, lse, q, k, v, s)
SLOT(store_rows, (const struct exec *e, const struct stored *to, struct strided x, int B, int T, int first), e, to, x,
        B, T, first)
SLOT(read_rows,
        (const struct exec *e, struct strided_out out, const struct stored *from, int B, int position, int n, int S,
                int at, int d),
        e, out, from, B, position, n, S, at, d)
SLOT(map_gain, (const struct exec *e, real *gain, const real *w, ptrdiff_t ldw, int n_map, int m), e, gain, w, ldw,
        n_map, m)
SLOT(map_bias,
        (const struct exec *e, real *bias, ptrdiff_t ldbias, const real *w, ptrdiff_t ldw, const real *b, int n_map,
                int m, int S, int cut),
        e, bias, ldbias, w, ldw, b, n_map, m, S, cut)
SLOT(map_bias_backward,
        (const struct exec *e, real *dw, ptrdiff_t ldw, const real *dbias, ptrdiff_t ldbias, int n_map, int m, int S,
                int cut),
        e, dw, ldw, dbias, ldbias, n_map, m, S, cut)
SLOT(cross_entropy,
        (const struct exec *e, double *loss, int *hit, real *dlogits, const real *logits, const int *targets, int m,
                int n, double grad_scale),
        e, loss, hit, dlogits, logits, targets, m, n, grad_scale)
SLOT(adam, (const struct exec *e, real *x, real *m, real *v, const real *dx, long n, const struct adam *a), e, x, m, v,
        dx, n, a)
#ifndef KVLAB_DOUBLE
SLOT(attention_stored,
        (const struct exec *e, struct strided_out out, struct strided q, const struct stored *k, const struct stored *v,
                const struct attention_shape *s),
        e, out, q, k, v, s)
SLOT(linear_stored, (const struct exec *e, const struct linear_stored *l), e, l)
#endif

static double sum_squares(const struct exec *e, const real *x, long n)
{
	apart_open();
	const double sum = backend_cpu.sum_squares(e, x, n);
	apart_close();
	return sum;
}

static const char *library(void)
{
	return "the CPU's, in memory apart";
}

static const struct memory_source source = {take, give, available};
const struct backend backend_apart = {
        .name = "apart",
        .memory = &source,
        .few_rows = 32,
        .library = library,
        .sum_squares = sum_squares,
#ifndef KVLAB_DOUBLE
        .attention_stored = attention_stored,
        .linear_stored = linear_stored,
#endif
        .upload = upload,
        .download = download,
        .move = move,
        .clear = clear,
        .gemm = gemm,
        .column_sum = column_sum,
        .embed = embed,
        .embed_stored = embed_stored,
        .embed_backward = embed_backward,
        .norm = norm,
        .norm_backward = norm_backward,
        .unary = unary,
        .unary_backward = unary_backward,
        .swiglu = swiglu,
        .swiglu_backward = swiglu_backward,
        .add = add,
        .copy = copy,
        .dropout = dropout,
        .copy_columns = copy_columns,
        .scale_heads = scale_heads,
        .dot_heads = dot_heads,
        .rope = rope,
        .attention = attention,
        .attention_backward = attention_backward,
        .store_rows = store_rows,
        .read_rows = read_rows,
        .map_gain = map_gain,
        .map_bias = map_bias,
        .map_bias_backward = map_bias_backward,
        .cross_entropy = cross_entropy,
        .adam = adam,
};
