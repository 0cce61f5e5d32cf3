// SPDX-License-Identifier: MIT
// What the attention kernels share: one call's operands, which rows, positions and columns a block has, and what
// blocks that split the positions of a row leave for the join.
//
// A block has query rows that read the same key and value head: row r of head group g is query head
// g * group + r % group at new position r / group. Keys and values are read once for all of them. It computes one panel
// of the value's columns (most heads have one).
//
// Positions are counted on the device, from S + shift: a captured launch serves later positions. Its grid is fixed, so
// the number of splits is a function of the shape without S, and a split's length follows from the positions there are.
#ifndef KVLAB_NUM_CUDA_ATTENTION_CUH
#define KVLAB_NUM_CUDA_ATTENTION_CUH
#include "harness/num/backend.h"
#include "harness/num/cuda/rows.cuh"

struct attention_args {
	int T, S, n_head, d_qk, d_v, causal, q_position;
	int k_group, v_group; // query heads of a key head, of a value head
	int group, n_group;   // query heads of a block's head group; groups
	int n_row_block, n_split;
	float scale;
	const float *key_bias;
	ptrdiff_t key_bias_stride;
	struct strided q;
	struct strided_out out;
	float *lse; // (B, n_head, T) or NULL
	struct rows k, v;
	struct turn turn; // of k
	// Of each (sequence, head, new position, split), where n_split > 1: the largest score, the sum of exponentials
	// and the sum of values (d_v) so far.
	float *most, *total, *sum;
	const int *shift;
};

// Where a block is.
struct attention_block {
	int b, g, row, n_row; // sequence, head group, first row of the group and how many
	int split, panel;
	int S, q_position; // with the shift
	int from, to;      // positions: whole tiles but for the last one
};

static __device__ inline int attention_visible(const struct attention_args *a, const struct attention_block *w, int row)
{
	return a->causal ? min(w->S, w->q_position + row / a->group + 1) : w->S;
}

// grid: (row blocks * splits * head groups, panels, B). Head groups are neighbours: their rows of a position lie
// beside each other in memory, so what one block brings into L2 the next one uses. The last row blocks of a causal
// call see the most and go first.
static __device__ inline struct attention_block attention_block_of(const struct attention_args *a, int rows, int tile)
{
	struct attention_block w;
	int at = (int)blockIdx.x;
	w.g = at % a->n_group, at /= a->n_group;
	w.split = at % a->n_split, at /= a->n_split;
	w.row = (a->n_row_block - 1 - at) * rows;
	w.n_row = min(rows, a->T * a->group - w.row);
	w.panel = (int)blockIdx.y, w.b = (int)blockIdx.z;
	const int shift = *a->shift;
	w.S = a->S + shift, w.q_position = a->q_position + shift;
	const int seen = attention_visible(a, &w, w.row + w.n_row - 1);
	const int n_tile = (seen + tile - 1) / tile, per_split = (n_tile + a->n_split - 1) / a->n_split;
	w.from = w.split * per_split * tile;
	w.to = min(seen, w.from + per_split * tile);
	return w;
}

// Row r of the block's head group.
static __device__ inline int attention_head(const struct attention_args *a, const struct attention_block *w, int r)
{
	return w->g * a->group + r % a->group;
}
static __device__ inline const float *attention_query(
        const struct attention_args *a, const struct attention_block *w, int r)
{
	return a->q.x + w->b * a->q.b_stride + r / a->group * a->q.t_stride + attention_head(a, w, r) * a->d_qk;
}
static __device__ inline ptrdiff_t attention_state(
        const struct attention_args *a, const struct attention_block *w, int r)
{
	return ((ptrdiff_t)w->b * a->n_head + attention_head(a, w, r)) * a->T + r / a->group;
}

// What a row has come to, at its columns first, first + step, ...: the result, or this split's share of it. Whoever
// holds column 0 writes the rest.
static __device__ inline void attention_write_row(
        const struct attention_args *a, const struct attention_block *w, int r, float most, float total)
{
	const ptrdiff_t state = attention_state(a, w, r);
	if (a->n_split > 1) {
		a->most[state * a->n_split + w->split] = most;
		a->total[state * a->n_split + w->split] = total;
	} else if (a->lse) {
		a->lse[state] = most + logf(total);
	}
}
static __device__ inline void attention_write(
        const struct attention_args *a, const struct attention_block *w, int r, int column, float total, float sum)
{
	if (a->n_split > 1) {
		a->sum[(attention_state(a, w, r) * a->n_split + w->split) * a->d_v + column] = sum;
		return;
	}
	float *out = a->out.x + w->b * a->out.b_stride + r / a->group * a->out.t_stride;
	out[attention_head(a, w, r) * a->d_v + column] = sum / total;
}

// Launches, by B sequences; n_split and n_row_block are set here for rows and tiles of their own.
void attention_exact_launch(const struct exec *exec, struct attention_args *a, int B);
// 0 where the widths or types are not served (shared memory); nothing has been launched then.
int attention_tensor_launch(const struct exec *exec, struct attention_args *a, int B);
// Splits for so many blocks, their memory, and the kernel that puts them together in order.
void attention_split(const struct exec *exec, struct attention_args *a, int B, int n_panel);
void attention_join(const struct attention_args *a, int B);

#endif
