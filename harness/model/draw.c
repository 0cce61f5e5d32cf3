// SPDX-License-Identifier: MIT
// Initial weights: drawn into a model's block, or, for inference, straight into the type in which they are kept.
#include <math.h>
#include <string.h>

#include "harness/base/rng.h"
#include "harness/model/model.h"
#include "harness/num/stored.h"

enum {
	ALIGN = 64,
	DRAWN = 65537, // a prime: rows of a usual width begin at ever new places
	CHUNKS = 64,   // of rows, shared out among threads
};

static double draw(struct rng *rng, const struct model_config *c, const struct model_param *p)
{
	if (p->init == INIT_ONE || p->init == INIT_ZERO)
		return p->init == INIT_ONE;
	if (p->is_embedding)
		return rng_normal(rng) * (c->init == INIT_KIND_NORMAL ? c->init_std : 1);
	const double xavier = sqrt(6.0 / (p->fan_in + p->fan_out));
	const int is_bias = p->init == INIT_BIAS;
	switch (c->init) {
	case INIT_KIND_TORCH:
		return (2 * rng_uniform(rng) - 1) / sqrt(p->fan_in);
	case INIT_KIND_NORMAL:
		return is_bias ? 0 : rng_normal(rng) * c->init_std;
	case INIT_KIND_XAVIER:
		return is_bias ? 0 : (2 * rng_uniform(rng) - 1) * xavier;
	case INIT_KIND_TORCH_XAVIER:
		if (!p->is_attention)
			return (2 * rng_uniform(rng) - 1) / sqrt(p->fan_in);
		return is_bias ? 0 : (2 * rng_uniform(rng) - 1) * xavier;
	}
	BUG("unknown init rule %d", c->init);
}

void model_draw_weights(struct model *m, uint64_t seed)
{
	model_draw_weights_by(m, seed, 1);
}

void model_draw_weights_by(struct model *m, uint64_t seed, int n_thread)
{
#pragma omp parallel for num_threads(n_thread) if (n_thread > 1) schedule(dynamic)
	for (int i = 0; i < m->n_param; i++) {
		const struct model_param *p = &m->param[i];
		struct rng rng = rng_make(seed, RNG_INIT, (uint64_t)i);
		for (long j = 0; j < (long)p->tensor.T * p->tensor.C; j++)
			p->tensor.x[j] = (real)draw(&rng, &m->config, p);
	}
}

// --- for inference ------------------------------------------------------------------------------------------------

static size_t row_bytes(const struct model *m, const struct model_param *p, enum dtype dtype)
{
	return dtype_row_bytes(model_is_quantized(m, p) ? dtype : DTYPE_F32, p->tensor.C);
}

static const struct tensor *find(const struct model *m, const char *name)
{
	const struct model_param *p = m ? model_find(m, name) : NULL;
	return p && !p->is_attention ? &p->tensor : NULL;
}

// Row t of a parameter of which the first n_drawn numbers were drawn: they come over and over.
static void repeat(real *row, int C, const real *drawn, long n_drawn, int t)
{
	long at = (long)t * C % n_drawn;
	for (int c = 0; c < C; c++, at = at + 1 < n_drawn ? at + 1 : 0)
		row[c] = drawn[at];
}

// A chunk of rows at a time, so that nothing is held twice.
static void draw_rows(const struct model *m, int i, unsigned char *to, uint64_t seed, enum dtype dtype, int n_thread,
        real *drawn, real *rows)
{
	const struct model_param *p = &m->param[i];
	const struct tensor *t = &p->tensor;
	const size_t bytes = row_bytes(m, p, dtype);
	const enum dtype kept = model_is_quantized(m, p) ? dtype : DTYPE_F32;
	const long n_number = (long)t->T * t->C, n_drawn = n_number < DRAWN ? n_number : DRAWN;
	struct rng rng = rng_make(seed, RNG_INIT, (uint64_t)i);
	for (long j = 0; j < n_drawn; j++)
		drawn[j] = (real)draw(&rng, &m->config, p);
#pragma omp parallel for num_threads(n_thread) if (n_thread > 1) schedule(static)
	for (int chunk = 0; chunk < CHUNKS; chunk++)
		for (int r = (int)((long)t->T * chunk / CHUNKS); r < (int)((long)t->T * (chunk + 1) / CHUNKS); r++) {
			real *row = rows + (ptrdiff_t)chunk * t->C;
			repeat(row, t->C, drawn, n_drawn, r);
			dtype_write(kept, to + (size_t)r * bytes, row, t->C);
		}
}

// Where it is to lie, by way of the host's memory where that is not the backend's.
static void draw_param(const struct model *m, int i, unsigned char *to, uint64_t seed, enum dtype dtype, int n_thread,
        real *drawn, real *rows)
{
	if (!m->home->memory) {
		draw_rows(m, i, to, seed, dtype, n_thread, drawn, rows);
		return;
	}
	const size_t bytes = (size_t)m->param[i].tensor.T * row_bytes(m, &m->param[i], dtype);
	const struct exec exec = {n_thread, NULL};
	struct arena here;
	arena_init(&here, bytes);
	unsigned char *drawn_here = arena_alloc(&here, bytes);
	draw_rows(m, i, drawn_here, seed, dtype, n_thread, drawn, rows);
	m->home->upload(&exec, to, drawn_here, bytes);
	arena_release(&here);
}

static size_t place(struct model *m, int i, enum dtype dtype, unsigned char *at, struct arena *arena)
{
	struct model_param *p = &m->param[i];
	struct tensor *t = &p->tensor;
	const size_t bytes = row_bytes(m, p, dtype);
	if (model_is_quantized(m, p) && dtype != DTYPE_F32) {
		struct stored *stored = arena_alloc(arena, sizeof(*stored));
		*stored = (struct stored){
		        .dtype = dtype, .at = at, .row_bytes = (ptrdiff_t)bytes, .columns = t->C, .origin = at};
		t->stored = stored;
	} else {
		t->x = (real *)(void *)at;
	}
	return ((size_t)t->T * bytes + ALIGN - 1) / ALIGN * ALIGN;
}

void model_draw_for_inference(struct model *m, const struct model *like, uint64_t seed, enum dtype dtype, int n_thread,
        struct arena *arena, struct arena *memory)
{
	size_t total = 0;
	int widest = 0;
	unsigned char **to = arena_zalloc(arena, (size_t)m->n_param * sizeof(*to));
	for (int i = 0; i < m->n_param; i++) {
		const struct model_param *p = &m->param[i];
		widest = p->tensor.C > widest ? p->tensor.C : widest;
		if (!find(like, p->name))
			total += ((size_t)p->tensor.T * row_bytes(m, p, dtype) + ALIGN - 1) / ALIGN * ALIGN;
	}
	unsigned char *at = arena_alloc(memory, total);
	for (int i = 0; i < m->n_param; i++) {
		struct model_param *p = &m->param[i];
		const struct tensor *its = find(like, p->name);
		if (its) {
			p->tensor.x = its->x;
			p->tensor.stored = its->stored;
			continue;
		}
		to[i] = at;
		at += place(m, i, dtype, at, arena);
	}
	if (m->config.position == POSITION_SINUSOIDAL)
		m->sinusoid = like ? like->sinusoid : model_place_sinusoid(m, memory);
	real *drawn = arena_alloc(arena, DRAWN * sizeof(*drawn));
	real *rows = arena_alloc(arena, CHUNKS * (size_t)widest * sizeof(*rows));
	for (int i = 0; i < m->n_param; i++)
		if (to[i])
			draw_param(m, i, to[i], seed, dtype, n_thread, drawn, rows);
}
