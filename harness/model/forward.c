// SPDX-License-Identifier: MIT
// One forward pass for everything: training, evaluation, prefill and decode (with a cache), counting.
#include "harness/model/model.h"

static struct tensor *norm(
        struct tape *tape, const struct model *m, struct tensor *x, struct tensor *gain, struct tensor *bias)
{
	if (m->config.norm == NORM_RMS)
		return op_rmsnorm(tape, x, gain, m->config.norm_eps);
	return op_layernorm(tape, x, gain, bias, m->config.norm_eps);
}

static struct tensor *feed_forward(
        struct tape *tape, const struct model *m, const struct model_layer *l, struct tensor *x)
{
	static const enum unary unary[] = {
	        [ACT_GELU] = UNARY_GELU, [ACT_RELU] = UNARY_RELU, [ACT_GELU_NEW] = UNARY_GELU_NEW};
	struct tensor *h = op_linear(tape, x, l->ff_in, l->ff_in_bias);
	if (m->config.activation == ACT_SWIGLU)
		h = op_swiglu(tape, h);
	else
		h = op_unary(tape, h, unary[m->config.activation]);
	if (m->config.dropout_hidden)
		h = op_dropout(tape, h, m->config.dropout);
	return op_linear(tape, h, l->ff_out, l->ff_out_bias);
}

static struct tensor *attention(
        struct tape *tape, const struct model *m, int layer, struct tensor *x, int q_from, int n_q, struct cache *cache)
{
	struct attn_dims dims = m->dims;
	dims.layer = layer;
	struct attn a = {.tape = tape,
	        .dims = &dims,
	        .config = m->variant_config,
	        .param = m->layer[layer].attn,
	        .x = x,
	        .x_q = op_rows(tape, x, q_from, n_q),
	        .q_from = q_from,
	        .cache = cache ? &cache->layer[layer] : NULL};
	// The fast path is for steps that add few positions to what is cached.
	if (cache && cache->length && m->variant->decode)
		return m->variant->decode(&a);
	return m->variant->forward(&a);
}

// Block `layer` on x (B, T, d_model); returns rows q_from..q_from+n_q-1 of its output.
static struct tensor *block(
        struct tape *tape, const struct model *m, int layer, struct tensor *x, int q_from, int n_q, struct cache *cache)
{
	const struct model_layer *l = &m->layer[layer];
	const double p = m->config.dropout;
	struct tensor *x_q = op_rows(tape, x, q_from, n_q);
	if (m->config.norm_place == NORM_PRE) {
		struct tensor *h = norm(tape, m, x, l->norm1_gain, l->norm1_bias);
		h = attention(tape, m, layer, h, q_from, n_q, cache);
		struct tensor *y = op_add(tape, x_q, op_dropout(tape, h, p));
		if (m->config.residual == RESIDUAL_SEQUENTIAL)
			x_q = y;
		h = norm(tape, m, x_q, l->norm2_gain, l->norm2_bias);
		return op_add(tape, y, op_dropout(tape, feed_forward(tape, m, l, h), p));
	}
	struct tensor *h = attention(tape, m, layer, x, q_from, n_q, cache);
	x_q = norm(tape, m, op_add(tape, x_q, op_dropout(tape, h, p)), l->norm1_gain, l->norm1_bias);
	h = feed_forward(tape, m, l, x_q);
	return norm(tape, m, op_add(tape, x_q, op_dropout(tape, h, p)), l->norm2_gain, l->norm2_bias);
}

// The same as a piece of the tape that may be run again.
struct block_run {
	const struct model *m;
	int layer, q_from, n_q;
};

static struct tensor *run_block(struct tape *tape, struct tensor *x, const void *args)
{
	const struct block_run *r = args;
	return block(tape, r->m, r->layer, x, r->q_from, r->n_q, NULL);
}

