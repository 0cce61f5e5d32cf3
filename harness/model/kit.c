// SPDX-License-Identifier: MIT
#include "variants/kit.h"

#include <math.h>
#include <string.h>

#include "harness/model/cache.h"

// --- rows of params() ------------------------------------------------------------------------------------------

struct param_shape attn_weight(const char *name, int out, int in)
{
	return (struct param_shape){name, out, in, INIT_WEIGHT, in};
}

struct param_shape attn_inner_weight(const char *name, int out, int in, int fan_out)
{
	return (struct param_shape){name, out, in, INIT_WEIGHT, in, fan_out, 1};
}

struct param_shape attn_bias(const struct attn_dims *dims, const char *name, int out, int in)
{
	return (struct param_shape){name, dims->bias && out ? 1 : 0, out, INIT_BIAS, in};
}

void attn_output_params(const struct attn_dims *d, struct param_shape *table, int at)
{
	table[at] = attn_inner_weight("w_o", d->d_model, d->n_head * d->d_head, 0);
	table[at + 1] = attn_bias(d, "b_o", d->d_model, d->n_head * d->d_head);
	table[at + 1].rows = d->bias_out;
}

struct tensor *attn_output(struct attn *a, struct tensor *heads, int at)
{
	return op_linear(a->tape, heads, a->param[at], a->param[at + 1]);
}

// --- separate queries, keys and values ---------------------------------------------------------------------------

int attn_qkv_params(const struct attn_dims *d, int d_qk, struct param_shape *table)
{
	const int n_q = d->n_head * d_qk, n_k = d->n_kv_head * d_qk, n_v = d->n_kv_head * d->d_head;
	table[QKV_W_Q] = attn_weight("w_q", n_q, d->d_model);
	table[QKV_W_K] = attn_weight("w_k", n_k, d->d_model);
	table[QKV_W_V] = attn_weight("w_v", n_v, d->d_model);
	table[QKV_B_Q] = attn_bias(d, "b_q", n_q, d->d_model);
	table[QKV_B_K] = attn_bias(d, "b_k", n_k, d->d_model);
	table[QKV_B_V] = attn_bias(d, "b_v", n_v, d->d_model);
	attn_output_params(d, table, QKV_W_O);
	return QKV_PARAMS;
}

int attn_qkv_streams(const struct attn_dims *d, int d_k, struct stream_shape *table)
{
	table[QKV_K] = (struct stream_shape){"k", STREAM_KEY, d->n_kv_head * d_k, 0, 1};
	table[QKV_V] = (struct stream_shape){"v", STREAM_VALUE, d->n_kv_head * d->d_head, 0, 1};
	return QKV_STREAMS;
}

struct attn_qkv attn_qkv_project(struct attn *a)
{
	struct tensor *const *p = a->param, *y[3];
	const struct linear_map map[] = {
	        {a->x_q, p[QKV_W_Q], p[QKV_B_Q]}, {a->x, p[QKV_W_K], p[QKV_B_K]}, {a->x, p[QKV_W_V], p[QKV_B_V]}};
	op_linear_many(a->tape, 3, map, y);
	return (struct attn_qkv){y[0], y[1], y[2]};
}

struct tensor *attn_first_of_group(struct attn *a, struct tensor *x)
{
	const int n_head = a->dims->n_head, n = a->dims->n_kv_head, d = x->C / n_head;
	if (n == n_head)
		return x;
	int *index = arena_alloc(a->tape->step, (size_t)n * (size_t)d * sizeof(*index));
	for (int j = 0; j < n * d; j++)
		index[j] = j / d * (n_head / n) * d + j % d;
	return op_columns(a->tape, x, n * d, index);
}

// --- rotary positions ------------------------------------------------------------------------------------------

