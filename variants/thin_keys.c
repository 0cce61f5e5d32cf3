// SPDX-License-Identifier: MIT
// Thin keys, full values: queries and keys of d_select numbers over all heads, values of d_model; trained from scratch.
//   q = x W_q^T,  k = x W_k^T  (d_select),  v = x W_v^T,  head h: softmax(q_h k_h^T / sqrt(r)) v_h,  r = d_select /
//   n_head
// Cached per token and layer: k (d_select numbers) and v (n_head * d_head numbers).
// Source: paper B, "asymmetric attention" (reference/papers.md B.1). Equals mha at d_select = n_head * d_head.
#include "variants/variant.h"

#include <math.h>

enum { W_Q, W_K, W_V, B_Q, B_K, B_V, W_O, B_O, N_PARAM };
enum { K, V, N_STREAM };

struct thin_keys {
	int d_select, d_select_per_head;
};

static const struct option options[] = {
        {"d_select", OPTION_INT, offsetof(struct thin_keys, d_select), "0", 0, 1 << 20, NULL,
                "query/key width over all heads (the paper's); 0: d_select_per_head * n_head"},
        {"d_select_per_head", OPTION_INT, offsetof(struct thin_keys, d_select_per_head), "0", 0, 1 << 20, NULL,
                "query/key width per head; 0: d_select / n_head"},
        {NULL},
};

static int per_head(const struct attn_dims *d, const void *config)
{
	const struct thin_keys *c = config;
	return c->d_select_per_head ? c->d_select_per_head : c->d_select / d->n_head;
}

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	const struct thin_keys *c = config;
	if (!c->d_select == !c->d_select_per_head)
		return err_set(err, "thin_keys needs exactly one of d_select and d_select_per_head");
	if (c->d_select % d->n_head)
		return err_set(err, "d_select %d is not divisible by n_head %d", c->d_select, d->n_head);
	if (d->n_kv_head != d->n_head)
		return err_set(err, "thin_keys needs n_kv_head equal to n_head (%d), not %d", d->n_head, d->n_kv_head);
	return 0;
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const int thin = d->n_head * per_head(d, config), wide = d->n_head * d->d_head, bias = d->bias ? 1 : 0;
	table[W_Q] = (struct param_shape){"w_q", thin, d->d_model, INIT_WEIGHT, d->d_model};
	table[W_K] = (struct param_shape){"w_k", thin, d->d_model, INIT_WEIGHT, d->d_model};
	table[W_V] = (struct param_shape){"w_v", wide, d->d_model, INIT_WEIGHT, d->d_model};
	table[B_Q] = (struct param_shape){"b_q", bias, thin, INIT_BIAS, d->d_model};
	table[B_K] = (struct param_shape){"b_k", bias, thin, INIT_BIAS, d->d_model};
	table[B_V] = (struct param_shape){"b_v", bias, wide, INIT_BIAS, d->d_model};
	table[W_O] = (struct param_shape){"w_o", d->d_model, wide, INIT_WEIGHT, wide};
	table[B_O] = (struct param_shape){"b_o", bias, d->d_model, INIT_BIAS, wide};
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	table[K] = (struct stream_shape){"k", STREAM_KEY, d->n_head * per_head(d, config), 0, 1};
	table[V] = (struct stream_shape){"v", STREAM_VALUE, d->n_head * d->d_head, 0, 1};
	return N_STREAM;
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *d = a->dims;
	const int r = per_head(d, a->config);
	struct tensor *const *p = a->param, *y[3];
	const struct linear_map map[] = {{a->x_q, p[W_Q], p[B_Q]}, {a->x, p[W_K], p[B_K]}, {a->x, p[W_V], p[B_V]}};
	op_linear_many(a->tape, 3, map, y);
	struct tensor *k = attn_stream(a, K, y[1]), *v = attn_stream(a, V, y[2]);
	const struct attention_shape shape = {.n_head = d->n_head,
	        .n_k_head = d->n_head,
	        .n_v_head = d->n_head,
	        .d_qk = r,
	        .d_v = d->d_head,
	        .causal = d->causal,
	        .q_position = attn_q_position(a),
	        .scale = 1 / sqrt(r)};
	return op_linear(a->tape, op_attention(a->tape, y[0], k, v, shape), p[W_O], p[B_O]);
}

const struct variant variant_thin_keys = {
        .name = "thin_keys",
        .summary = "queries and keys of d_select numbers, full values (paper B)",
        .version = 1,
        .config_bytes = sizeof(struct thin_keys),
        .options = options,
        .equals = (const struct equals_claim[]){{"d_select_per_head=d_head", "mha", ""}, {NULL, NULL, NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
};