// (B, T, d_model): tokens and what is added for their positions (rope adds nothing).
static struct tensor *embed(struct tape *tape, struct model *m, const int *tokens, int B, int T, int first)
{
	struct tensor *position = m->position;
	if (m->config.position == POSITION_SINUSOIDAL) { // a table without a gradient
		position = arena_alloc(tape->step, sizeof(*position));
		*position = (struct tensor){.B = 1, .T = m->config.n_ctx, .C = m->config.d_model, .x = m->sinusoid};
	}
	if (!m->token_bias)
		return op_embed(tape, tokens, B, T, m->token, position, first);
	// A bias is a table of one row that every token takes.
	int *zero = tape->mode == TAPE_COUNT ? NULL : arena_zalloc(tape->step, (size_t)B * (size_t)T * sizeof(int));
	struct tensor *x = op_embed(tape, tokens, B, T, m->token, NULL, 0); // first: a played step's tokens (tape.h)
	return op_add(tape, x, op_embed(tape, zero, B, T, m->token_bias, position, first));
}

// What the last linear map of the head reads.
static struct tensor *head_input(struct tape *tape, const struct model *m, struct tensor *x)
{
	if (m->config.head != HEAD_MLP)
		return x;
	x = norm(tape, m, op_linear(tape, x, m->head_in, m->head_in_bias), m->head_norm_gain, m->head_norm_bias);
	return op_dropout(tape, op_unary(tape, x, UNARY_RELU), m->config.dropout);
}

// Without gradients nothing of a block is needed but its output x, which moves to where the block's memory began. It
// was not the first tensor of the block, so nothing is put over it before it has moved.
static struct tensor *keep_output(struct tape *tape, struct tape_mark begin, const struct tensor *x)
{
	const struct tensor from = *x;
	const struct exec exec = op_exec(tape);
	tape_rewind(tape, begin);
	struct tensor *kept = tensor_new(tape, from.B, from.T, from.C);
	tape->backend->move(&exec, kept->x, from.x, (size_t)from.B * (size_t)from.T * (size_t)from.C * sizeof(real));
	return kept;
}

// Everything before that map.
static struct tensor *body(
        struct tape *tape, struct model *m, const int *tokens, int B, int T, int q_from, int n_q, struct cache *cache)
{
	tape->is_decoding = cache && (cache->length ? T <= DECODE_ROWS : T == 1) && tape->mode != TAPE_RECORD &&
	                    tape->backend->attention_stored;
	struct tensor *x = embed(tape, m, tokens, B, T, cache ? cache->length : 0);
	if (m->config.dropout_embedding)
		x = op_dropout(tape, x, m->config.dropout);
	for (int layer = 0; layer < m->config.n_layer; layer++) {
		const int is_last = layer == m->config.n_layer - 1;
		const struct tape_mark begin = tape_mark(tape);
		const struct block_run run = {m, layer, is_last ? q_from : 0, is_last ? n_q : T};
		x = m->recomputes && !cache ? op_recompute(tape, run_block, x, &run, sizeof(run))
		                            : block(tape, m, layer, x, run.q_from, run.n_q, cache);
		if (tape->mode == TAPE_RUN && x->is_own && x->t_stride == x->C && tensor_is_matrix(x))
			x = keep_output(tape, begin, x);
	}
	if (cache)
		cache->length += T;
	if (m->config.final_norm)
		x = norm(tape, m, x, m->norm_gain, m->norm_bias);
	return head_input(tape, m, x);
}

struct tensor *model_forward(
        struct tape *tape, struct model *m, const int *tokens, int B, int T, int q_from, int n_q, struct cache *cache)
{
	return op_linear(tape, body(tape, m, tokens, B, T, q_from, n_q, cache), m->head, m->head_bias);
}

struct loss model_loss(struct tape *tape, struct model *m, const int *tokens, int B, int T, int q_from, int n_q,
        struct cache *cache, const int *targets, double *row_loss)
{
	struct tensor *x = body(tape, m, tokens, B, T, q_from, n_q, cache);
	return op_linear_cross_entropy(tape, x, m->head, m->head_bias, targets, row_loss);
}
