// SPDX-License-Identifier: MIT
// Keyless attention of depth m1 + m2, QVV(m): no key matrix; the value is what the query is compared with.
//   q = x W_q^T W_q2^T ... (m1 matrices),  v = x W_v^T W_v2^T ... (m2),
//   head h of group g: softmax(q_h v_g^T / sqrt(d_head)) v_g,  out = heads W_o^T
// routing: matrices after the first act on all heads (full) or within each (per_head, no biases; the paper leaves it
// open). Every query head has its own chain end, a group shares v. relu: after each matrix of that chain but the last.
// Latent (d_latent = r, m2 = 2): c = x W_v^T is one vector for all heads, v_g = c W_v2,g^T, and head h is
//   softmax((q_h W_v2,g) c^T / sqrt(r)) c W_v2,g^T (Eq 15): decode takes this form, training v_g itself.
// Chains stay apart in training; fold multiplies them for inference: one query product, no key product.
// Cached per token and layer: v, n_kv_head * d_head numbers; latent: c, d_latent numbers.
// RoPE (the paper says nothing) turns the ends of both chains, so that folding stays exact; modes as in shared_kv.
// Source: paper A (reference/papers.md A.1). Equals shared_kv at m1 = m2 = 1, and is the same function when folded.
#include "variants/variant.h"

enum { W_Q, W_V, W_Q2, W_V2 = W_Q2 + ATTN_CHAIN_REST, B_Q = W_V2 + ATTN_CHAIN_REST, B_V, B_Q2 };
enum { B_V2 = B_Q2 + ATTN_CHAIN_REST, W_O = B_V2 + ATTN_CHAIN_REST, B_O, N_PARAM };
enum { V, N_STREAM };
enum { RELU_QUERY = 1, RELU_VALUE = 2 }; // bits of the choice

struct keyless {
	int m1, m2, routing, relu, d_latent, rope;
};

static const struct option options[] = {
        {"m1", OPTION_INT, offsetof(struct keyless, m1), "2", 1, ATTN_CHAIN_MOST, NULL, "query matrices in a row"},
        {"m2", OPTION_INT, offsetof(struct keyless, m2), "1", 1, ATTN_CHAIN_MOST, NULL, "value matrices in a row"},
        ATTN_ROUTING_OPTION(struct keyless, 0),
        {"relu", OPTION_CHOICE, offsetof(struct keyless, relu), "none", 0, 0, "none|query|value|both",
                "chains with a ReLU between their matrices"},
        {"d_latent", OPTION_INT, offsetof(struct keyless, d_latent), "0", 0, 1 << 20, NULL,
                "numbers of the one latent that is cached instead of values; 0: none"},
        SHARED_ROPE_OPTION(struct keyless),
        {NULL},
};

struct chains {
	struct attn_chain query, value;
};

static struct chains chains_of(const struct attn_dims *d, const void *config)
{
	const struct keyless *c = config;
	return (struct chains){
	        {"w_q", "b_q", W_Q, B_Q, W_Q2, B_Q2, c->m1, d->n_head, d->d_head, c->routing, c->relu & RELU_QUERY},
	        {"w_v", "b_v", W_V, B_V, W_V2, B_V2, c->m2, d->n_kv_head, d->d_head, c->routing, c->relu & RELU_VALUE,
	                c->d_latent}};
}

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	const struct chains chain = chains_of(d, config);
	if (attn_chain_check(&chain.query, d, "m1", err))
		return -1;
	return attn_chain_check(&chain.value, d, "m2", err);
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const struct chains chain = chains_of(d, config);
	attn_chain_params(&chain.query, d, table);
	attn_chain_params(&chain.value, d, table);
	attn_output_params(d, table, W_O);
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	const int r = ((const struct keyless *)config)->d_latent;
	table[V] = (struct stream_shape){r ? "latent" : "v", STREAM_VALUE, r ? r : d->n_kv_head * d->d_head, 0, 1};
	return N_STREAM;
}

static struct tensor *attend(struct attn *a, int is_absorbed)
{
	const struct attn_dims *d = a->dims;
	const struct keyless *c = a->config;
	const struct chains chain = chains_of(d, c);
	struct tensor *const *p = a->param, *y[2];
	const struct linear_map map[] = {{a->x_q, p[W_Q], p[B_Q]}, {a->x, p[W_V], p[B_V]}};
	op_linear_many(a->tape, 2, map, y);
	struct tensor *q = attn_chain_rest(a, &chain.query, y[0]), *v = y[1], *heads;
	if (c->d_latent) {
		const int r = c->d_latent, n = d->n_kv_head;
		v = attn_stream(a, V, chain.value.relu ? op_unary(a->tape, v, UNARY_RELU) : v);
		heads = attn_latent(a, q, NULL, v, &(struct attn_latent){p[W_V2], p[W_V2], n, r, 0, r, 0, is_absorbed});
	} else {
		v = attn_chain_rest(a, &chain.value, v);
		heads = attn_shared(a, V, q, v, d->d_head, (enum shared_rope)c->rope, NULL);
	}
	return attn_output(a, heads, W_O);
}

static struct tensor *forward(struct attn *a)
{
	return attend(a, 0);
}

static struct tensor *decode(struct attn *a)
{
	return attend(a, 1);
}

static int fold_config(const struct attn_dims *d, const void *config, void *folded, struct err *err)
{
	(void)d;
	const struct keyless *c = config;
	struct keyless *f = folded;
	*f = *c;
	f->m1 = c->relu & RELU_QUERY ? c->m1 : 1;
	f->m2 = c->relu & RELU_VALUE || c->d_latent ? c->m2 : 1;
	if (c->relu && f->m1 == c->m1 && f->m2 == c->m2)
		return err_set(err, "chains with a ReLU between their matrices are no one matrix: set relu to none");
	return 0;
}

static void fold(struct tape *tape, const struct attn_dims *d, const void *config, struct tensor *const *param,
        struct tensor *const *folded)
{
	const struct chains chain = chains_of(d, config);
	attn_chain_fold(tape, &chain.query, param, folded);
	attn_chain_fold(tape, &chain.value, param, folded);
}

static int convert(const struct attn_dims *d, const void *config, const struct attn_conversion *how,
        const struct attn_source *from, struct tensor *const *p, struct err *err)
{
	const struct chains chain = chains_of(d, config);
	const int rope = ((const struct keyless *)config)->rope;
	return attn_shared_convert(d, how, from, &chain.query, &chain.value, rope, W_O, p, err);
}

const struct variant variant_keyless = {
        .name = "keyless",
        .summary = "no keys: queries are compared with values; chains of m1 and m2 matrices (paper A)",
        .version = 1,
        .config_bytes = sizeof(struct keyless),
        .options = options,
        .equals = (const struct equals_claim[]){{"m1=1 m2=1", "shared_kv", ""},
                {"m1=1 m2=1 rope=turned_back", "shared_kv", "rope=turned_back"}, {NULL, NULL, NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
        .decode = decode,
        .fold_config = fold_config,
        .fold = fold,
        .convert = convert,
};
