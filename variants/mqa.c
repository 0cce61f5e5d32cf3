// SPDX-License-Identifier: MIT
// Multi-query attention: all query heads share one key and one value.
//   q = x W_q^T,  k = x W_k^T,  v = x W_v^T   (+ biases),  out = heads W_o^T,
//   head h: softmax(q_h k^T / sqrt(d_head)) v
// Cached per token and layer: k and v, d_head numbers each.
// RoPE: scores see relative positions only, values none. at_write and at_read are one function (a rounded cache apart):
// cached keys are turned once, or cached unturned and all turned at each step.
// Source: Shazeer 2019; MQA of papers A and C (reference/papers.md A.1, C.1). Equals gqa at n_kv_head = 1.
#include "variants/variant.h"

struct mqa {
	int rope;
};

static const struct option options[] = {
        KEY_ROPE_OPTION(struct mqa, 0),
        {NULL},
};

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	(void)config;
	if (d->n_kv_head != 1)
		return err_set(err, "mqa has one key and value head: set n_kv_head to 1 (it is %d), or take gqa",
		        d->n_kv_head);
	return 0;
}

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
	const struct mqa *c = a->config;
	const struct attn_heads one_of_each = {1, 1, d->d_head, d->d_head, d->d_head};
	struct attn_qkv y = attn_qkv_project(a);
	struct tensor *q = attn_rotate(a, y.q, d->n_head, ROWS_QUERY, (struct attn_turn){0});
	struct tensor *k = attn_keys(a, QKV_K, y.k, 1, (enum key_rope)c->rope);
	struct tensor *v = attn_stream(a, QKV_V, y.v);
	return attn_output(a, attn_attend(a, q, k, v, one_of_each, NULL), QKV_W_O);
}

const struct variant variant_mqa = {
        .name = "mqa",
        .summary = "multi-query attention: one key and one value for all heads",
        .version = 1,
        .config_bytes = sizeof(struct mqa),
        .options = options,
        .equals = (const struct equals_claim[]){{"rope=at_read", "mqa", ""}, {NULL, NULL, NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
        .convert = attn_plain_convert,
        .is_plain = 1,
};
