// SPDX-License-Identifier: MIT
// Q-K=V: one projection is key and value.
//   q = x W_q^T,  kv = x W_kv^T   (+ biases),  head h of group g: softmax(q_h kv_g^T / sqrt(d_head)) kv_g,
//   out = heads W_o^T;  with `plus` scores are S sum(w) + sum_c w_c P_ijc + b of the scaled S
// Cached per token and layer: kv, n_kv_head * d_head numbers: half of mha's, and 1 - n_kv_head / (2 n_head) less under
// groups (Q-GQA, Q-MQA).
// RoPE (the paper has none), option `rope`, see enum shared_rope:
//   at_read        cached unturned, a turned copy scored: scores relative, the average free of position
//   rotated_value  cached turned: scores relative, but what is averaged carries its absolute position
//   turned_back    the same, and each head's output turned back by the query's position: scores and average relative
// Source: paper C, Q-K=V (reference/papers.md C.1); QVV(2) of paper A is the same function. Equals keyless at m1 = m2
// = 1.
#include "variants/variant.h"

enum { W_Q, W_KV, B_Q, B_KV, W_MAP, B_MAP, W_O, B_O, N_PARAM };
enum { KV, N_STREAM };

struct shared_kv {
	int rope;
	struct attn_map map;
};

static const struct option options[] = {
        SHARED_ROPE_OPTION(struct shared_kv),
        ATTN_MAP_OPTIONS(struct shared_kv, map),
        {NULL},
};

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	(void)d;
	const struct shared_kv *c = config;
	return attn_map_check(&c->map, err);
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const struct shared_kv *c = config;
	const int n_q = d->n_head * d->d_head, n_kv = d->n_kv_head * d->d_head;
	table[W_Q] = attn_weight("w_q", n_q, d->d_model);
	table[W_KV] = attn_weight("w_kv", n_kv, d->d_model);
	table[B_Q] = attn_bias(d, "b_q", n_q, d->d_model);
	table[B_KV] = attn_bias(d, "b_kv", n_kv, d->d_model);
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
	const struct shared_kv *c = a->config;
	struct tensor *const *p = a->param, *y[2];
	const struct linear_map map[] = {{a->x_q, p[W_Q], p[B_Q]}, {a->x, p[W_KV], p[B_KV]}};
	op_linear_many(a->tape, 2, map, y);
	struct tensor *q = y[0], *kv = y[1], *bias = attn_map_apply(a, &c->map, W_MAP, &q);
	struct tensor *heads = attn_shared(a, KV, q, kv, a->dims->d_head, (enum shared_rope)c->rope, bias);
	return attn_output(a, heads, W_O);
}

static int convert(const struct attn_dims *d, const void *config, const struct attn_conversion *how,
        const struct attn_source *from, struct tensor *const *p, struct err *err)
{
	const struct shared_kv *c = config;
	const struct attn_chain query = {"w_q", "b_q", W_Q, B_Q, .depth = 1, .n_head = d->n_head, .d = d->d_head};
	const struct attn_chain value = {"w_v", "b_v", W_KV, B_KV, .depth = 1, .n_head = d->n_kv_head, .d = d->d_head};
	if (c->map.plus)
		return err_set(err, "a trained model has no 2D map: set plus to false");
	return attn_shared_convert(d, how, from, &query, &value, c->rope, W_O, p, err);
}

const struct variant variant_shared_kv = {
        .name = "shared_kv",
        .summary = "key = value, own query (paper C's Q-K=V): half the cache",
        .version = 1,
        .config_bytes = sizeof(struct shared_kv),
        .options = options,
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
        .convert = convert,
};
