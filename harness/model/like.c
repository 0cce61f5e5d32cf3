// SPDX-License-Identifier: MIT
// Memory of a model that is another one but for its attention: folded, or converted to another variant.
#include <string.h>

#include "harness/model/model.h"

static const struct tensor *find(const struct model *m, const char *name)
{
	const struct model_param *p = model_find(m, name);
	return p ? &p->tensor : NULL;
}

// Takes a block for attention's parameters, laid out as model_allocate would.
static void allocate_attention(struct model *m, const struct model *like, struct arena *arena)
{
	m->n_padded = 0;
	for (int i = 0; i < m->n_param; i++)
		m->n_padded += m->param[i].is_attention ? model_padded(&m->param[i].tensor) : 0;
	m->x = arena_zalloc(arena, (size_t)m->n_padded * sizeof(real));
	m->sinusoid = like->sinusoid;
	long at = 0;
	for (int i = 0; i < m->n_param; i++) {
		struct tensor *t = &m->param[i].tensor;
		if (!m->param[i].is_attention) {
			t->x = find(like, m->param[i].name)->x;
			continue;
		}
		t->x = m->x + at;
		at += model_padded(t);
	}
}

void model_allocate_like(struct model *m, const struct model *like, int with_gradients, struct arena *arena)
{
	if (with_gradients)
		model_allocate(m, 1, arena);
	else
		allocate_attention(m, like, arena);
	for (int i = 0; i < m->n_param; i++) {
		const struct tensor *t = &m->param[i].tensor, *its = find(like, m->param[i].name);
		if (its && its->x != t->x && its->T == t->T && its->C == t->C)
			memcpy(t->x, its->x, (size_t)t->T * (size_t)t->C * sizeof(real));
	}
}