struct tensor *attn_rotate(struct attn *a, struct tensor *x, int n_head, enum attn_rows rows, struct attn_turn turn)
{
	const struct attn_dims *d = a->dims;
	if (!d->n_rotary)
		return x;
	const int query = attn_q_position(a), first[] = {[ROWS_NEW] = query - a->q_from, [ROWS_QUERY] = query};
	const int n_rotary = turn.n_rotary ? turn.n_rotary : d->n_rotary;
	const struct rope rope = {.n_head = n_head,
	        .from = turn.from,
	        .n_rotary = n_rotary,
	        .n_ladder = turn.n_ladder ? turn.n_ladder : n_rotary,
	        .base = d->rope_base,
	        .first = rows == ROWS_ALL ? 0 : first[rows],
	        .halves = d->rope_halves,
	        .backwards = turn.backwards,
	        .scaling = d->rope_scaling};
	if (turn.plane)
		return op_rope_planes(a->tape, x, &rope, turn.plane, turn.n_plane_set);
	return op_rope(a->tape, x, &rope);
}

int attn_check_pairs(const struct attn_dims *dims, const char *what, int n, struct err *err)
{
	if (dims->n_rotary && (n < 2 || n % 2))
		return err_set(err, "rope cannot pair the %d numbers of %s: give it an even number of them", n, what);
	return 0;
}

struct tensor *attn_keys(struct attn *a, int stream, struct tensor *rows, int n_head, enum key_rope rope)
{
	if (rope == KEY_ROPE_AT_WRITE)
		return attn_stream(a, stream, attn_rotate(a, rows, n_head, ROWS_NEW, (struct attn_turn){0}));
	return attn_rotate(a, attn_stream(a, stream, rows), n_head, ROWS_ALL, (struct attn_turn){0});
}

// --- attention -------------------------------------------------------------------------------------------------

struct tensor *attn_attend(struct attn *a, struct tensor *q, struct tensor *k, struct tensor *v,
        struct attn_heads heads, struct tensor *bias)
{
	const struct attention_shape shape = {.n_head = a->dims->n_head,
	        .n_k_head = heads.n_k_head,
	        .n_v_head = heads.n_v_head,
	        .d_qk = heads.d_qk,
	        .d_v = heads.d_v,
	        .causal = a->dims->causal,
	        .q_position = attn_q_position(a),
	        .scale = 1 / sqrt(a->dims->score_scale == SCORE_SCALE_MODEL ? a->dims->d_model : heads.d_scale)};
	if (bias)
		return op_attention_biased(a->tape, q, k, v, bias, shape);
	return op_attention(a->tape, q, k, v, shape);
}

struct tensor *attn_shared(struct attn *a, int stream, struct tensor *q, struct tensor *rows, int d,
        enum shared_rope rope, struct tensor *bias)
{
	const int n_head = a->dims->n_head, n_kv_head = a->dims->n_kv_head;
	const struct attn_heads heads = {n_kv_head, n_kv_head, d, d, d};
	const struct attn_turn forth = {0}, back = {.backwards = 1};
	q = attn_rotate(a, q, n_head, ROWS_QUERY, forth);
	if (rope == SHARED_ROPE_AT_READ) {
		struct tensor *v = attn_stream(a, stream, rows), *k = attn_rotate(a, v, n_kv_head, ROWS_ALL, forth);
		return attn_attend(a, q, k, v, heads, bias);
	}
	struct tensor *kv = attn_stream(a, stream, attn_rotate(a, rows, n_kv_head, ROWS_NEW, forth));
	struct tensor *out = attn_attend(a, q, kv, kv, heads, bias);
	return rope == SHARED_ROPE_TURNED_BACK ? attn_rotate(a, out, n_head, ROWS_QUERY, back) : out;
}

