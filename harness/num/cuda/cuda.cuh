// SPDX-License-Identifier: MIT
// The CUDA backend: what its files share. It is a plugin, kvlab_cuda.so beside the program, which takes what it needs
// of the program's own functions (arenas, errors, rope_frequency) from the program that loads it.
//
// There is one device and one stream: what is launched runs in order, so memory may be used again as soon as the
// launches that need it have been made. Kernels are launched by LAUNCH (primitives.cuh) and followed by cuda_launched.
//
// Every kernel that is given a position adds *cuda.shift to it, dropout *cuda.dropout_shift to its index. They are 0
// but while a graph is played.
#ifndef KVLAB_NUM_CUDA_CUDA_CUH
#define KVLAB_NUM_CUDA_CUDA_CUH
#include <cuda_runtime.h>
#include <primitives.cuh>

#include "harness/base/arena.h"
#include "harness/base/err.h"
#include "harness/num/backend.h"

struct cuda {
	cudaStream_t stream;
	int *shift; // on the device
	uint64_t *dropout_shift;
	int n_multiprocessor; // how work is cut may not depend on it where that decides bits
	int is_recording;     // a graph is being taken down
	char library[400];    // device, driver, libraries
};
extern struct cuda cuda;

// Stops the process with a sentence that names `what` and the cause: a device that fails once has lost its memory.
void cuda_fault(const char *what, const char *cause) __attribute__((noreturn));
static inline void cuda_check(cudaError_t error, const char *what)
{
	if (error != cudaSuccess)
		cuda_fault(what, cudaGetErrorString(error));
}
// After a launch: asks whether it was accepted. What happens while it runs is seen at the next download.
static inline void cuda_launched(const char *kernel)
{
	cuda_check(cudaGetLastError(), kernel);
}
// What a slot does cannot be part of a graph: struct graph_slots' end will say so. 1 while one is being taken down.
int cuda_refuse(const char *why);
static inline int cuda_blocks(long n, long per_block)
{
	return (int)((n + per_block - 1) / per_block);
}
// n numbers of scratch memory; the caller has taken the mark.
template <typename T> static inline T *cuda_scratch(const struct exec *exec, long n)
{
	return (T *)arena_alloc(exec->scratch, (size_t)n * sizeof(T));
}

// --- runtime.cu, graph.cu -------------------------------------------------------------------------------------------
extern const struct memory_source cuda_memory;
extern const struct graph_slots cuda_graph_slots;
int cuda_start(struct err *err); // finds the device, once
const char *cuda_library(void);
void cuda_upload(const struct exec *, void *to, const void *from, size_t bytes);
void cuda_download(const struct exec *, void *to, const void *from, size_t bytes);
void cuda_move(const struct exec *, void *to, const void *from, size_t bytes);
void cuda_clear(const struct exec *, void *at, size_t bytes);
int cuda_graph_start(struct err *err);
// The host's numbers on the device: in scratch memory, or in the place that graph->play fills.
const int *cuda_tokens(const struct exec *, const int *tokens, int n);
// The same for tokens that a slot of this step was given before: in a graph they have one place.
const int *cuda_tokens_again(const struct exec *, const int *tokens, int n);
// Of a graph that is being taken down: the places of the next n targets, where play_training puts them and takes
// results from. 0 when there are too many.
struct graph_targets {
	const int *target;
	const double *grad_scale;
	double *loss;
	int *hit;
};
int cuda_graph_targets(struct graph_targets *at, int n);
int cuda_graph_losses(const double **loss); // where those of all targets so far will be, and how many

// --- update.cu ------------------------------------------------------------------------------------------------------
// What a graph's update asks for: its norm, and Adam with so many settings, whose rate and step come when it is played.
enum { MOST_ADAMS = 4 };
struct graph_update {
	int has_norm, n_adam;
	struct adam adam[MOST_ADAMS];
};
int cuda_update_start(struct err *err);
void cuda_update_begin(void);
struct graph_update cuda_update_end(void);
void cuda_update_put(const struct graph_update *, const struct graph_training *); // before the graph
double cuda_update_norm(const struct exec *, const struct graph_update *);        // after it; 0 without a norm

// --- ranks_nccl.cu, or ranks_none.cu --------------------------------------------------------------------------------
// *ranks NULL: this process trains alone.
int cuda_ranks_start(const struct rank_slots **ranks, struct err *err);
int cuda_ranks_device(int n_device);

