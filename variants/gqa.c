// SPDX-License-Identifier: MIT
// Grouped-query attention: n_head / n_kv_head query heads share a key and a value head.
//   q = x W_q^T,  k = x W_k^T,  v = x W_v^T   (+ biases),  head h of group g: softmax(q_h k_g^T / sqrt(d_head)) v_g,
//   out = heads W_o^T
// Cached per token and layer: k and v, n_kv_head * d_head numbers each.
// RoPE: scores see relative positions only, values none. at_write and at_read are one function (a rounded cache apart):
// cached keys are turned once, or cached unturned and all turned at each step.
// Source: Ainslie et al. 2023; GQA of papers A, B and C (reference/papers.md A.1, C.1, E.2). Equals mha at n_kv_head =
// n_head, mqa at n_kv_head = 1.
#include "variants/variant.h"

struct gqa {
	int rope;
};

static const struct option options[] = {
        KEY_ROPE_OPTION(struct gqa, 0),
        {NULL},
};

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	(void)config;
	return attn_qkv_params(d, d->d_head, table);
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	(void)config;
	return attn_qkv_streams(d, d->d_head, table);
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *d = a->dims;
	const struct gqa *c = a->config;
	const struct attn_heads heads = {d->n_kv_head, d->n_kv_head, d->d_head, d->d_head, d->d_head};
	struct attn_qkv y = attn_qkv_project(a);
	struct tensor *q = attn_rotate(a, y.q, d->n_head, ROWS_QUERY, (struct attn_turn){0});
	struct tensor *k = attn_keys(a, QKV_K, y.k, d->n_kv_head, (enum key_rope)c->rope);
	struct tensor *v = attn_stream(a, QKV_V, y.v);
	return attn_output(a, attn_attend(a, q, k, v, heads, NULL), QKV_W_O);
}

const struct variant variant_gqa = {
        .name = "gqa",
        .summary = "grouped-query attention: n_kv_head key and value heads",
        .version = 1,
        .config_bytes = sizeof(struct gqa),
        .options = options,
        .equals = (const struct equals_claim[]){{"", "mha", ""}, {"", "mqa", ""}, {"rope=at_read", "gqa", ""},
                {NULL, NULL, NULL}},
        .params = params,
        .streams = streams,
        .forward = forward,
        .convert = attn_plain_convert,
        .is_plain = 1,
};
