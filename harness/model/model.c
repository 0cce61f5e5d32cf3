// SPDX-License-Identifier: MIT
// Shapes, memory and initial weights of a model. Its forward pass is in forward.c.
#include "harness/model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Parameters start on 64-byte boundaries only where a block begins; neighbours of one layer's attention follow each
// other without gaps (when their sizes allow), so that products over the same input can be one (op_linear_many).
enum { PARAMS_PER_LAYER = VARIANT_PARAMS + 8, PARAMS_OUTSIDE = 11 };

static struct tensor *add(struct model *m, const char *name, int rows, int cols, enum param_init init, int fan_in)
{
	struct model_param *p = &m->param[m->n_param++];
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->tensor = (struct tensor){.B = 1, .T = rows, .C = cols, .b_stride = (ptrdiff_t)rows * cols, .t_stride = cols};
	p->init = init;
	p->fan_in = fan_in;
	p->fan_out = rows;
	p->decays = init == INIT_WEIGHT;
	m->n_number += (long)rows * cols;
	return &p->tensor;
}

static struct tensor *add_layer(
        struct model *m, int layer, const char *name, int rows, int cols, enum param_init init, int fan_in)
{
	char full[40];
	snprintf(full, sizeof(full), "layer.%d.%s", layer, name);
	return add(m, full, rows, cols, init, fan_in);
}

// init: torch_xavier takes neighbouring maps of the layer's input for one matrix, as scripts with a fused qkv have it.
// Others, which read what those have made, stand alone.
static int is_joined(const struct param_shape *a, const struct param_shape *b)
{
	return a->init == INIT_WEIGHT && b->init == INIT_WEIGHT && a->cols == b->cols && !a->is_inner && !b->is_inner;
}

static void join_fan_out(struct param_shape *shape, int n)
{
	for (int from = 0, to; from < n; from = to) {
		int rows = shape[from].rows;
		for (to = from + 1; to < n && is_joined(&shape[from], &shape[to]); to++)
			rows += shape[to].rows;
		for (int i = from; i < to && to - from > 1; i++)
			shape[i].fan_out = rows;
	}
}

static void init_attention(struct model *m, int i)
{
	struct param_shape shape[VARIANT_PARAMS];
	struct attn_dims dims = m->dims;
	dims.layer = i;
	const int n = m->variant->params(&dims, m->variant_config, shape);
	if (n > VARIANT_PARAMS)
		BUG("variant '%s' has %d parameters, more than %d", m->variant->name, n, VARIANT_PARAMS);
	if (m->config.init == INIT_KIND_TORCH_XAVIER)
		join_fan_out(shape, n);
	for (int p = 0; p < n; p++) {
		if (!shape[p].rows)
			continue;
		m->layer[i].attn[p] =
		        add_layer(m, i, shape[p].name, shape[p].rows, shape[p].cols, shape[p].init, shape[p].fan_in);
		struct model_param *param = &m->param[m->n_param - 1];
		param->is_attention = 1;
		if (shape[p].fan_out)
			param->fan_out = shape[p].fan_out;
	}
}

static void init_layer(struct model *m, int i)
{
	const struct model_config *c = &m->config;
	struct model_layer *l = &m->layer[i];
	const int has_norm_bias = c->bias && c->norm == NORM_LAYER,
	          ff_rows = c->activation == ACT_SWIGLU ? 2 * c->d_ff : c->d_ff;
	l->norm1_gain = add_layer(m, i, "norm1_gain", 1, c->d_model, INIT_ONE, 0);
	if (has_norm_bias)
		l->norm1_bias = add_layer(m, i, "norm1_bias", 1, c->d_model, INIT_ZERO, 0);
	init_attention(m, i);
	l->norm2_gain = add_layer(m, i, "norm2_gain", 1, c->d_model, INIT_ONE, 0);
	if (has_norm_bias)
		l->norm2_bias = add_layer(m, i, "norm2_bias", 1, c->d_model, INIT_ZERO, 0);
	l->ff_in = add_layer(m, i, "ff_in", ff_rows, c->d_model, INIT_WEIGHT, c->d_model);
	if (c->bias)
		l->ff_in_bias = add_layer(m, i, "ff_in_bias", 1, ff_rows, INIT_BIAS, c->d_model);
	l->ff_out = add_layer(m, i, "ff_out", c->d_model, c->d_ff, INIT_WEIGHT, c->d_ff);
	if (c->bias)
		l->ff_out_bias = add_layer(m, i, "ff_out_bias", 1, c->d_model, INIT_BIAS, c->d_ff);
}

static struct tensor *add_norm(struct model *m, const char *gain, const char *bias_name, struct tensor **bias)
{
	struct tensor *t = add(m, gain, 1, m->config.d_model, INIT_ONE, 0);
	if (m->config.bias && m->config.norm == NORM_LAYER)
		*bias = add(m, bias_name, 1, m->config.d_model, INIT_ZERO, 0);
	return t;
}