struct tensor *attn_latent(
        struct attn *a, struct tensor *q, struct tensor *q_turned, struct tensor *rows, const struct attn_latent *l)
{
	const int n_head = a->dims->n_head, d = a->dims->d_head, r = l->d_latent, n = l->n_up, d_rope = l->d_rope;
	struct tensor *c = d_rope ? tensor_columns(a->tape, rows, 0, r) : rows;
	if (l->is_absorbed) {
		const struct attn_heads one = {1, 1, r + d_rope, r, l->d_scale};
		q = op_linear_heads(a->tape, q, l->w_k, n_head, n, 1);
		if (d_rope)
			q = op_join(a->tape, q, q_turned, n_head, n_head);
		return op_linear_heads(a->tape, attn_attend(a, q, rows, c, one, NULL), l->w_v, n_head, n, 0);
	}
	const struct attn_heads many = {n, n, d + d_rope, d, l->d_scale};
	const struct linear_map up[] = {{c, l->w_k, NULL}, {c, l->w_v, NULL}};
	struct tensor *y[2];
	op_linear_many(a->tape, l->w_k == l->w_v ? 1 : 2, up, y);
	struct tensor *k = y[0], *v = l->w_k == l->w_v ? y[0] : y[1];
	if (l->turns_keys) {
		q = attn_rotate(a, q, n_head, ROWS_QUERY, (struct attn_turn){0});
		k = attn_rotate(a, k, n, ROWS_ALL, (struct attn_turn){0});
	}
	if (d_rope) {
		q = op_join(a->tape, q, q_turned, n_head, n_head);
		k = op_join(a->tape, k, tensor_columns(a->tape, rows, r, d_rope), n, 1);
	}
	return attn_attend(a, q, k, v, many, NULL);
}

struct tensor *attn_up(struct attn *a, struct tensor *c, int n_c, struct tensor *w_up, struct tensor *b_up)
{
	if (n_c == 1)
		return op_linear(a->tape, c, w_up, b_up);
	struct tensor *k = op_linear_heads(a->tape, c, w_up, n_c, n_c, 0);
	if (!b_up)
		return k;
	// A bias is a table of one row that every position takes.
	const size_t n = (size_t)k->B * (size_t)k->T;
	int *zero = a->tape->mode == TAPE_COUNT ? NULL : arena_zalloc(a->tape->step, n * sizeof(*zero));
	return op_add(a->tape, k, op_embed(a->tape, zero, k->B, k->T, b_up, NULL, 0));
}

// --- the 2D position map -----------------------------------------------------------------------------------------

int attn_map_check(const struct attn_map *map, struct err *err)
{
	if (map->plus && map->m == 0)
		return err_set(err, "a 2D map needs numbers: set m to 1 or more, or plus to false");
	return 0;
}

void attn_map_params(const struct attn_map *map, const struct attn_dims *dims, struct param_shape *table, int at)
{
	const int n_map = !map->plus ? 0 : map->is_per_head ? dims->n_head : 1;
	table[at] = attn_inner_weight("w_map", n_map, map->m, 1);
	table[at + 1] = attn_bias(dims, "b_map", n_map, map->m);
}

struct tensor *attn_map_apply(struct attn *a, const struct attn_map *map, int at, struct tensor **q)
{
	if (!map->plus)
		return NULL;
	struct tensor *w = a->param[at], *b = a->param[at + 1];
	const int S = attn_q_position(a) - a->q_from + a->x->T;
	*q = op_map_gain(a->tape, *q, w, a->dims->n_head);
	const int room =
	        a->cache && a->tape->is_decoding ? a->cache->cache->capacity : S; // steps of a cache have one shape
	return op_map_bias(a->tape, w, b, S, room, (enum map_cut)map->cut);
}

// --- chains of maps --------------------------------------------------------------------------------------------

// Names outlive every table of params().
static const char *name_of(const char *first, int i)
{
	static const char *const names[][ATTN_CHAIN_MOST] = {
	        {"w_q", "w_q2", "w_q3", "w_q4"},
	        {"b_q", "b_q2", "b_q3", "b_q4"},
	        {"w_v", "w_v2", "w_v3", "w_v4"},
	        {"b_v", "b_v2", "b_v3", "b_v4"},
	};
	for (size_t row = 0; row < sizeof(names) / sizeof(*names); row++)
		if (!strcmp(names[row][0], first))
			return names[row][i];
	BUG("no chain of parameters begins with '%s'", first);
}

