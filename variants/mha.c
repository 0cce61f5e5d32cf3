// SPDX-License-Identifier: MIT
// Multi-head attention: every head has its own query, key and value.
//   q = x W_q^T,  k = x W_k^T,  v = x W_v^T   (+ biases),  out = heads W_o^T,
//   head h: softmax(q_h k_h^T / sqrt(d_head)) v_h
// With m1 > 1 the query is a chain of matrices, q = x W_q^T W_q2^T ...: QKV(m1 + 1), so QKV(3) is m1 = 2.
// Cached per token and layer: k and v, n_head * d_head numbers each, whatever m1 is.
// RoPE turns the end of the query chain and the key; scores see relative positions only, values none. at_write and
// at_read are one function (a rounded cache apart): cached keys are turned once, or cached unturned and all turned at
// each step.
// Source: Vaswani et al. 2017; the baseline of papers A (QKV), B, C and D (reference/papers.md A.1, E.2).
#include "variants/variant.h"

enum { W_Q2 = QKV_PARAMS, B_Q2 = W_Q2 + ATTN_CHAIN_REST, N_PARAM = B_Q2 + ATTN_CHAIN_REST };

struct mha {
	int m1, routing, relu, rope;
};

static const struct option options[] = {
        {"m1", OPTION_INT, offsetof(struct mha, m1), "1", 1, ATTN_CHAIN_MOST, NULL,
                "query matrices in a row: QKV(m1 + 1)", 1},
        ATTN_ROUTING_OPTION(struct mha, 1),
        {"relu", OPTION_BOOL, offsetof(struct mha, relu), "false", 0, 1, NULL,
                "a ReLU after each query matrix but the last", 1},
        KEY_ROPE_OPTION(struct mha, 1),
        {NULL},
};

static struct attn_chain query_chain(const struct attn_dims *d, const struct mha *c)
{
	return (struct attn_chain){
	        "w_q", "b_q", QKV_W_Q, QKV_B_Q, W_Q2, B_Q2, c->m1, d->n_head, d->d_head, c->routing, c->relu};
}

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	const struct attn_chain chain = query_chain(d, config);
	if (d->n_kv_head != d->n_head)
		return err_set(err, "mha needs n_kv_head equal to n_head (%d), not %d", d->n_head, d->n_kv_head);
	return attn_chain_check(&chain, d, "m1", err);
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const struct attn_chain chain = query_chain(d, config);
	attn_qkv_params(d, d->d_head, table);
	attn_chain_params(&chain, d, table);
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	(void)config;
	return attn_qkv_streams(d, d->d_head, table);
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *d = a->dims;
	const struct mha *c = a->config;
	const struct attn_chain chain = query_chain(d, c);
	const struct attn_heads heads = {d->n_head, d->n_head, d->d_head, d->d_head, d->d_head};
	struct attn_qkv y = attn_qkv_project(a);
	struct tensor *q = attn_chain_rest(a, &chain, y.q);
	q = attn_rotate(a, q, d->n_head, ROWS_QUERY, (struct attn_turn){0});
	struct tensor *k = attn_keys(a, QKV_K, y.k, d->n_head, (enum key_rope)c->rope);
	struct tensor *v = attn_stream(a, QKV_V, y.v);
	return attn_output(a, attn_attend(a, q, k, v, heads, NULL), QKV_W_O);
}

static int fold_config(const struct attn_dims *d, const void *config, void *folded, struct err *err)
{
	(void)d;
	const struct mha *c = config;
	struct mha *f = folded;
	if (c->relu)
		return err_set(err, "query matrices with a ReLU between them are no one matrix: set relu to false");
	*f = *c;
	f->m1 = 1;
	return 0;
}

static void fold(struct tape *tape, const struct attn_dims *d, const void *config, struct tensor *const *param,
        struct tensor *const *folded)
{
	const struct attn_chain chain = query_chain(d, config);
	attn_chain_fold(tape, &chain, param, folded);
}

static int convert(const struct attn_dims *d, const void *config, const struct attn_conversion *how,
        const struct attn_source *from, struct tensor *const *p, struct err *err)
{
	if (((const struct mha *)config)->m1 > 1)
		return err_set(err, "a trained model has one matrix of queries: set m1 to 1");
	return attn_plain_convert(d, config, how, from, p, err);
}

const struct variant variant_mha = {
        .name = "mha",
        .summary = "multi-head attention: own key and value for every head (baseline)",
        .version = 1,
        .config_bytes = sizeof(struct mha),
        .options = options,
        .equals = (const struct equals_claim[]){{"rope=at_read", "mha", ""}, {NULL, NULL, NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
        .fold_config = fold_config,
        .fold = fold,
        .convert = convert,
        .is_plain = 1,
};
