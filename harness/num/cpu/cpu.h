// SPDX-License-Identifier: MIT
// The CPU backend's kernels, one file per concern; backend_cpu.c lists them. Contracts are those of backend.h.
#ifndef KVLAB_NUM_CPU_CPU_H
#define KVLAB_NUM_CPU_CPU_H
#include <omp.h>
#include <string.h>

#include "harness/num/backend.h"

// Rows per block where work is cut for threads or partial sums: part of the results' bits, so it is fixed.
enum { CPU_ROW_BLOCK = 64 };

static inline int cpu_min(int a, int b)
{
	return a < b ? a : b;
}
// Of the parallel region that is running.
static inline int cpu_thread(void)
{
	return omp_get_thread_num();
}
// n zeros from scratch, which need not be the host's to zalloc from.
static inline real *cpu_zeros(struct arena *scratch, size_t n)
{
	return (real *)memset(arena_alloc(scratch, n * sizeof(real)), 0, n * sizeof(real));
}
static inline int cpu_blocks(long n, int block)
{
	return (int)((n + block - 1) / block);
}

const char *cpu_library(void);
void cpu_copy_bytes(const struct exec *, void *to, const void *from, size_t bytes);
void cpu_clear(const struct exec *, void *at, size_t bytes);
void cpu_gemm(const struct exec *, const struct gemm *);
void cpu_column_sum(const struct exec *, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate);

void cpu_embed(const struct exec *, real *out, const real *table, const real *position, const int *tokens, int B, int T,
        int C, int first);
void cpu_embed_stored(const struct exec *, real *out, const struct stored *table, const real *position,
        const int *tokens, int B, int T, int C, int first);
void cpu_embed_backward(const struct exec *, real *dtable, int n_vocab, int accumulate_table, real *dposition,
        int n_ctx, int accumulate_position, const real *dout, const int *tokens, int B, int T, int C, int first);

void cpu_norm(const struct exec *, real *out, real *stat, const real *x, const real *gain, const real *bias, int m,
        int n, double eps, int is_rms);
void cpu_norm_backward(const struct exec *, real *dx, int accumulate_x, real *dgain, int accumulate_gain, real *dbias,
        int accumulate_bias, const real *dout, const real *x, const real *stat, const real *gain, int m, int n,
        int is_rms);

void cpu_unary(const struct exec *, real *out, real *slope, const real *x, long n, enum unary kind);
void cpu_unary_backward(const struct exec *, real *dx, const real *dout, const real *slope, long n, int accumulate);
void cpu_swiglu(const struct exec *, real *out, const real *x, int m, int n);
void cpu_swiglu_backward(const struct exec *, real *dx, const real *dout, const real *x, int m, int n, int accumulate);
void cpu_add(const struct exec *, real *out, const real *a, const real *b, long n);
void cpu_copy(
        const struct exec *, real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n, int accumulate);
void cpu_dropout(
        const struct exec *, real *out, const real *x, long n, double p, uint64_t seed, uint64_t index, int accumulate);
void cpu_copy_columns(const struct exec *, struct strided_out out, struct strided x, int B, int T,
        const struct column_run *run, int n_run);
void cpu_scale_heads(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C, int n_head,
        const real *gain, ptrdiff_t gain_stride);
void cpu_dot_heads(const struct exec *, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head);
void cpu_rope(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C, const struct rope *);

void cpu_attention(const struct exec *, struct strided_out out, real *lse, struct strided q, struct strided k,
        struct strided v, const struct attention_shape *);
void cpu_attention_backward(const struct exec *, struct strided_out dq, struct strided_out dk, struct strided_out dv,
        struct strided dout, struct strided out, const real *lse, struct strided q, struct strided k, struct strided v,
        const struct attention_shape *);

void cpu_attention_stored(const struct exec *, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *);
void cpu_attention_stored_portable(const struct exec *, struct strided_out out, struct strided q,
        const struct stored *k, const struct stored *v, const struct attention_shape *);
void cpu_linear_stored(const struct exec *, const struct linear_stored *);
void cpu_linear_stored_portable(const struct exec *, const struct linear_stored *);

void cpu_store_rows(const struct exec *, const struct stored *to, struct strided x, int B, int T, int first);
void cpu_read_rows(const struct exec *, struct strided_out out, const struct stored *from, int B, int position, int n,
        int S, int at, int d);
// Rows position..position+n-1 of sequence b, of S: d numbers from number `from` of the tensor's on, to x (n, ldx). The
// rows lie within one block of DTYPE_BLOCK positions. Nothing is turned.
void cpu_read_block(const struct stored *s, real *x, ptrdiff_t ldx, int b, int position, int n, int S, int from, int d);
void cpu_map_gain(const struct exec *, real *gain, const real *w, ptrdiff_t ldw, int n_map, int m);
void cpu_map_bias(const struct exec *, real *bias, ptrdiff_t ldbias, const real *w, ptrdiff_t ldw, const real *b,
        int n_map, int m, int S, int cut);
void cpu_map_bias_backward(const struct exec *, real *dw, ptrdiff_t ldw, const real *dbias, ptrdiff_t ldbias, int n_map,
        int m, int S, int cut);

void cpu_cross_entropy(const struct exec *, double *loss, int *hit, real *dlogits, const real *logits,
        const int *targets, int m, int n, double grad_scale);
double cpu_sum_squares(const struct exec *, const real *x, long n);
void cpu_adam(const struct exec *, real *x, real *m, real *v, const real *dx, long n, const struct adam *);

#endif
