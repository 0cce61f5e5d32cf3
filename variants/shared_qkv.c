// SPDX-License-Identifier: MIT
// Q=K=V: one projection is query, key and value; scores are symmetric before mask and softmax.
//   y = x W_qkv^T   (+ bias),  head h of group g: softmax(y_h y_g^T / sqrt(d_head)) y_g,  out = heads W_o^T;
//   with `plus` scores are S sum(w) + sum_c w_c P_ijc + b of the scaled S: the symmetry is broken
// Cached per token and layer: kv, n_kv_head * d_head numbers: half of mha's (of gqa's under groups).
// Groups are not defined by the papers. Ours: key and value of a group are the query of its first head, so the cache
// shrinks with n_kv_head.
// RoPE (the paper has none), option `rope`, see enum shared_rope:
//   at_read        cached unturned, a turned copy scored: scores relative, the average free of position
//   rotated_value  cached turned: scores relative, but what is averaged carries its absolute position
//   turned_back    the same, and each head's output turned back by the query's position: scores and average relative
// Source: paper C, Q=K=V and (Q=K=V)+ (reference/papers.md C.1).
#include "variants/variant.h"

enum { W_QKV, B_QKV, W_MAP, B_MAP, W_O, B_O, N_PARAM };
enum { KV, N_STREAM };

struct shared_qkv {
	int rope;
	struct attn_map map;
};

static const struct option options[] = {
        SHARED_ROPE_OPTION(struct shared_qkv),
        ATTN_MAP_OPTIONS(struct shared_qkv, map),
        {NULL},
};

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	(void)d;
	const struct shared_qkv *c = config;
	return attn_map_check(&c->map, err);
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const struct shared_qkv *c = config;
	const int wide = d->n_head * d->d_head;
	table[W_QKV] = attn_weight("w_qkv", wide, d->d_model);
	table[B_QKV] = attn_bias(d, "b_qkv", wide, d->d_model);
	attn_map_params(&c->map, d, table, W_MAP);
	attn_output_params(d, table, W_O);
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	(void)config;
	table[KV] = (struct stream_shape){"kv", STREAM_VALUE, d->n_kv_head * d->d_head, 0, 1};
	return N_STREAM;
}

static struct tensor *forward(struct attn *a)
{
	const struct shared_qkv *c = a->config;
	struct tensor *const *p = a->param;
	struct tensor *y = op_linear(a->tape, a->x, p[W_QKV], p[B_QKV]), *kv = attn_first_of_group(a, y);
	struct tensor *q = op_rows(a->tape, y, a->q_from, a->x_q->T), *bias = attn_map_apply(a, &c->map, W_MAP, &q);
	struct tensor *heads = attn_shared(a, KV, q, kv, a->dims->d_head, (enum shared_rope)c->rope, bias);
	return attn_output(a, heads, W_O);
}

const struct variant variant_shared_qkv = {
        .name = "shared_qkv",
        .summary = "query = key = value (paper C's Q=K=V): one matrix, half the cache",
        .version = 1,
        .config_bytes = sizeof(struct shared_qkv),
        .options = options,
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
};
