// SPDX-License-Identifier: MIT
// Q=K-V: one projection is query and key, so scores are symmetric before mask and softmax.
//   qk = x W_qk^T,  v = x W_v^T   (+ biases),  head h of group g: softmax(qk_h k_g^T / sqrt(d_head)) v_g,
//   out = heads W_o^T;  with `plus` scores are S sum(w) + sum_c w_c P_ijc + b of the scaled S: the symmetry is broken
// Cached per token and layer: k and v, n_kv_head * d_head numbers each. It saves parameters and products, but no cache:
// as many numbers as mha (as gqa under groups).
// Groups are not defined by the papers. Ours: a group's key is the query of its first head, so the cache shrinks with
// n_kv_head and only first heads score themselves symmetrically.
// RoPE: query and key are turned alike, scores see relative positions only, values none. at_write and at_read are one
// function (a rounded cache apart): cached keys are turned once, or cached unturned and all turned at each step.
// Source: paper C, Q=K-V, and (Q=K-V)+; paper D, KV and KV+Pos (reference/papers.md C.1, D.1).
#include "variants/variant.h"

enum { W_QK, W_V, B_QK, B_V, W_MAP, B_MAP, W_O, B_O, N_PARAM };
enum { K, V, N_STREAM };

struct shared_qk {
	int rope;
	struct attn_map map;
};

static const struct option options[] = {
        KEY_ROPE_OPTION(struct shared_qk, 0),
        ATTN_MAP_OPTIONS(struct shared_qk, map),
        {NULL},
};

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	(void)d;
	const struct shared_qk *c = config;
	return attn_map_check(&c->map, err);
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const struct shared_qk *c = config;
	const int n_q = d->n_head * d->d_head, n_v = d->n_kv_head * d->d_head;
	table[W_QK] = attn_weight("w_qk", n_q, d->d_model);
	table[W_V] = attn_weight("w_v", n_v, d->d_model);
	table[B_QK] = attn_bias(d, "b_qk", n_q, d->d_model);
	table[B_V] = attn_bias(d, "b_v", n_v, d->d_model);
	attn_map_params(&c->map, d, table, W_MAP);
	attn_output_params(d, table, W_O);
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	(void)config;
	table[K] = (struct stream_shape){"k", STREAM_KEY, d->n_kv_head * d->d_head, 0, 1};
	table[V] = (struct stream_shape){"v", STREAM_VALUE, d->n_kv_head * d->d_head, 0, 1};
	return N_STREAM;
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *d = a->dims;
	const struct shared_qk *c = a->config;
	struct tensor *const *p = a->param, *y[2];
	const struct linear_map map[] = {{a->x, p[W_QK], p[B_QK]}, {a->x, p[W_V], p[B_V]}};
	op_linear_many(a->tape, 2, map, y);
	struct tensor *q = op_rows(a->tape, y[0], a->q_from, a->x_q->T), *bias = attn_map_apply(a, &c->map, W_MAP, &q);
	q = attn_rotate(a, q, d->n_head, ROWS_QUERY, (struct attn_turn){0});
	struct tensor *k = attn_keys(a, K, attn_first_of_group(a, y[0]), d->n_kv_head, (enum key_rope)c->rope);
	struct tensor *v = attn_stream(a, V, y[1]);
	const struct attn_heads heads = {d->n_kv_head, d->n_kv_head, d->d_head, d->d_head, d->d_head};
	return attn_output(a, attn_attend(a, q, k, v, heads, bias), W_O);
}

const struct variant variant_shared_qk = {
        .name = "shared_qk",
        .summary = "query = key, own value (paper C's Q=K-V): saves parameters, no cache",
        .version = 1,
        .config_bytes = sizeof(struct shared_qk),
        .options = options,
        .equals = (const struct equals_claim[]){{"rope=at_read", "shared_qk", ""}, {NULL, NULL, NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
};
