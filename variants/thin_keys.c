// SPDX-License-Identifier: MIT
// Thin keys, full values: queries and keys of r numbers a head, values of d_head; trained from scratch.
//   q = x W_q^T  (d_select = n_head r),  k = x W_k^T  (n_kv_head r),  v = x W_v^T  (n_kv_head d_head),
//   head h of group g: softmax(q_h k_g^T / sqrt(r)) v_g,  out = heads W_o^T
// Cached per token and layer: k (n_kv_head * r numbers) and v (n_kv_head * d_head numbers).
// RoPE turns the same part of the thin head as the model does of a full one; both modes let scores see relative
// positions only, and differ in which frequencies they keep:
//   own_ladder         its own ladder, base^(-2i / n) of the n numbers turned: from fast to slow, with fewer steps
//   first_frequencies  the first of the full head's ladder: the fast ones only, far distances look alike
// Source: paper B, "asymmetric attention" and the two treatments of its code (reference/papers.md B.1). Equals gqa (and
// mha) at d_select = n_head * d_head.
#include "variants/variant.h"

enum { OWN_LADDER, FIRST_FREQUENCIES };

struct thin_keys {
	int d_select, d_select_per_head, rope;
};

static const struct option options[] = {
        {"d_select", OPTION_INT, offsetof(struct thin_keys, d_select), "0", 0, 1 << 20, NULL,
                "query/key width over all query heads (the paper's); 0: d_select_per_head * n_head"},
        {"d_select_per_head", OPTION_INT, offsetof(struct thin_keys, d_select_per_head), "0", 0, 1 << 20, NULL,
                "query/key width per head; 0: d_select / n_head"},
        {"rope", OPTION_CHOICE, offsetof(struct thin_keys, rope), "own_ladder", 0, 0, "own_ladder|first_frequencies",
                "frequencies that turn a thin head (models with position: rope)", 1},
        {NULL},
};

static int per_head(const struct attn_dims *d, const void *config)
{
	const struct thin_keys *c = config;
	return c->d_select_per_head ? c->d_select_per_head : c->d_select / d->n_head;
}

// Of the numbers of a thin head, as many are turned as in a full one, in proportion and rounded as the model rounds.
static struct attn_turn thin_turn(const struct attn_dims *d, const void *config)
{
	const struct thin_keys *c = config;
	const long twice = 2L * per_head(d, c) * d->n_rotary;
	const int n = (int)((twice + d->d_head) / (2L * d->d_head));
	return (struct attn_turn){.n_rotary = n, .n_ladder = c->rope == FIRST_FREQUENCIES ? d->n_rotary : n};
}

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	const struct thin_keys *c = config;
	if (!c->d_select == !c->d_select_per_head)
		return err_set(err, "thin_keys needs exactly one of d_select and d_select_per_head");
	if (c->d_select % d->n_head)
		return err_set(err, "d_select %d is not divisible by n_head %d", c->d_select, d->n_head);
	if (d->n_rotary && c->rope == FIRST_FREQUENCIES && per_head(d, c) > d->d_head)
		return err_set(err,
		        "rope: first_frequencies has none for keys of %d numbers in heads of %d (take own_ladder)",
		        per_head(d, c), d->d_head);
	return attn_check_pairs(
	        d, "a thin head that it turns (d_select per head, times rope_fraction)", thin_turn(d, c).n_rotary, err);
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	return attn_qkv_params(d, per_head(d, config), table);
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	return attn_qkv_streams(d, per_head(d, config), table);
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *d = a->dims;
	const int r = per_head(d, a->config);
	const struct attn_turn turn = thin_turn(d, a->config);
	const struct attn_heads heads = {d->n_kv_head, d->n_kv_head, r, d->d_head, r};
	struct attn_qkv y = attn_qkv_project(a);
	struct tensor *q = attn_rotate(a, y.q, d->n_head, ROWS_QUERY, turn);
	struct tensor *k = attn_stream(a, QKV_K, attn_rotate(a, y.k, d->n_kv_head, ROWS_NEW, turn));
	struct tensor *v = attn_stream(a, QKV_V, y.v);
	return attn_output(a, attn_attend(a, q, k, v, heads, NULL), QKV_W_O);
}

const struct variant variant_thin_keys = {
        .name = "thin_keys",
        .summary = "queries and keys of d_select numbers, full values (paper B)",
        .version = 1,
        .config_bytes = sizeof(struct thin_keys),
        .options = options,
        .equals = (const struct equals_claim[]){{"d_select_per_head=d_head", "mha", ""},
                {"d_select_per_head=d_head", "gqa", ""}, {"d_select_per_head=d_head rope=first_frequencies", "gqa", ""},
                {NULL, NULL, NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
};
