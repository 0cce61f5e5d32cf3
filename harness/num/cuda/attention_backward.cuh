// SPDX-License-Identifier: MIT
// Attention backward. The three gradients are one computation with the sides changed:
//            rows of a block    columns, a tile at a time         what is summed
//   dq       queries            positions                         ds times keys
//   dk       positions          queries of the key head's heads   ds^T times queries
//   dv       positions          queries of the value head's       p^T times dout
// with p = exp(score - lse) made again and ds = scale p (dout v - delta), delta = sum(dout out). Nobody adds to what
// another block adds to, and heads that share keys or values come in order: same bits every time. dv comes after dk, so
// where values are part of the keys it finds there what it is to be added to.
#ifndef KVLAB_NUM_CUDA_ATTENTION_BACKWARD_CUH
#define KVLAB_NUM_CUDA_ATTENTION_BACKWARD_CUH
#include "harness/num/cuda/cuda.cuh"

enum gradient { GRADIENT_Q, GRADIENT_K, GRADIENT_V, N_GRADIENT };

struct backward_args {
	int T, S, n_head, d_qk, d_v, causal, q_position;
	int k_group, v_group; // query heads of a key head, of a value head
	float scale;
	const float *key_bias;
	ptrdiff_t key_bias_stride;
	struct strided q, k, v, dout;
	const float *lse, *delta; // (B, n_head, T)
	struct strided_out to;    // the gradient; x NULL: nobody wants it
	float *d_bias;            // (B, n_head, S), written beside dk; NULL: nobody wants it
};

struct backward_block {
	int b, own, panel;           // sequence; the head whose gradient it is; panel of its columns
	int row, n_row;              // first row and how many
	int head, n_head;            // query heads to go through
	int width, from, to, n_side; // numbers of a row; columns; rows there are in all
};

// Rows of one operand of one head, from some row on.
struct matrix {
	const float *x;
	ptrdiff_t stride;
	int n, width;
};

// grid: (row blocks, heads, B * panels)
template <int gradient>
static __device__ inline struct backward_block backward_block_of(
        const struct backward_args *a, int rows, int tile, int n_panel)
{
	struct backward_block w;
	w.n_head = gradient == GRADIENT_Q ? 1 : gradient == GRADIENT_K ? a->k_group : a->v_group;
	w.own = (int)blockIdx.y, w.head = w.own * w.n_head;
	w.b = (int)blockIdx.z / n_panel, w.panel = (int)blockIdx.z % n_panel;
	w.n_side = gradient == GRADIENT_Q ? a->T : a->S;
	w.row = (int)blockIdx.x * rows, w.n_row = min(rows, w.n_side - w.row);
	w.width = gradient == GRADIENT_V ? a->d_v : a->d_qk;
	w.from = 0, w.to = gradient == GRADIENT_Q ? a->S : a->T;
	if (a->causal && gradient == GRADIENT_Q)
		w.to = min(a->S, a->q_position + w.row + w.n_row);
	else if (a->causal) // the first query that sees the first position
		w.from = max(0, w.row - a->q_position) / tile * tile;
	return w;
}

static __device__ inline int backward_is_seen(const struct backward_args *a, int query, int position)
{
	return query < a->T && position < a->S && (!a->causal || position <= a->q_position + query);
}

// The operands whose product is the score (q and k) or, `is_second`, that which ds is made of (dout and v): of the side
// of queries or of positions.
static __device__ inline struct matrix backward_operand(
        const struct backward_args *a, int b, int head, int is_queries, int is_second, int first, int most)
{
	const struct strided *s = is_queries ? is_second ? &a->dout : &a->q : is_second ? &a->v : &a->k;
	const int width = is_second ? a->d_v : a->d_qk, group = is_queries ? 1 : is_second ? a->v_group : a->k_group;
	struct matrix m;
	m.x = s->x + b * s->b_stride + first * s->t_stride + head / group * width;
	m.stride = s->t_stride, m.width = width;
	m.n = max(0, min(most, (is_queries ? a->T : a->S) - first));
	return m;
}

static __device__ inline void backward_write(
        const struct backward_args *a, const struct backward_block *w, int row, int column, float x)
{
	float *to = a->to.x + w->b * a->to.b_stride + (w->row + row) * a->to.t_stride + w->own * w->width + column;
	*to = a->to.accumulate ? *to + x : x;
}

// One gradient, for B sequences.
void backward_exact_launch(const struct backward_args *a, enum gradient gradient, int B);
// 0 where the widths are not served; nothing has been launched then.
int backward_tensor_launch(const struct backward_args *a, enum gradient gradient, int B);

#endif
