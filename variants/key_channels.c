// SPDX-License-Identifier: MIT
// Pruned key channels: of every key head only d_keep of its d_head channels are scored, and only they are cached.
//   q = x W_q^T,  k = x W_k^T,  v = x W_v^T   (+ biases),  out = heads W_o^T,
//   head h of group g: softmax(q_h[C_g] k_g[C_g]^T / sqrt(d_head)) v_g
//   C_g: the d_keep channels c with the largest sum over the heads h of group g of |row c of W_q,h| |row c of W_k,g|,
//   lengths of rows with their biases; ties go to the lower channel
// ThinK chooses after the prompt, from |Q_c| |K_c| of its activations, so each prompt keeps other channels. Here the
// choice is a function of the weights alone, the same in training and decode and for every token: decode equals
// forward, and the cached keys are physically smaller.
// Cached per token and layer: k (n_kv_head * d_keep numbers) and v (n_kv_head * d_head numbers).
// RoPE turns keys before channels are taken, and whole planes are taken (channels that are not turned go in pairs of
// neighbours): scores see relative positions only, values none.
// Source: after ThinK (peers.md part 4, R5). Equals gqa (and mha) at d_keep = d_head.
#include "variants/variant.h"

#include <math.h>

struct key_channels {
	int d_keep;
};

static const struct option options[] = {
        {"d_keep", OPTION_INT, offsetof(struct key_channels, d_keep), "0", 0, 1 << 20, NULL,
                "channels kept of each key head, 1 to d_head"},
        {NULL},
};

static int check(const struct attn_dims *d, const void *config, struct err *err)
{
	const struct key_channels *c = config;
	if (c->d_keep < 1 || c->d_keep > d->d_head)
		return err_set(err, "d_keep must be 1 to d_head (%d), not %d", d->d_head, c->d_keep);
	if (attn_check_pairs(d, "d_keep", c->d_keep, err))
		return -1;
	return attn_check_pairs(d, "a head (d_head)", d->d_head, err);
}

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	(void)config;
	return attn_qkv_params(d, d->d_head, table);
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	return attn_qkv_streams(d, ((const struct key_channels *)config)->d_keep, table);
}

struct map { // where the host can read it, as reals
	const real *w, *b;
	int C;
};

static struct map map_of(const struct attn *a, int w_at, int b_at)
{
	if (a->tape->mode == TAPE_COUNT)
		return (struct map){0};
	const struct tensor *w = op_reals(a->tape, a->param[w_at]), *b = a->param[b_at];
	return (struct map){tensor_on_host(a->tape, w), b ? tensor_on_host(a->tape, b) : NULL, w->C};
}

static double length(const struct map *m, int row)
{
	const real *x = m->w + (ptrdiff_t)row * m->C;
	double part[8] = {0}, sum = m->b ? (double)m->b[row] * (double)m->b[row] : 0; // parts: as fast as memory
	for (int i = 0; i + 8 <= m->C; i += 8)
		for (int j = 0; j < 8; j++)
			part[j] += (double)x[i + j] * (double)x[i + j];
	for (int i = m->C / 8 * 8; i < m->C; i++)
		sum += (double)x[i] * (double)x[i];
	for (int j = 0; j < 8; j++)
		sum += part[j];
	return sqrt(sum);
}

// Channel that turns with channel c of a head, or its neighbour; c itself without rotary positions.
static int partner(const struct attn_dims *d, int c)
{
	const int half = d->n_rotary / 2;
	if (d->rope_halves && c < d->n_rotary)
		return c < half ? c + half : c - half;
	return d->n_rotary ? c ^ 1 : c;
}

// channel (d_keep): those that key head g keeps, in ascending order.
static void choose(const struct attn *a, const struct map *map, int g, int d_keep, int *channel)
{
	const struct attn_dims *d = a->dims;
	const int d_head = d->d_head, n_group = d->n_head / d->n_kv_head;
	double *score = arena_zalloc(a->tape->step, (size_t)d_head * sizeof(*score));
	char *is_kept = arena_zalloc(a->tape->step, (size_t)d_head);
	for (int c = 0; c < d_head && a->tape->mode != TAPE_COUNT; c++) {
		const double k = length(&map[QKV_W_K], g * d_head + c);
		for (int h = g * n_group; h < (g + 1) * n_group; h++)
			score[c] += k * length(&map[QKV_W_Q], h * d_head + c);
	}
	for (int n = 0; n < d_keep;) {
		int best = -1;
		double most = 0;
		for (int c = 0; c < d_head; c++) {
			const int p = partner(d, c);
			const double both = score[c] + (p == c ? 0 : score[p]);
			if (!is_kept[c] && (best < 0 || both > most))
				best = c, most = both;
		}
		is_kept[best] = is_kept[partner(d, best)] = 1;
		n += d->n_rotary ? 2 : 1;
	}
	for (int c = 0, n = 0; c < d_head; c++)
		if (is_kept[c])
			channel[n++] = c;
}

static struct tensor *forward(struct attn *a)
{
	const struct attn_dims *d = a->dims;
	const int d_keep = ((const struct key_channels *)a->config)->d_keep, n = d->n_kv_head, n_group = d->n_head / n;
	int *of_k = arena_alloc(a->tape->step, (size_t)(n * d_keep) * sizeof(int));
	int *of_q = arena_alloc(a->tape->step, (size_t)(d->n_head * d_keep) * sizeof(int));
	const struct map map[] = {[QKV_W_Q] = map_of(a, QKV_W_Q, QKV_B_Q), [QKV_W_K] = map_of(a, QKV_W_K, QKV_B_K)};
	for (int g = 0; g < n; g++)
		choose(a, map, g, d_keep, of_k + g * d_keep);
	for (int j = 0; j < d->n_head * d_keep; j++)
		of_q[j] = j / d_keep * d->d_head + of_k[j / d_keep / n_group * d_keep + j % d_keep];
	for (int j = 0; j < n * d_keep; j++)
		of_k[j] += j / d_keep * d->d_head;
	struct attn_qkv y = attn_qkv_project(a);
	struct tensor *q = attn_rotate(a, y.q, d->n_head, ROWS_QUERY, (struct attn_turn){0});
	struct tensor *k = attn_rotate(a, y.k, n, ROWS_NEW, (struct attn_turn){0});
	q = op_columns(a->tape, q, d->n_head * d_keep, of_q);
	k = attn_stream(a, QKV_K, op_columns(a->tape, k, n * d_keep, of_k));
	struct tensor *v = attn_stream(a, QKV_V, y.v);
	const struct attn_heads heads = {n, n, d_keep, d->d_head, d->d_head};
	return attn_output(a, attn_attend(a, q, k, v, heads, NULL), QKV_W_O);
}

const struct variant variant_key_channels = {
        .name = "key_channels",
        .summary = "keys pruned to the d_keep channels a head whose weights matter most (after ThinK)",
        .version = 1,
        .config_bytes = sizeof(struct key_channels),
        .options = options,
        .equals = (const struct equals_claim[]){{"d_keep=d_head", "gqa", ""}, {NULL, NULL, NULL}},
        .check = check,
        .params = params,
        .streams = streams,
        .forward = forward,
};