int attn_chain_check(const struct attn_chain *c, const struct attn_dims *dims, const char *depth, struct err *err)
{
	if (c->relu && c->depth < 2)
		return err_set(err, "relu goes between the matrices of a chain: it needs %s of 2 or more", depth);
	if (c->d_latent && c->depth != 2)
		return err_set(err, "d_latent lies between two value matrices: set %s to 2, not %d", depth, c->depth);
	if (c->d_latent > dims->d_model)
		return err_set(err, "d_latent %d is wider than d_model %d", c->d_latent, dims->d_model);
	if (c->d_latent && dims->n_rotary)
		return err_set(err, "rope cannot turn a latent, which has no heads: set d_latent to 0");
	return 0;
}

void attn_chain_params(const struct attn_chain *c, const struct attn_dims *dims, struct param_shape *table)
{
	const int wide = c->n_head * c->d, first = c->d_latent ? c->d_latent : wide;
	const int in = c->d_latent      ? c->d_latent
	               : c->is_per_head ? c->d
	                                : wide,
	          has_bias = !c->d_latent && !c->is_per_head;
	table[c->w_at] = attn_weight(c->w, first, dims->d_model);
	table[c->b_at] = attn_bias(dims, c->b, first, dims->d_model);
	for (int i = 1; i < ATTN_CHAIN_MOST; i++) {
		const int rows = i < c->depth ? wide : 0;
		table[c->w_rest + i - 1] = attn_inner_weight(name_of(c->w, i), rows, in, c->is_per_head ? c->d : 0);
		table[c->b_rest + i - 1] = attn_bias(dims, name_of(c->b, i), has_bias ? rows : 0, in);
	}
}

static struct tensor *rest(
        struct tape *tape, const struct attn_chain *c, struct tensor *const *param, struct tensor *y, int has_bias)
{
	for (int i = 0; i < c->depth - 1; i++) {
		struct tensor *w = param[c->w_rest + i], *b = has_bias ? param[c->b_rest + i] : NULL;
		if (c->relu)
			y = op_unary(tape, y, UNARY_RELU);
		y = c->is_per_head ? op_linear_heads(tape, y, w, c->n_head, c->n_head, 0) : op_linear(tape, y, w, b);
	}
	return y;
}

struct tensor *attn_chain_rest(struct attn *a, const struct attn_chain *c, struct tensor *y)
{
	return rest(a->tape, c, a->param, y, 1);
}

// The chain without biases maps unit vector i to column i of the product of its matrices; with them, the zero vector to
// its bias.
void attn_chain_fold(
        struct tape *tape, const struct attn_chain *c, struct tensor *const *param, struct tensor *const *folded)
{
	struct tensor *first = param[c->w_at], *w = folded[c->w_at], *b = folded[c->b_at];
	if (c->relu || c->d_latent)
		return;
	const int d_model = first->C;
	struct tensor *unit = tensor_new(tape, 1, d_model, d_model), *zero = tensor_new(tape, 1, 1, d_model);
	memset(unit->x, 0, (size_t)d_model * (size_t)d_model * sizeof(real));
	memset(zero->x, 0, (size_t)d_model * sizeof(real));
	for (int i = 0; i < d_model; i++)
		unit->x[(ptrdiff_t)i * d_model + i] = 1;
	const struct tensor *columns = rest(tape, c, param, op_linear(tape, unit, first, NULL), 0);
	for (int j = 0; j < w->T; j++)
		for (int i = 0; i < d_model; i++)
			w->x[j * w->t_stride + i] = columns->x[i * columns->t_stride + j];
	if (b)
		memcpy(b->x, rest(tape, c, param, op_linear(tape, zero, first, param[c->b_at]), 1)->x,
		        (size_t)b->C * sizeof(real));
}
