// SPDX-License-Identifier: MIT
// The table of kernels that ops are made of: raw pointers and sizes, no tensors, no tape. The CPU table is complete
// and is the reference; another backend overrides what it has and refuses the rest before a run starts.
//
// Memory. A backend works on memory of its own (`memory` below; the CPU's is the process's). Every `real *`, every row
// of `stored` (at, tail) and exec->scratch lie there, and nobody but its slots reads or writes them: what the host
// wants to give or see goes through upload and download. All else that a slot is given lies with the host: shapes,
// tokens, targets, column runs, and the results of losses (`double *`, `int *`). Tensors' values and gradients come
// from tape->values, which is an arena of that memory; tape->step keeps what the host knows of them.
//
// Rules for every slot: outputs first; matrices are row-major with a leading dimension (elements between rows);
// `accumulate` 0 writes the output without reading it (it may hold NaN), 1 adds to it; results have the same bits
// for any n_thread; scratch memory is taken from and given back to exec->scratch.
#ifndef KVLAB_NUM_BACKEND_H
#define KVLAB_NUM_BACKEND_H
#include <stddef.h>
#include <stdint.h>

#include "harness/base/arena.h"
#include "harness/base/err.h"
#include "harness/num/real.h"
#ifdef __cplusplus
extern "C" {
#endif

// Part of every point's key: raise it when a change of kernels or ops changes the bits of results.
enum { KERNELS_VERSION = 1 };

struct exec {
	int n_thread;
	struct arena *scratch;
};

// C (m, n) = [C +] A B + bias. Forms name which operand is transposed in memory:
//   NN: A (m, k), B (k, n)      NT: A (m, k), B (n, k)      TN: A (k, m), B (k, n)
enum gemm_form { GEMM_NN, GEMM_NT, GEMM_TN };
struct gemm {
	enum gemm_form form;
	int m, n, k, accumulate;
	const real *a, *b, *bias; // bias (n) is added to every row; may be NULL; not with accumulate
	real *c;
	ptrdiff_t lda, ldb, ldc;
};

// Softmax attention of one call. Query head h reads key head h * n_k_head / n_head, value head likewise.
// q (B, T, n_head * d_qk), k (B, S, n_k_head * d_qk), v (B, S, n_v_head * d_v), out (B, T, n_head * d_v).
// When causal, query row i sees positions 0..q_position + i.
struct attention_shape {
	int B, T, S;
	int n_head, n_k_head, n_v_head, d_qk, d_v;
	int causal, q_position;
	double scale;
	// Optional, added to every scaled score: key_bias[h * key_bias_stride + j] of query head h at position j.
	// Stride 0: all heads share one row. In backward its gradient is added to d_key_bias, laid out alike; may be
	// NULL.
	const real *key_bias;
	real *d_key_bias;
	ptrdiff_t key_bias_stride;
};

// How a model that was trained on original_ctx positions turns more of them than it has seen. With f the frequency of a
// pair and w = 2 pi / f its wavelength in positions:
//   linear  f / factor
//   llama3  f where w < original_ctx / high, f / factor where w > original_ctx / low, and between them a mixture that
//           goes with original_ctx / w from one to the other (Llama 3.1 and later)
enum rope_scaling_kind { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_LLAMA3 };
struct rope_scaling {
	int kind; // enum rope_scaling_kind
	double factor, low, high;
	int original_ctx;
};

// Rotary positions: in each of n_head heads of a row, n_rotary numbers from `from` on are turned in pairs. Pair i of
// position p turns by p * base^(-2i / n_ladder) (as `scaling` changes it), i < n_rotary / 2; the rest of the row is
// copied. With planes the frequencies are chosen one by one: the heads share n_plane_set sets of n_rotary / 2 numbers
// `plane` in equal parts, and pair i of a head has the frequency of pair (i + plane[i] of its set) modulo n_ladder / 2,
// plane rounded to a whole number: zeros are the ladder's first frequencies. A plane that is NaN turns to NaN.
struct rope {
	int n_head;
	int from, n_rotary; // first number turned in a head, and how many: even
	int n_ladder;       // width whose frequencies are used: n_rotary for a ladder of its own
	double base;
	int first;     // position of row 0
	int halves;    // pairs (i, i + n_rotary / 2); otherwise (2i, 2i + 1)
	int backwards; // by the opposite angle
	struct rope_scaling scaling;
	const real *plane; // (n_plane_set, n_rotary / 2); NULL: pair i has frequency i
	int n_plane_set;
};
// Radians per position of pair i, without regard to `backwards` and `plane`.
double rope_frequency(const struct rope *rope, int i);
// The same of pair i of a head of that set of planes; without planes set is 0.
double rope_plane_frequency(const struct rope *rope, int set, int i);
// In every row, n numbers from column `from` on go to column `to` and after.
struct column_run {
	int to, from, n;
};
// Products of few rows with weights as they are kept (stored.h), n_part of them side by side: part h, with matrix
// h * n_matrix / n_part of those stacked in w, is
//   plain       y (m, n) = x (m, k) w^T + bias,  w (n, k)
//   transposed  y (m, n) = x (m, k) w,           w (k, n)
struct stored;
struct linear_stored {
	int n_part, n_matrix, m, n, k, is_transposed;
	const struct stored *w;
	const real *x, *bias;  // bias (n_part * n) or NULL; plain only
	ptrdiff_t ldx, x_part; // to the next row, to the next part
	real *y;
	ptrdiff_t ldy, y_part;
};
struct strided { // values of a (B, rows, C) operand
	const real *x;
	ptrdiff_t b_stride, t_stride;
};
struct strided_out {
	real *x;
	ptrdiff_t b_stride, t_stride;
	int accumulate;
};

struct adam {
	double lr, beta1, beta2, eps, weight_decay;
	long step;         // 1 for the first
	double grad_scale; // of clipping
};

enum unary { UNARY_GELU, UNARY_RELU, UNARY_GELU_NEW };

// Of the 2D position map (op.h): which of its m numbers are the query's and which the key's.
enum map_cut {
	MAP_CUT_PE,    // P_ij = the first m numbers of (e(i), e(j)), e of 2 ceil(m / 4) numbers: papers C and D
	MAP_CUT_HALVES // m / 2 numbers of e(i) and the rest of e(j): the later scripts of paper C (C-repro)
};

struct backend;
struct graph;
// What differs from one step of training to the next.
struct graph_training {
	const int *tokens, *targets; // of embed, and of all calls of cross_entropy, one behind the other
	int n_token, n_target;
	double grad_scale;      // cross_entropy's
	uint64_t dropout_shift; // is added to dropout's index
	double lr, clip;        // of adam, and the norm above which gradients are scaled down to it (0: none)
	long step;              // adam's
	double *loss;           // (n_target), and
	int *hit;               // its results: there when play_training returns
	double *norm;           // of what sum_squares was given, or 0; may be NULL
};
// A step that was taken down once and is played again (CUDA graphs): nothing but the first tokens and positions differ.
struct graph_slots {
	// From now on slots take down what they are asked for and do not run it.
	void (*begin)(const struct exec *);
	// NULL, with the sentence, where something asked for cannot be taken down.
	struct graph *(*end)(const struct exec *, struct err *err);
	// Runs it with these tokens in place of those that embed was given, every position `shift` higher than when it
	// was taken down: embed's and rope's first, attention's S and q_position, store_rows' first, map_bias's S. The
	// cache has room.
	void (*play)(const struct exec *, struct graph *, const int *tokens, int n_token, int shift);
	void (*release)(struct graph *);
	// A recorded step of training (embed, forward, cross_entropy, backward, embed_backward with embed's own tokens,
	// then or not sum_squares of the gradient and adam) at its own positions. While it is taken down cross_entropy
	// and sum_squares give zeros. What the host cannot decide then is decided there: adam scales gradients as clip
	// and the norm have it, and does nothing where a loss or the norm is not finite. NULL: there is none.
	void (*play_training)(const struct exec *, struct graph *, const struct graph_training *);
};

// Processes that train one model together, each a rank with a device of its own.
struct rank_slots {
	int rank, n_rank;
	// x has n_rank parts of n numbers. reduce: this rank's part becomes its sum over all ranks, added in the same
	// order every time; the others are undefined. gather: all ranks get each rank's part.
	void (*reduce)(const struct exec *, real *x, long n);
	void (*gather)(const struct exec *, real *x, long n);
	// x (n), the host's: the sum over ranks, in their order.
	void (*sum)(const struct exec *, double *x, int n);
};

struct backend {
	const char *name;
	const struct memory_source *memory; // base/arena.h; NULL: the process's own
	// Copies of bytes: from the host's memory, to it (all slots called before have run by then), and within its own
	// (they may overlap); and zeros. NULL memory: all four are the C library's.
	void (*upload)(const struct exec *, void *to, const void *from, size_t bytes);
	void (*download)(const struct exec *, void *to, const void *from, size_t bytes);
	void (*move)(const struct exec *, void *to, const void *from, size_t bytes);
	void (*clear)(const struct exec *, void *at, size_t bytes);
	const struct graph_slots *graph; // NULL: steps are run slot by slot
	const struct rank_slots *ranks;  // NULL: this process trains alone
	int few_rows;                    // rows of a product up to which linear_stored serves it (INT_MAX: any)
	// What its results depend on beside our sources: library, version, kernels chosen ("OpenBLAS 0.3.21 Zen").
	const char *(*library)(void);
	void (*gemm)(const struct exec *, const struct gemm *);
	// out (n) = [out +] sum over rows of x (m, n).
	void (*column_sum)(const struct exec *, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate);

	// out (B*T, C) = table[token] + position[first + t] (position may be NULL).
	void (*embed)(const struct exec *, real *out, const real *table, const real *position, const int *tokens, int B,
	        int T, int C, int first);
	// The same with a table whose rows lie in another type.
	void (*embed_stored)(const struct exec *, real *out, const struct stored *table, const real *position,
	        const int *tokens, int B, int T, int C, int first);
	// dtable (n_vocab, C), dposition (n_ctx, C); either may be NULL.
	void (*embed_backward)(const struct exec *, real *dtable, int n_vocab, int accumulate_table, real *dposition,
	        int n_ctx, int accumulate_position, const real *dout, const int *tokens, int B, int T, int C,
	        int first);

	// stat keeps (mean, 1/deviation) per row for backward: (m, 2); NULL when not recording. bias NULL with
	// is_rms: out = x / rms(x) * gain.
	void (*norm)(const struct exec *, real *out, real *stat, const real *x, const real *gain, const real *bias,
	        int m, int n, double eps, int is_rms);
	void (*norm_backward)(const struct exec *, real *dx, int accumulate_x, real *dgain, int accumulate_gain,
	        real *dbias, int accumulate_bias, const real *dout, const real *x, const real *stat, const real *gain,
	        int m, int n, int is_rms);

	// slope (n), if not NULL, keeps the derivative for backward: GELU's comes nearly free with its value.
	void (*unary)(const struct exec *, real *out, real *slope, const real *x, long n, enum unary kind);
	// dx = [dx +] dout * slope, all (n).
	void (*unary_backward)(
	        const struct exec *, real *dx, const real *dout, const real *slope, long n, int accumulate);
	// x (m, 2n) = (gate, up); out (m, n) = gate * sigmoid(gate) * up.
	void (*swiglu)(const struct exec *, real *out, const real *x, int m, int n);
	void (*swiglu_backward)(
	        const struct exec *, real *dx, const real *dout, const real *x, int m, int n, int accumulate);
	// out = a + b, (m, n), rows strided.
	void (*add)(const struct exec *, real *out, const real *a, const real *b, long n);
	// out (m, n) = [out +] x (m, n).
	void (*copy)(const struct exec *, real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n,
	        int accumulate);
	// out = [out +] x * mask / (1 - p), the mask drawn per element from (seed, step, site).
	void (*dropout)(const struct exec *, real *out, const real *x, long n, double p, uint64_t seed, uint64_t index,
	        int accumulate);
	// Rows (B, T) of out = [out +] rows of x, run by run in their order: with accumulate, several may meet in one
	// column.
	void (*copy_columns)(const struct exec *, struct strided_out out, struct strided x, int B, int T,
	        const struct column_run *run, int n_run);
	// out (B, T, C) = [out +] x (B, T, C), head h of n_head times gain[h * gain_stride].
	void (*scale_heads)(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C,
	        int n_head, const real *gain, ptrdiff_t gain_stride);
	// out[h] = sum over the rows of a and b (B, T, C) of the dot product of their heads h.
	void (*dot_heads)(
	        const struct exec *, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head);
	// out (B, T, C) = [out +] x (B, T, C) with its heads of C / n_head numbers turned. out may be x.
	void (*rope)(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C,
	        const struct rope *);

	// lse (B, n_head, T): log of the sum of exponentials, for backward; may be NULL.
	void (*attention)(const struct exec *, struct strided_out out, real *lse, struct strided q, struct strided k,
	        struct strided v, const struct attention_shape *);
	void (*attention_backward)(const struct exec *, struct strided_out dq, struct strided_out dk,
	        struct strided_out dv, struct strided dout, struct strided out, const real *lse, struct strided q,
	        struct strided k, struct strided v, const struct attention_shape *);

	// The two below are for few query rows and may be NULL: ops then take copies in reals and the slots above.
	// Rows of k and v are read once, as they lie. n_k_head = n_v_head; out does not accumulate.
	void (*attention_stored)(const struct exec *, struct strided_out out, struct strided q, const struct stored *k,
	        const struct stored *v, const struct attention_shape *);
	// A number of y has the same bits whatever m is.
	void (*linear_stored)(const struct exec *, const struct linear_stored *);

	// Writes the new rows x (B, T, to->columns) at positions first..first+T-1 of the S that `to` has room for, in
	// its type; with scales per channel to the tail, and a block of DTYPE_BLOCK positions that is full then to its
	// unit.
	void (*store_rows)(const struct exec *, const struct stored *to, struct strided x, int B, int T, int first);
	// out (B, n, d) = [out +] rows position..position+n-1 of S, numbers `at`..at+d-1 of the tensor's. Nothing is
	// turned.
	void (*read_rows)(const struct exec *, struct strided_out out, const struct stored *from, int B, int position,
	        int n, int S, int at, int d);
	// The 2D map (op.h) of w (n_map, m): gain (n_map) = the sum of its row; bias (n_map, S) = b + what w's numbers
	// for the key's position make of it. Backward adds bias's gradient times E to these numbers of dw
	// (position_map.h).
	void (*map_gain)(const struct exec *, real *gain, const real *w, ptrdiff_t ldw, int n_map, int m);
	void (*map_bias)(const struct exec *, real *bias, ptrdiff_t ldbias, const real *w, ptrdiff_t ldw, const real *b,
	        int n_map, int m, int S, int cut); // enum map_cut
	void (*map_bias_backward)(const struct exec *, real *dw, ptrdiff_t ldw, const real *dbias, ptrdiff_t ldbias,
	        int n_map, int m, int S, int cut);

	// Per row of logits (m, n): loss[i] = -log softmax(target), hit[i] = argmax is target; targets below 0 are left
	// out. dlogits (m, n), if not NULL, = (softmax - one hot) * grad_scale, 0 in rows left out; it may be logits.
	void (*cross_entropy)(const struct exec *, double *loss, int *hit, real *dlogits, const real *logits,
	        const int *targets, int m, int n, double grad_scale);

	// Sum of squares in a fixed order.
	double (*sum_squares)(const struct exec *, const real *x, long n);
	// One Adam(W) step over n numbers; moments m, v.
	void (*adam)(const struct exec *, real *x, real *m, real *v, const real *dx, long n, const struct adam *);

	// For probes of a device's peak: c (n, n) = a b^T of matrices that are bf16 already, by what serves gemm. NULL:
	// there is none.
	void (*probe_product)(const struct exec *, real *c, const void *a, const void *b, int n);
};

extern const struct backend backend_cpu;
// The same with the portable kernels where backend_cpu chooses by processor at run time: for tests.
extern const struct backend backend_cpu_portable;

#ifdef __cplusplus
}
#endif
#endif
