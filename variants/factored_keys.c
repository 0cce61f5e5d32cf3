// SPDX-License-Identifier: MIT
// Factored keys: W_K = up down of rank d_select. What is cached is c = x down^T; the query absorbs `up`, or keys are
// made again where RoPE stands between them. Trained from scratch, or made of a trained model by convert.
//   c = x W_latent^T: one latent of d_select numbers for all heads (per: layer), or d_select / n_kv_head for each key
//   head (per: head);  v = x W_v^T;  q = x W_q^T  (+ biases);  head h of group g, up_g the matrix of its key head:
//     per: layer  softmax((q_h up_g) c^T / sqrt(d_head)) v_g   (training without RoPE: q_h (c up_g^T)^T, the same)
//     per: head   softmax(q_h c_g^T / sqrt(d_head)) v_g        (q_h has c_g's width: up_g is in W_q)
//   out = heads W_o^T.  Without RoPE a bias of keys cancels in the softmax, and there is none.
// Cached per token and layer: latent, d_select numbers, and v, n_kv_head * d_head.
// RoPE, option `rope`; in all modes scores see relative positions only, values none:
//   at_read     k_g = c_g up_g^T + b_k is made at each read and turned, as q_h is: what a model of full keys computes,
//               at the price of all keys again at every step
//   planes      d_rope numbers of c are turned, in whole planes, each with a frequency of the model's ladder that
//               `plane` names, and the query's numbers beside them; the others never are. Cached turned, nothing is
//               made again. Exact where the model turns no more than d_rope numbers (Pythia's other three quarters)
//   own_ladder  the same with a thinner ladder of the head's own (per: head), as thin_keys has it
// Source: paper B, factored keys (reference/papers.md B.1); rope: peers.md part 4, R1; R4, R5 and R7; R6.
#include "variants/variant.h"

enum { W_Q, W_LATENT, W_V, B_Q, B_LATENT, B_V, W_UP, B_K, PLANE, W_O, B_O, N_PARAM };
enum { LATENT, V, N_STREAM };
static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const struct key_latents s = key_latents(d, config);
	const int in = d->d_model, wide = d->n_kv_head * d->d_head, n_q = d->n_head * s.d_query;
	const int makes_keys = d->n_rotary && !s.d_rope;
	table[W_Q] = attn_weight("w_q", n_q, in);
	table[W_LATENT] = attn_weight("w_latent", s.n * s.d, in);
	table[W_V] = attn_weight("w_v", wide, in);
	table[B_Q] = attn_bias(d, "b_q", n_q, in);
	table[B_LATENT] = attn_bias(d, "b_latent", s.d_rope ? s.n * s.d : 0, in);
	table[B_V] = attn_bias(d, "b_v", wide, in);
	table[W_UP] = attn_inner_weight("w_up", s.has_up ? wide : 0, s.d, s.n > 1 ? d->d_head : 0);
	table[B_K] = attn_bias(d, "b_k", makes_keys ? wide : 0, s.d);
	table[PLANE] = (struct param_shape){"plane", s.n_plane > 0, s.n_plane, INIT_ZERO, 0};
	attn_output_params(d, table, W_O);
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	const struct key_latents s = key_latents(d, config);
	table[LATENT] = (struct stream_shape){"latent", STREAM_KEY, s.n * s.d, 0, 1};
	table[V] = (struct stream_shape){"v", STREAM_VALUE, d->n_kv_head * d->d_head, 0, 1};
	return N_STREAM;
}

static struct tensor *attend(struct attn *a, int is_absorbed)
{
	const struct attn_dims *d = a->dims;
	const struct key_latents s = key_latents(d, a->config);
	const struct attn_turn whole = {0};
	struct tensor *const *p = a->param, *y[3];
	const struct attn_turn part = {
	        .n_rotary = s.d_rope, .n_ladder = s.n_ladder, .plane = p[PLANE], .n_plane_set = s.n};
	const struct linear_map map[] = {
	        {a->x_q, p[W_Q], p[B_Q]}, {a->x, p[W_LATENT], p[B_LATENT]}, {a->x, p[W_V], p[B_V]}};
	op_linear_many(a->tape, 3, map, y);
	struct tensor *q = y[0], *c = y[1], *v = attn_stream(a, V, y[2]);
	if (s.has_up && !s.d_rope && (d->n_rotary || !is_absorbed)) {
		const struct attn_heads many = {d->n_kv_head, d->n_kv_head, d->d_head, d->d_head, d->d_head};
		struct tensor *k = attn_up(a, attn_stream(a, LATENT, c), s.n, p[W_UP], p[B_K]);
		q = attn_rotate(a, q, d->n_head, ROWS_QUERY, whole);
		k = attn_rotate(a, k, d->n_kv_head, ROWS_ALL, whole);
		return attn_output(a, attn_attend(a, q, k, v, many, NULL), W_O);
	}
	const struct attn_heads thin = {s.n, d->n_kv_head, s.d, d->d_head, d->d_head};
	if (s.has_up)
		q = op_linear_heads(a->tape, q, p[W_UP], d->n_head, d->n_kv_head, 1);
	q = attn_rotate(a, q, d->n_head, ROWS_QUERY, part);
	c = attn_stream(a, LATENT, attn_rotate(a, c, s.n, ROWS_NEW, part));
	return attn_output(a, attn_attend(a, q, c, v, thin, NULL), W_O);
}

static struct tensor *forward(struct attn *a)
{
	return attend(a, 0);
}

static struct tensor *decode(struct attn *a)
{
	return attend(a, 1);
}

static int convert(const struct attn_dims *d, const void *config, const struct attn_conversion *how,
        const struct attn_source *from, struct tensor *const *p, struct err *err)
{
	const struct key_latents s = key_latents(d, config);
	if (attn_factor_check(d, how, &s, err))
		return -1;
	if (!from)
		return 0;
	const struct attn_factors f = attn_factor(from, how, &s);
	const double *x[N_PARAM] = {[W_Q] = f.q.w,
	        [B_Q] = f.q.b,
	        [W_LATENT] = f.latent.w,
	        [B_LATENT] = f.latent.b,
	        [W_V] = from->v.w,
	        [B_V] = from->v.b,
	        [W_UP] = f.up,
	        [B_K] = from->k.b,
	        [PLANE] = f.plane,
	        [W_O] = from->o.w,
	        [B_O] = from->o.b};
	for (int i = 0; i < N_PARAM; i++)
		attn_store(p[i], x[i]);
	return 0;
}

const struct variant variant_factored_keys = {
        .name = "factored_keys",
        .summary = "keys of low rank: a latent of d_select numbers is cached, queries absorb the rest (paper B)",
        .version = 1,
        .config_bytes = sizeof(struct key_latents_config),
        .options = key_latents_options,
        .check = key_latents_check,
        .params = params,
        .streams = streams,
        .forward = forward,
        .decode = decode,
        .convert = convert,
};