// --- slots, one file a concern --------------------------------------------------------------------------------------
void cuda_gemm_exact(const struct exec *, const struct gemm *);
void cuda_gemm_rounded(const struct exec *, const struct gemm *);
void cuda_probe_product(const struct exec *, real *c, const void *a, const void *b, int n);
void cuda_linear_stored_exact(const struct exec *, const struct linear_stored *);
void cuda_linear_stored_rounded(const struct exec *, const struct linear_stored *);

void cuda_norm(const struct exec *, real *out, real *stat, const real *x, const real *gain, const real *bias, int m,
        int n, double eps, int is_rms);
void cuda_unary(const struct exec *, real *out, real *slope, const real *x, long n, enum unary kind);
void cuda_swiglu(const struct exec *, real *out, const real *x, int m, int n);
void cuda_add(const struct exec *, real *out, const real *a, const real *b, long n);
void cuda_copy(
        const struct exec *, real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, int n, int accumulate);
void cuda_dropout(
        const struct exec *, real *out, const real *x, long n, double p, uint64_t seed, uint64_t index, int accumulate);
void cuda_copy_columns(const struct exec *, struct strided_out out, struct strided x, int B, int T,
        const struct column_run *run, int n_run);
void cuda_scale_heads(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C, int n_head,
        const real *gain, ptrdiff_t gain_stride);
void cuda_rope(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C, const struct rope *);

void cuda_embed(const struct exec *, real *out, const real *table, const real *position, const int *tokens, int B,
        int T, int C, int first);
void cuda_embed_stored(const struct exec *, real *out, const struct stored *table, const real *position,
        const int *tokens, int B, int T, int C, int first);
void cuda_store_rows(const struct exec *, const struct stored *to, struct strided x, int B, int T, int first);
void cuda_read_rows(const struct exec *, struct strided_out out, const struct stored *from, int B, int position, int n,
        int S, int at, int d);
void cuda_map_gain(const struct exec *, real *gain, const real *w, ptrdiff_t ldw, int n_map, int m);
void cuda_map_bias(const struct exec *, real *bias, ptrdiff_t ldbias, const real *w, ptrdiff_t ldw, const real *b,
        int n_map, int m, int S, int cut);
void cuda_map_bias_backward(const struct exec *, real *dw, ptrdiff_t ldw, const real *dbias, ptrdiff_t ldbias,
        int n_map, int m, int S, int cut);
void cuda_cross_entropy(const struct exec *, double *loss, int *hit, real *dlogits, const real *logits,
        const int *targets, int m, int n, double grad_scale);
double cuda_sum_squares(const struct exec *, const real *x, long n);

void cuda_column_sum(const struct exec *, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate);
void cuda_norm_backward(const struct exec *, real *dx, int accumulate_x, real *dgain, int accumulate_gain, real *dbias,
        int accumulate_bias, const real *dout, const real *x, const real *stat, const real *gain, int m, int n,
        int is_rms);
void cuda_unary_backward(const struct exec *, real *dx, const real *dout, const real *slope, long n, int accumulate);
void cuda_swiglu_backward(const struct exec *, real *dx, const real *dout, const real *x, int m, int n, int accumulate);
void cuda_dot_heads(
        const struct exec *, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head);
void cuda_embed_backward(const struct exec *, real *dtable, int n_vocab, int accumulate_table, real *dposition,
        int n_ctx, int accumulate_position, const real *dout, const int *tokens, int B, int T, int C, int first);
void cuda_adam(const struct exec *, real *x, real *m, real *v, const real *dx, long n, const struct adam *);

// --- attention*.cu --------------------------------------------------------------------------------------------------
void cuda_attention_exact(const struct exec *, struct strided_out out, real *lse, struct strided q, struct strided k,
        struct strided v, const struct attention_shape *);
void cuda_attention_rounded(const struct exec *, struct strided_out out, real *lse, struct strided q, struct strided k,
        struct strided v, const struct attention_shape *);
void cuda_attention_backward_exact(const struct exec *, struct strided_out dq, struct strided_out dk,
        struct strided_out dv, struct strided dout, struct strided out, const real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *);
void cuda_attention_backward_rounded(const struct exec *, struct strided_out dq, struct strided_out dk,
        struct strided_out dv, struct strided dout, struct strided out, const real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *);
void cuda_attention_stored_exact(const struct exec *, struct strided_out out, struct strided q, const struct stored *k,
        const struct stored *v, const struct attention_shape *);
void cuda_attention_stored_rounded(const struct exec *, struct strided_out out, struct strided q,
        const struct stored *k, const struct stored *v, const struct attention_shape *);

#endif