// A linear map of one-hot vectors is a table of its columns: (n_vocab, d_model) like the other, drawn as the map.
static void init_one_hot(struct model *m)
{
	const struct model_config *c = &m->config;
	m->token = add(m, "token", c->n_vocab, c->d_model, INIT_WEIGHT, c->n_vocab);
	m->param[m->n_param - 1].fan_out = c->d_model;
	m->token_bias = add(m, "token_bias", 1, c->d_model, INIT_BIAS, c->n_vocab);
}

static void init_head(struct model *m)
{
	const struct model_config *c = &m->config;
	if (c->head == HEAD_MLP) {
		m->head_in = add(m, "head_in", c->d_model, c->d_model, INIT_WEIGHT, c->d_model);
		if (c->bias)
			m->head_in_bias = add(m, "head_in_bias", 1, c->d_model, INIT_BIAS, c->d_model);
		m->head_norm_gain = add_norm(m, "head_norm_gain", "head_norm_bias", &m->head_norm_bias);
	}
	m->head = c->tied_head ? m->token : add(m, "head", c->n_vocab, c->d_model, INIT_WEIGHT, c->d_model);
	if (c->head_bias)
		m->head_bias = add(m, "head_bias", 1, c->n_vocab, INIT_BIAS, c->d_model);
}

static struct tensor *add_embedding(struct model *m, const char *name, int rows)
{
	struct tensor *t = add(m, name, rows, m->config.d_model, INIT_WEIGHT, m->config.d_model);
	m->param[m->n_param - 1].is_embedding = 1;
	return t;
}

void model_init(struct model *m, const struct model_config *config, const struct variant *variant,
        const void *variant_config, struct arena *arena)
{
	memset(m, 0, sizeof(*m));
	m->config = *config;
	m->dims = model_attn_dims(config);
	m->variant = variant;
	m->variant_config = variant_config;
	m->home = &backend_cpu;
	const size_t most = (size_t)config->n_layer * PARAMS_PER_LAYER + PARAMS_OUTSIDE;
	m->param = arena_zalloc(arena, most * sizeof(*m->param));
	m->layer = arena_zalloc(arena, (size_t)config->n_layer * sizeof(*m->layer));
	if (config->token_input == TOKEN_INPUT_ONE_HOT)
		init_one_hot(m);
	else
		m->token = add_embedding(m, "token", config->n_vocab);
	if (config->position == POSITION_LEARNED)
		m->position = add_embedding(m, "position", config->n_ctx);
	for (int i = 0; i < config->n_layer; i++)
		init_layer(m, i);
	if (config->final_norm)
		m->norm_gain = add_norm(m, "norm_gain", "norm_bias", &m->norm_bias);
	init_head(m);
	// Every parameter begins on its own boundary unless the one before ends on one anyway.
	for (int p = 0; p < m->n_param; p++)
		m->n_padded += model_padded(&m->param[p].tensor);
	m->n_trained = m->n_padded;
}

real *model_sinusoid(const struct model_config *c, struct arena *arena)
{
	real *table = arena_alloc(arena, (size_t)c->n_ctx * (size_t)c->d_model * sizeof(real));
	for (int t = 0; t < c->n_ctx; t++)
		for (int j = 0; j < c->d_model; j += 2) {
			double angle = t * pow(10000, -(double)j / c->d_model);
			table[(ptrdiff_t)t * c->d_model + j] = (real)sin(angle);
			table[(ptrdiff_t)t * c->d_model + j + 1] = (real)cos(angle);
		}
	return table;
}

void model_allocate(struct model *m, int with_gradients, struct arena *arena)
{
	m->x = arena_zalloc(arena, (size_t)m->n_padded * sizeof(real));
	m->dx = with_gradients ? arena_alloc(arena, (size_t)m->n_trained * sizeof(real)) : NULL;
	long at = 0;
	for (int p = 0; p < m->n_param; p++) {
		struct tensor *t = &m->param[p].tensor;
		t->x = m->x + at;
		at += model_padded(t);
	}
	m->n_gradient = m->dx ? m->n_trained : 0;
	model_place_gradients(m);
	if (m->config.position == POSITION_SINUSOIDAL)
		m->sinusoid = model_sinusoid(&m->config, arena);
}

struct model_param *model_find(const struct model *m, const char *name)
{
	for (int p = 0; p < m->n_param; p++)
		if (!strcmp(m->param[p].name, name))
			return &m->param[p];
	return NULL;
}

void model_clear_gradients(struct model *m)
{
	for (int p = 0; p < m->n_param; p++)
		m->param[p].tensor.is_live = 0;
}

void model_settle_gradients(struct model *m)
{
	for (int p = 0; p < m->n_param; p++) {
		const struct tensor *t = &m->param[p].tensor;
		if (t->dx && !t->is_live)
			model_clear(m, t->dx, (long)t->T * t->C);
	}
}
