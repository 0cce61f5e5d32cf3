// SPDX-License-Identifier: MIT
// Weights of another type, for inference.
#include <string.h>

#include "harness/model/model.h"
#include "harness/num/stored.h"

enum { ALIGN = 64 };

// Matrices, and the token table; positions, biases and gains are read by ops that know reals alone.
int model_is_quantized(const struct model *m, const struct model_param *p)
{
	return p->tensor.T > 1 && p->init == INIT_WEIGHT && &p->tensor != m->position;
}

static size_t bytes_of(const struct model *m, const struct model_param *p, enum dtype dtype)
{
	const struct tensor *t = &p->tensor;
	const size_t row_bytes = dtype_row_bytes(model_is_quantized(m, p) ? dtype : DTYPE_F32, t->C);
	return ((size_t)t->T * row_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void quantize(struct tensor *t, enum dtype dtype, unsigned char *to, int n_thread, struct arena *arena)
{
	struct stored *stored = arena_alloc(arena, sizeof(*stored));
	*stored = (struct stored){.dtype = dtype,
	        .at = to,
	        .row_bytes = (ptrdiff_t)dtype_row_bytes(dtype, t->C),
	        .columns = t->C,
	        .origin = to};
#pragma omp parallel for num_threads(n_thread) if (n_thread > 1) schedule(static)
	for (int i = 0; i < t->T; i++)
		dtype_write(dtype, to + i * stored->row_bytes, t->x + i * t->t_stride, t->C);
	t->stored = stored;
	t->x = NULL;
}

void model_quantize(struct model *m, enum dtype dtype, int n_thread, struct arena *arena)
{
	size_t bytes = 0;
	if (m->dx)
		BUG("a model that trains keeps its weights in reals");
	for (int i = 0; i < m->n_param; i++)
		bytes += bytes_of(m, &m->param[i], dtype);
	unsigned char *to = arena_alloc(arena, bytes);
	for (int i = 0; i < m->n_param; i++) {
		struct model_param *p = &m->param[i];
		struct tensor *t = &p->tensor;
		const size_t size = bytes_of(m, p, dtype);
		if (model_is_quantized(m, p) && dtype != DTYPE_F32)
			quantize(t, dtype, to, n_thread, arena);
		else
			t->x = memcpy(to, t->x, (size_t)t->T * (size_t)t->C * sizeof(real));
		to += size;
	}
	m->x = NULL;
	if (m->sinusoid) // it came with the block
		m->sinusoid = model_sinusoid(&m->config, arena);
}
