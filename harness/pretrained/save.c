// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "harness/pretrained/internal.h"

enum { CHUNK = 1 << 20 };

static const struct family_format *hub_format(const struct family *family)
{
	for (const struct family_format *f = family->formats; f && f->format; f++)
		if (!strcmp(f->format, "safetensors"))
			return f;
	return NULL;
}

// The tensor of that name among the n, NULL: none yet.
static struct weights_tensor *find(struct weights_tensor *tensor, long n, const char *name)
{
	for (long i = 0; i < n; i++)
		if (!strcmp(tensor[i].name, name))
			return &tensor[i];
	return NULL;
}

// Fills the table of tensors; what lies in the model as in the file is not copied.
static int fill(struct weights_tensor *tensor, long *n_tensor, const struct model *m, const struct family *family,
        const struct family_tensor *rows, struct arena *arena, struct err *err)
{
	const struct weights_type *type = weights_type(sizeof(real) == sizeof(float) ? "F32" : "F64");
	long *filled = arena_zalloc(arena, (size_t)m->n_param * sizeof(*filled));
	for (const struct family_tensor *row = rows; row->param; row++)
		for (int layer = 0; layer < slice_count(m, row); layer++) {
			struct slice s;
			if (!slice_make(&s, m, row, layer))
				continue;
			filled[s.param - m->param] += (long)s.rows * s.columns;
			// Parts of one tensor come one after the other: it is the latest ones that may be the same.
			const long from = *n_tensor > 2L * m->config.n_layer ? *n_tensor - 2L * m->config.n_layer : 0;
			struct weights_tensor *t = find(tensor + from, *n_tensor - from, s.name);
			if (!t) {
				const size_t n = (size_t)s.dim[0] * (s.n_dim == 2 ? (size_t)s.dim[1] : 1);
				void *data = slice_is_whole(&s) ? (void *)s.param->tensor.x
				                                : arena_alloc(arena, n * sizeof(real));
				t = &tensor[(*n_tensor)++];
				*t = weights_describe(arena_strdup(arena, s.name), type, s.n_dim, s.dim, data);
			}
			if (!slice_is_whole(&s))
				slice_write(&s, (real *)(uintptr_t)t->data);
		}
	for (int i = 0; i < m->n_param; i++)
		if (filled[i] != (long)m->param[i].tensor.T * m->param[i].tensor.C)
			return err_set(err, "parameter '%s' has no place in files of family %s", m->param[i].name,
			        family->name);
	return 0;
}

static int save(
        const struct model *m, const struct family *family, const char *folder, struct arena *arena, struct err *err)
{
	const struct family_format *format = hub_format(family);
	if (!format)
		return err_set(err, "models of family %s have no file format", family->name);
	struct model_config said;
	if (config_said(&said, &m->config, family, format, arena, err))
		return -1;
	const struct family_tensor *rows = format->tensors;
	if (own_is_needed(m, &said))
		rows = own_tensors(m, rows, arena);
	const char *config = config_text(m, &said, format, arena);
	long n_row = 0, n_tensor = 0;
	for (const struct family_tensor *row = rows; row->param; row++)
		n_row += slice_count(m, row);
	struct weights_tensor *tensor = arena_zalloc(arena, (size_t)n_row * sizeof(*tensor));
	if (fill(tensor, &n_tensor, m, family, rows, arena, err))
		return -1;
	const struct weights_note note = {"format", "pt"}; // without it the package refuses to read them
	if (weights_save(arena_printf(arena, "%s/model.safetensors", folder), tensor, n_tensor, &note, 1, err))
		return -1;
	return weights_save_text(arena_printf(arena, "%s/config.json", folder), config, err);
}

int model_save(const struct model *model, const struct family *family, const char *folder, struct err *err)
{
	struct arena arena;
	arena_init(&arena, CHUNK);
	const int result = save(model, family->of ? family->of : family, folder, &arena, err);
	arena_release(&arena);
	return result;
}
