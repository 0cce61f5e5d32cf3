// SPDX-License-Identifier: MIT
// Multi-head attention: every head has its own query, key and value.
//   q = x W_q^T,  k = x W_k^T,  v = x W_v^T   (+ biases),  head h: softmax(q_h k_h^T / sqrt(d_head)) v_h,  out = heads
//   W_o^T
// Cached per token and layer: k and v, n_head * d_head numbers each.
// Source: Vaswani et al. 2017; the baseline of papers A (QKV), B, C and D (reference/papers.md E.2).
#include "variants/variant.h"

#include <math.h>

enum { W_Q, W_K, W_V, B_Q, B_K, B_V, W_O, B_O, N_PARAM };
enum { K, V, N_STREAM };

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	(void)config;
	if (d->n_kv_head != d->n_head)
		return err_set(err, "mha needs n_kv_head equal to n_head (%d), not %d", d->n_head, d->n_kv_head);
	return 0;
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	(void)config;
	const int wide = d->n_head * d->d_head, bias = d->bias ? 1 : 0;
	table[W_Q] = (struct param_shape){"w_q", wide, d->d_model, INIT_WEIGHT, d->d_model};
	table[W_K] = (struct param_shape){"w_k", wide, d->d_model, INIT_WEIGHT, d->d_model};
	table[W_V] = (struct param_shape){"w_v", wide, d->d_model, INIT_WEIGHT, d->d_model};
	table[B_Q] = (struct param_shape){"b_q", bias, wide, INIT_BIAS, d->d_model};
	table[B_K] = (struct param_shape){"b_k", bias, wide, INIT_BIAS, d->d_model};
	table[B_V] = (struct param_shape){"b_v", bias, wide, INIT_BIAS, d->d_model};
	table[W_O] = (struct param_shape){"w_o", d->d_model, wide, INIT_WEIGHT, wide};
	table[B_O] = (struct param_shape){"b_o", bias, d->d_model, INIT_BIAS, wide};
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	(void)config;
	table[K] = (struct stream_shape){"k", STREAM_KEY, d->n_head * d->d_head, 0, 1};
	table[V] = (struct stream_shape){"v", STREAM_VALUE, d->n_head * d->d_head, 0, 1};
	return N_STREAM;
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *d = a->dims;
	struct tensor *const *p = a->param, *y[3];
	const struct linear_map map[] = {{a->x_q, p[W_Q], p[B_Q]}, {a->x, p[W_K], p[B_K]}, {a->x, p[W_V], p[B_V]}};
	op_linear_many(a->tape, 3, map, y);
	struct tensor *k = attn_stream(a, K, y[1]), *v = attn_stream(a, V, y[2]);
	const struct attention_shape shape = {.n_head = d->n_head,
	        .n_k_head = d->n_head,
	        .n_v_head = d->n_head,
	        .d_qk = d->d_head,
	        .d_v = d->d_head,
	        .causal = d->causal,
	        .q_position = attn_q_position(a),
	        .scale = 1 / sqrt(d->d_head)};
	return op_linear(a->tape, op_attention(a->tape, y[0], k, v, shape), p[W_O], p[B_O]);
}

const struct variant variant_mha = {
        .name = "mha",
        .summary = "multi-head attention: own key and value for every head (baseline)",
        .version = 1,
        .options = (const struct option[]){{NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
};
