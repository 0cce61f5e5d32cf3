// SPDX-License-Identifier: MIT
// A model folded for inference: a model of its own whose attention has the parameters that variant->fold computes, and
// whose other parameters are the memory of the model that it was made of.
#include "harness/model/model.h"

enum { CHUNK = 1 << 20 };

int model_fold(struct model *folded, const struct model *m, struct arena *arena, struct err *err)
{
	const struct variant *v = m->variant;
	if (!v->fold)
		return err_set(err, "variant '%s' has no matrices to fold", v->name);
	void *config = arena_zalloc(arena, v->config_bytes);
	if (v->fold_config(&m->dims, m->variant_config, config, err))
		return -1;
	model_init(folded, &m->config, v, config, arena);
	model_allocate_like(folded, m, 0, arena);
	struct arena step, scratch;
	arena_init(&step, CHUNK);
	arena_init(&scratch, CHUNK);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &step, .scratch = &scratch};
	for (int l = 0; l < m->config.n_layer; l++) {
		arena_reset(&step);
		tape_begin(&tape, TAPE_RUN);
		struct attn_dims dims = m->dims;
		dims.layer = l;
		v->fold(&tape, &dims, m->variant_config, m->layer[l].attn, folded->layer[l].attn);
	}
	arena_release(&step);
	arena_release(&scratch);
	return 0;
}
