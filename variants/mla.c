// SPDX-License-Identifier: MIT
// Multi-head latent attention: keys and values of all heads are made of one cached latent.
//   q = x W_q^T,  c = [norm] x W_latent^T (d_latent),  k_h = c W_uk,h^T,  v_h = c W_uv,h^T,
//   head h: softmax(q_h k_h^T / sqrt(d_head)) v_h,  out = heads W_o^T
// (biases: of maps of x and of W_o; none on the maps up, of which the key's would cancel in the softmax)
// The form above trains and prefills; decode absorbs the maps up: (q_h W_uk,h) against c, the average of c through
// W_uv,h. latent_norm: c / rms(c) * gain, as DeepSeek has it.
// Cached per token and layer, as one stream, so that values are a view of it: c and the rotary part, d_latent + d_rope.
// RoPE, option `rope`; in both modes scores see relative positions only, values none:
//   decoupled     d_rope further numbers, q' = turn(x W_qr^T) per head and k' = turn(x W_kr^T) for all heads, with a
//                 ladder of their own, are joined to q_h and k_h; the scale becomes 1 / sqrt(d_head + d_rope)
//   up_projected  (paper B) k_h itself is turned, at read: no rotary part, and no absorbed form, since the turn
//                 stands between q and W_uk: decode makes all keys again at each step
// Source: DeepSeek-V2; paper B's baseline (reference/papers.md B.2.6, B.2.9; peers.md part 4, R1 and R2).
#include "variants/variant.h"

enum { W_QR, W_Q, W_LATENT, W_KR, B_QR, B_Q, B_LATENT, B_KR, GAIN, W_UK, W_UV, W_O, B_O, N_PARAM };
enum { LATENT, N_STREAM };
enum { DECOUPLED, UP_PROJECTED };

static const double NORM_EPS = 1e-6; // DeepSeek's

struct mla {
	int d_latent, d_rope, latent_norm, rope;
};

static const struct option options[] = {
        {"d_latent", OPTION_INT, offsetof(struct mla, d_latent), "0", 0, 1 << 20, NULL,
                "numbers of the latent that all heads' keys and values are made of"},
        {"d_rope", OPTION_INT, offsetof(struct mla, d_rope), "0", 0, 1 << 20, NULL,
                "numbers of the decoupled rotary part (models with position: rope)"},
        {"latent_norm", OPTION_BOOL, offsetof(struct mla, latent_norm), "false", 0, 1, NULL,
                "an RMS norm on the latent before it is cached"},
        {"rope", OPTION_CHOICE, offsetof(struct mla, rope), "decoupled", 0, 0, "decoupled|up_projected",
                "what is turned: the rotary part, or keys made of the latent (models with position: rope)"},
        {NULL},
};

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	const struct mla *c = config;
	if (d->n_kv_head != d->n_head)
		return err_set(err, "mla has one latent for all heads: leave n_kv_head at n_head (%d), not %d",
		        d->n_head, d->n_kv_head);
	if (!c->d_latent || c->d_latent > d->d_model)
		return err_set(err, "d_latent must be 1 to d_model (%d), not %d", d->d_model, c->d_latent);
	if (c->d_rope && !d->n_rotary)
		return err_set(
		        err, "d_rope %d has nothing to turn: set it to 0, or the model's position to rope", c->d_rope);
	if (c->d_rope && c->rope == UP_PROJECTED)
		return err_set(
		        err, "rope: up_projected turns keys made of the latent: set d_rope to 0, not %d", c->d_rope);
	return c->rope == DECOUPLED ? attn_check_pairs(d, "d_rope", c->d_rope, err) : 0;
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	const struct mla *c = config;
	const int wide = d->n_head * d->d_head, turned = d->n_head * c->d_rope, in = d->d_model;
	table[W_QR] = attn_weight("w_qr", turned, in);
	table[W_Q] = attn_weight("w_q", wide, in);
	table[W_LATENT] = attn_weight("w_latent", c->d_latent, in);
	table[W_KR] = attn_weight("w_kr", c->d_rope, in);
	table[B_QR] = attn_bias(d, "b_qr", turned, in);
	table[B_Q] = attn_bias(d, "b_q", wide, in);
	table[B_LATENT] = attn_bias(d, "b_latent", c->d_latent, in);
	table[B_KR] = attn_bias(d, "b_kr", c->d_rope, in);
	table[GAIN] = (struct param_shape){"latent_gain", c->latent_norm, c->d_latent, INIT_ONE, 0};
	table[W_UK] = attn_inner_weight("w_uk", wide, c->d_latent, 0);
	table[W_UV] = attn_inner_weight("w_uv", wide, c->d_latent, 0);
	attn_output_params(d, table, W_O);
	return N_PARAM;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	(void)d;
	const struct mla *c = config;
	table[LATENT] = (struct stream_shape){"latent", STREAM_VALUE, c->d_latent + c->d_rope, 0, 1};
	return N_STREAM;
}

static struct tensor *attend(struct attn *a, int is_absorbed)
{
	const struct attn_dims *d = a->dims;
	const struct mla *c = a->config;
	const struct attn_turn part = {.n_rotary = c->d_rope};
	struct tensor *const *p = a->param, *y[4], *qr = NULL;
	const struct linear_map map[] = {{a->x_q, p[W_QR], p[B_QR]}, {a->x_q, p[W_Q], p[B_Q]},
	        {a->x, p[W_LATENT], p[B_LATENT]}, {a->x, p[W_KR], p[B_KR]}};
	op_linear_many(a->tape, c->d_rope ? 4 : 2, c->d_rope ? map : map + 1, c->d_rope ? y : y + 1);
	struct tensor *latent = y[2];
	if (c->latent_norm)
		latent = op_rmsnorm(a->tape, latent, p[GAIN], NORM_EPS);
	if (c->d_rope) {
		qr = attn_rotate(a, y[0], d->n_head, ROWS_QUERY, part);
		latent = op_join(a->tape, latent, attn_rotate(a, y[3], 1, ROWS_NEW, part), 1, 1);
	}
	const struct attn_latent form = {.w_k = p[W_UK],
	        .w_v = p[W_UV],
	        .n_up = d->n_head,
	        .d_latent = c->d_latent,
	        .d_rope = c->d_rope,
	        .d_scale = d->d_head + c->d_rope,
	        .turns_keys = c->rope == UP_PROJECTED,
	        .is_absorbed = is_absorbed};
	return attn_output(a, attn_latent(a, y[1], qr, attn_stream(a, LATENT, latent), &form), W_O);
}

static struct tensor *forward(struct attn *a)
{
	return attend(a, 0);
}

static struct tensor *decode(struct attn *a)
{
	return attend(a, ((const struct mla *)a->config)->rope == DECOUPLED);
}

const struct variant variant_mla = {
        .name = "mla",
        .summary = "multi-head latent attention: one cached latent and a small rotary part",
        .version = 1,
        .config_bytes = sizeof(struct mla),
        .options = options,
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
        .decode = decode,
};
