// SPDX-License-Identifier: MIT
// A model folded for inference: a model of its own whose attention has the parameters that variant->fold computes, and
// whose other parameters are the memory of the model that it was made of.
#include <string.h>

#include "harness/model/model.h"

enum { CHUNK = 1 << 20 };

static int is_attention(const struct model *m, const struct tensor *t)
{
	for (int l = 0; l < m->config.n_layer; l++)
		for (int p = 0; p < VARIANT_PARAMS; p++)
			if (m->layer[l].attn[p] == t)
				return 1;
	return 0;
}

static const struct tensor *find(const struct model *m, const char *name)
{
	for (int i = 0; i < m->n_param; i++)
		if (!strcmp(m->param[i].name, name))
			return &m->param[i].tensor;
	return NULL;
}

// Takes a block for attention's parameters, laid out as model_allocate would; the others' values are m's. Attention's
// begin as m's of the same name and shape, if there are such: variant->fold writes those that change.
static void allocate(struct model *folded, const struct model *m, struct arena *arena)
{
	folded->n_padded = 0;
	for (int i = 0; i < folded->n_param; i++) {
		const struct tensor *t = &folded->param[i].tensor;
		if (is_attention(folded, t))
			folded->n_padded += model_padded(t);
	}
	folded->x = arena_zalloc(arena, (size_t)folded->n_padded * sizeof(real));
	folded->sinusoid = m->sinusoid;
	long at = 0;
	for (int i = 0; i < folded->n_param; i++) {
		struct tensor *t = &folded->param[i].tensor;
		const struct tensor *its = find(m, folded->param[i].name);
		if (!is_attention(folded, t)) {
			t->x = its->x;
			continue;
		}
		t->x = folded->x + at;
		at += model_padded(t);
		if (its && its->T == t->T && its->C == t->C)
			memcpy(t->x, its->x, (size_t)t->T * (size_t)t->C * sizeof(real));
	}
}

int model_fold(struct model *folded, const struct model *m, struct arena *arena, struct err *err)
{
	const struct variant *v = m->variant;
	if (!v->fold)
		return err_set(err, "variant '%s' has no matrices to fold", v->name);
	void *config = arena_zalloc(arena, v->config_bytes);
	if (v->fold_config(&m->dims, m->variant_config, config, err))
		return -1;
	model_init(folded, &m->config, v, config, arena);
	allocate(folded, m, arena);
	struct arena step, scratch;
	arena_init(&step, CHUNK);
	arena_init(&scratch, CHUNK);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &step, .scratch = &scratch};
	for (int l = 0; l < m->config.n_layer; l++) {
		arena_reset(&step);
		tape_begin(&tape, TAPE_RUN);
		v->fold(&tape, &m->dims, m->variant_config, m->layer[l].attn, folded->layer[l].attn);
	}
	arena_release(&step);
	arena_release(&scratch);
	return 0;
}
