// SPDX-License-Identifier: MIT
#include "harness/model/convert.h"

#include <string.h>

#include "harness/model/convert_heads.h"

enum { CHUNK = 1 << 22 };

const struct option conversion_options[] = {
        CONVERSION_OPTIONS(0),
        {NULL},
};

static double *in_double(const struct tensor *t, struct arena *arena)
{
	if (!t)
		return NULL;
	double *x = arena_alloc(arena, (size_t)t->T * (size_t)t->C * sizeof(*x));
	for (int i = 0; i < t->T; i++)
		for (int j = 0; j < t->C; j++)
			x[(ptrdiff_t)i * t->C + j] = (double)t->x[i * t->t_stride + j];
	return x;
}

static struct affine affine_of(struct tensor *const *param, int w, int b, struct arena *arena)
{
	return (struct affine){param[w]->T, param[w]->C, in_double(param[w], arena), in_double(param[b], arena)};
}

struct attn_source convert_source(
        const struct model *m, int layer, const struct calibration *calibration, struct arena *arena)
{
	struct tensor *const *p = m->layer[layer].attn;
	const ptrdiff_t d = m->config.d_model;
	return (struct attn_source){.dims = &m->dims,
	        .q = affine_of(p, QKV_W_Q, QKV_B_Q, arena),
	        .k = affine_of(p, QKV_W_K, QKV_B_K, arena),
	        .v = affine_of(p, QKV_W_V, QKV_B_V, arena),
	        .o = affine_of(p, QKV_W_O, QKV_B_O, arena),
	        .moment = calibration ? calibration->moment + layer * d * d : NULL,
	        .mean = calibration ? calibration->mean + layer * d : NULL,
	        .arena = arena};
}

void attn_store(struct tensor *t, const double *x)
{
	if (!t)
		return;
	if (!x)
		BUG("a conversion leaves a parameter of %d x %d without values", t->T, t->C);
	for (int i = 0; i < t->T; i++)
		for (int j = 0; j < t->C; j++)
			t->x[i * t->t_stride + j] = (real)x[(ptrdiff_t)i * t->C + j];
}

static int is_plain(const struct model *m)
{
	struct param_shape shape[VARIANT_PARAMS];
	const int n = m->variant->params(&m->dims, m->variant_config, shape);
	for (int i = QKV_PARAMS; i < n; i++)
		if (shape[i].rows) // a chain of matrices
			return 0;
	return m->variant->is_plain;
}

struct model_config model_convert_config(const struct model_config *from, const struct attn_conversion *how)
{
	struct model_config config = *from;
	if (how->n_kv_head)
		config.n_kv_head = how->n_kv_head;
	return config;
}

int model_convert_check(const struct model_config *from, const struct model_conversion *c, struct err *err)
{
	const struct variant *v = c->variant;
	const struct model_config config = model_convert_config(from, &c->how);
	const struct attn_dims dims = model_attn_dims(&config);
	if (!v->convert)
		return err_set(err, "variant '%s' cannot be made of a trained model", v->name);
	if (config.n_kv_head < 1 || from->n_kv_head % config.n_kv_head)
		return err_set(err, "n_kv_head must divide the model's %d key heads, which %d does not",
		        from->n_kv_head, config.n_kv_head);
	if (v->check && v->check(&dims, c->config, err))
		return -1;
	if (v->convert(&dims, c->config, &c->how, NULL, NULL, err))
		return -1;
	return c->how.ranks != RANKS_UNIFORM ? convert_check_ranks(&config, c, err) : 0;
}

static int check(const struct model *in, const struct model_conversion *c, struct err *err)
{
	if (!is_plain(in))
		return err_set(err,
		        "a conversion begins with separate queries, keys and values (mha, gqa or mqa), not with "
		        "variant '%s'",
		        in->variant->name);
	if (c->how.whiten && !c->calibration)
		return err_set(err, "whiten needs a calibration text");
	if (c->how.ranks == RANKS_FISHER && !(c->calibration && c->calibration->fisher))
		return err_set(err, "ranks: fisher needs a calibration text");
	return model_convert_check(&in->config, c, err);
}

int model_convert(struct model *out, const struct model *in, const struct model_conversion *c, struct arena *arena,
        struct err *err)
{
	const struct model_config config = model_convert_config(&in->config, &c->how);
	const void *setting = c->config;
	if (check(in, c, err))
		return -1;
	if (c->how.ranks != RANKS_UNIFORM)
		setting = convert_share_ranks(in, &config, c, arena, err);
	if (!setting)
		return -1;
	model_init(out, &config, c->variant, setting, arena);
	model_allocate_like(out, in, c->with_gradients, arena);
#pragma omp parallel for num_threads(c->n_thread) if (c->n_thread > 1) schedule(dynamic)
	for (int l = 0; l < config.n_layer; l++) {
		struct arena memory;
		struct err failed = {0};
		arena_init(&memory, CHUNK);
		struct attn_source source = convert_source(in, l, c->how.whiten ? c->calibration : NULL, &memory);
		struct attn_dims dims = out->dims;
		dims.layer = l;
		convert_pool_heads(&source, &dims, &c->how);
		if (c->variant->convert(&dims, setting, &c->how, &source, out->layer[l].attn, &failed))
			BUG("variant '%s' accepts a conversion and then refuses it", c->variant->name);

		arena_release(&memory);
	}
	return 0;
}
