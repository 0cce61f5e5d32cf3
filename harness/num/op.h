// SPDX-License-Identifier: MIT
// The ops: each runs at once, pushes one record when recording, and follows shapes and costs when counting. Every op
// is a forward/backward pair in one file op_<name>.c. Shapes are (B, T, C) as in tape.h; results live on the step
// arena until its owner resets it. Arguments that disagree in shape are our own bug and abort.
#ifndef KVLAB_NUM_OP_H
#define KVLAB_NUM_OP_H
#include "harness/num/backend.h"
#include "harness/num/stored.h"
#include "harness/num/tape.h"
#ifdef __cplusplus
extern "C" {
#endif

// y (B, T, out) = x (B, T, in) w^T + b;  w (out, in), b (out) or NULL.
struct tensor *op_linear(struct tape *tape, struct tensor *x, struct tensor *w, struct tensor *b);

// n linear maps at once: y[i] = x w^T + b. Neighbours in the list that read the same x and whose weights follow each
// other in memory become one product; the results are then column views of one tensor.
struct linear_map {
	struct tensor *x, *w, *b;
};
void op_linear_many(struct tape *tape, int n, const struct linear_map *map, struct tensor **y);

// (B, T, C) = table (n_vocab, C) at tokens (B, T), plus position (n_ctx, C) rows first..first+T-1 unless NULL.
// tokens must stay valid until tape_backward.
struct tensor *op_embed(
        struct tape *tape, const int *tokens, int B, int T, struct tensor *table, struct tensor *position, int first);

// Over the last axis: (x - mean) / sqrt(var + eps) * gain + bias.
struct tensor *op_layernorm(struct tape *tape, struct tensor *x, struct tensor *gain, struct tensor *bias, double eps);
// x / sqrt(mean(x^2) + eps) * gain.
struct tensor *op_rmsnorm(struct tape *tape, struct tensor *x, struct tensor *gain, double eps);

// Exact GELU x Phi(x), ReLU, or the tanh form of GELU ("gelu_new").
struct tensor *op_unary(struct tape *tape, struct tensor *x, enum unary kind);
// x (B, T, 2C) = (gate, up) -> silu(gate) * up (B, T, C).
struct tensor *op_swiglu(struct tape *tape, struct tensor *x);

// a + b, same shape.
struct tensor *op_add(struct tape *tape, struct tensor *a, struct tensor *b);
// Each element is dropped with probability p, else divided by 1 - p. Returns x itself when p is 0 or when the tape
// is not recording (evaluation).
struct tensor *op_dropout(struct tape *tape, struct tensor *x, double p);
// Which draw a site of a step has: its number among the tape's dropouts.
static inline uint64_t op_dropout_index(long step, int site)
{
	return (uint64_t)step << 16 | (unsigned)site; // 2^16 sites a step; a model has a few per layer
}
// A copy of rows from..from+n-1 of each sequence; x itself when that is all of them.
struct tensor *op_rows(struct tape *tape, struct tensor *x, int from, int n);

// Rotary positions (backend.h: rope).
struct tensor *op_rope(struct tape *tape, struct tensor *x, const struct rope *rope);
// With frequencies chosen by plane (1, n_plane_set * n_rotary / 2), which are constants: their gradient is zero.
struct tensor *op_rope_planes(
        struct tape *tape, struct tensor *x, const struct rope *rope, struct tensor *plane, int n_plane_set);

// Softmax attention (backend.h: attention_shape). B, T, S are taken from the tensors; the rest from shape.
// v may be k itself or a view of its columns. Never holds more than a block of scores in memory.
struct tensor *op_attention(
        struct tape *tape, struct tensor *q, struct tensor *k, struct tensor *v, struct attention_shape shape);
// The same with key_bias (1, 1 or n_head, S) added to the scaled scores of each position; differentiable in it too.
struct tensor *op_attention_biased(struct tape *tape, struct tensor *q, struct tensor *k, struct tensor *v,
        struct tensor *key_bias, struct attention_shape shape);

// A matrix per head. w (n_head * n_out, n_in) stacks them: head h of x (B, T, n_head * n_in) becomes head h of
// y (B, T, n_head * n_out), y_h = x_h w_h^T. w may have fewer matrices than x has heads (a divisor): heads of a group
// share one. Transposed: x (B, T, n_head * n_out) becomes y (B, T, n_head * n_in), y_h = x_h w_h.
struct tensor *op_linear_heads(
        struct tape *tape, struct tensor *x, struct tensor *w, int n_head, int n_matrix, int is_transposed);
// (B, T, C_a + n_head * C_b / n_b_head): head h is (a_h, b_h); n_b_head is n_head, or 1 to give every head the same b.
struct tensor *op_join(struct tape *tape, struct tensor *a, struct tensor *b, int n_head, int n_b_head);
// (B, T, n): column j is column index[j] of x; a column may be taken more than once. index is copied.
struct tensor *op_columns(struct tape *tape, struct tensor *x, int n, const int *index);

// The 2D position map of papers C and D (reference C.1): S' = S sum(w) + sum_c w_c P_ijc + b with fixed P. Terms that
// depend on the query alone cancel in the softmax, so the map is a gain on the queries and a bias on the keys.
// w (n_map, m), b (1, n_map) or NULL; n_map is 1 (all heads share the map) or n_head.
// q (B, T, C) with head h times sum(w_h).
struct tensor *op_map_gain(struct tape *tape, struct tensor *q, struct tensor *w, int n_head);
// (1, n_map, S): sum over the key's numbers of P of w_c e_c(j), plus b. `room` (at least S) is how far apart its rows
// lie: one room for all steps of a cache makes them steps of the same shape, that can be played again.
struct tensor *op_map_bias(struct tape *tape, struct tensor *w, struct tensor *b, int S, int room, enum map_cut cut);

// run(tape, x, args), of which only the result is kept: backward runs it again, with the same bits (activation
// recomputation). The result is a packed tensor of run's own, not the first that it makes; what run reads beside x is
// parameters and constants; args (bytes of them) are copied. Without gradients it is run(tape, x, args).
typedef struct tensor *recomputed(struct tape *tape, struct tensor *x, const void *args);
struct tensor *op_recompute(struct tape *tape, recomputed *run, struct tensor *x, const void *args, size_t bytes);

struct loss {
	double mean; // nats per scored target
	long n, hits;
};
// Of m rows, from what slot cross_entropy gives.
struct loss loss_of_rows(const double *loss, const int *hit, const int *targets, long m);
// Mean cross-entropy of logits (B, T, n_vocab) against targets (B, T), -1 left out. Sets the gradient of logits, so
// tape_backward may follow. row_loss (B * T), unless NULL, gets each row's nats, 0 where there is no target. When
// counting, result is zero.
struct loss op_cross_entropy(struct tape *tape, struct tensor *logits, const int *targets, double *row_loss);
// The loss of x w^T + b, whose logits are never held for more than a chunk of rows. When recording, gradients are
// written at once, not in tape_backward: those of w and b must have been cleared (model_clear_gradients) before.
struct loss op_linear_cross_entropy(
        struct tape *tape, struct tensor *x, struct tensor *w, struct tensor *b, const int *targets, double *row_loss);

// --- for op files --------------------------------------------------------------------------------------------
// x itself, or, where its rows are kept in another type (stored.h), a copy in reals, turned if they are to be.
struct tensor *op_reals(struct tape *tape, struct tensor *x);
// Rows from..from+n-1 of a stored matrix, as reals, to x (n, C).
void op_read_rows(const struct tape *tape, real *x, const struct tensor *stored, int from, int n);
// 1 when a product of m rows with w goes by linear_stored.
int op_is_few(const struct tape *tape, const struct tensor *w, long m);
// w's rows as they lie, stored or not.
struct stored op_stored(const struct tensor *w);
// Bytes of n rows of w.
double op_row_bytes(const struct tensor *w, double n);
// x itself when its rows follow each other without gaps, else a copy.
struct tensor *op_packed(struct tape *tape, struct tensor *x);
// 1 when t's gradient already holds a value and must be added to; marks it live.
int op_gradient_take(struct tensor *t);
// Of products and attention; of everything else: one thread while decoding, whose few rows are not worth a fork.
struct exec op_exec_wide(const struct tape *tape);
struct exec op_exec(const struct tape *tape);
// Whether a result of t (may be NULL) needs a gradient because of it.
static inline int op_has_gradient(const struct tensor *t)
{
	return t && t->dx;
}
// tape_record for an op with this result: NULL, too, where the result has no gradient.
void *op_record(struct tape *tape, const struct tensor *out, void (*backward)(struct tape *, void *), size_t bytes);
static inline struct strided op_values(const struct tensor *t)
{
	return (struct strided){t->x, t->b_stride, t->t_stride};
}
static inline struct strided op_gradient(const struct tensor *t)
{
	return (struct strided){t->dx, t->b_stride, t->t_stride};
}
// Room for n numbers that backward needs beside tensors; NULL when not recording.
real *op_saved(struct tape *tape, double n);
// When counting: bytes of scratch memory that a product (m, k) (n, k) takes on a backend that rounds what it
// multiplies, in forward and backward, beside `held` bytes.
static inline void op_count_scratch(struct tape *tape, double m, double n, double k, double held)
{
	const double rounded = 2 * (m * k + n * k + m * n), bytes = held + rounded;
	tape->scratch_bytes = bytes > tape->scratch_bytes ? bytes : tape->scratch_bytes;
}
// Bytes of n reals, for tallies.
static inline double op_bytes(double n)
{
	return n * (double)sizeof(real);
}

#ifdef __cplusplus
}
#endif
#endif
