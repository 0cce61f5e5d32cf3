// SPDX-License-Identifier: MIT
// Models in the memory of a backend.
#include <string.h>

#include "harness/model/model.h"

enum { ALIGN = 64 };

// Copies and clears need no scratch.
static const struct exec copying = {1, NULL};

void model_clear(const struct model *m, real *at, long n)
{
	m->home->clear(&copying, at, (size_t)n * sizeof(*at));
}

void model_download_values(const struct model *m, real *x)
{
	m->home->download(&copying, x, m->x, (size_t)m->n_padded * sizeof(*x));
}

void model_fetch(struct model *here, const struct model *from, struct arena *arena)
{
	model_init(here, &from->config, from->variant, from->variant_config, arena);
	model_allocate(here, 0, arena);
	model_download_values(from, here->x);
}

void model_upload_values(struct model *m, const real *x)
{
	m->home->upload(&copying, m->x, x, (size_t)m->n_padded * sizeof(*x));
}

real *model_place_sinusoid(const struct model *m, struct arena *memory)
{
	if (!m->home->memory)
		return model_sinusoid(&m->config, memory);
	const size_t bytes = (size_t)m->config.n_ctx * (size_t)m->config.d_model * sizeof(real);
	struct arena here;
	arena_init(&here, bytes);
	real *table = arena_alloc(memory, bytes);
	m->home->upload(&copying, table, model_sinusoid(&m->config, &here), bytes);
	arena_release(&here);
	return table;
}

// Bytes that a parameter takes in the block: reals as model_allocate lays them out, so that neighbours stay neighbours.
static size_t bytes_of(const struct tensor *t)
{
	if (!t->stored)
		return (size_t)model_padded(t) * sizeof(real);
	return ((size_t)t->T * (size_t)t->stored->row_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void upload(
        const struct model *to, struct tensor *t, const struct tensor *from, unsigned char *at, struct arena *arena)
{
	if (!from->stored) {
		const long n = (long)t->T * t->C;
		t->x = (real *)(void *)at;
		to->home->upload(&copying, t->x, from->x, (size_t)n * sizeof(real));
		model_clear(to, t->x + n, model_padded(t) - n);
		return;
	}
	struct stored *stored = arena_alloc(arena, sizeof(*stored));
	*stored = *from->stored;
	stored->at = stored->origin = at;
	t->stored = stored;
	to->home->upload(&copying, at, from->stored->at, (size_t)t->T * (size_t)stored->row_bytes);
}

void model_upload(struct model *to, const struct model *from, const struct backend *backend, int with_gradients,
        struct arena *arena, struct arena *memory)
{
	size_t bytes = 0;
	int is_stored = 0;
	model_init(to, &from->config, from->variant, from->variant_config, arena);
	to->home = backend;
	for (int p = 0; p < to->n_param; p++) {
		bytes += bytes_of(&from->param[p].tensor);
		is_stored |= from->param[p].tensor.stored != NULL;
		to->param[p].is_frozen = from->param[p].is_frozen;
	}
	if (is_stored && with_gradients)
		BUG("a model that trains keeps its weights in reals");
	unsigned char *at = arena_alloc(memory, bytes);
	to->x = is_stored ? NULL : (real *)(void *)at;
	for (int p = 0; p < to->n_param; p++) {
		const struct tensor *its = &from->param[p].tensor;
		upload(to, &to->param[p].tensor, its, at, arena);
		at += bytes_of(its);
	}
	model_place_gradients(to); // counts them
	if (with_gradients) {
		to->n_gradient = to->n_trained;
		to->dx = arena_alloc(memory, (size_t)to->n_trained * sizeof(real));
		model_place_gradients(to);
	}
	if (from->sinusoid)
		to->sinusoid = model_place_sinusoid(to, memory);
}
