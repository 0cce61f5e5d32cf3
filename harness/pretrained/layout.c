// SPDX-License-Identifier: MIT
// Where a parameter's rows lie in the tensors of a file.
#include <stdio.h>
#include <string.h>

#include "harness/pretrained/internal.h"

enum { LINES = 16 }; // rows of a transposed tensor taken at a time: what is written then fills a cache line

// The file's name of a layer's tensor. (Formats come from tables, so the number is put in by hand.)
static void layer_name(char name[WEIGHTS_NAME + 1], const char *format, int layer)
{
	const char *mark = strstr(format, "%d");
	if (mark)
		snprintf(name, WEIGHTS_NAME + 1, "%.*s%d%s", (int)(mark - format), format, layer, mark + 2);
	else
		snprintf(name, WEIGHTS_NAME + 1, "%s", format);
}

static int parts(int n)
{
	return n ? n : 1;
}

int slice_count(const struct model *model, const struct family_tensor *row)
{
	return strstr(row->name, "%d") ? model->config.n_layer : 1;
}

int slice_make(struct slice *s, const struct model *m, const struct family_tensor *row, int layer)
{
	char own[64];
	if (strstr(row->name, "%d"))
		snprintf(own, sizeof(own), "layer.%d.%s", layer, row->param);
	else
		snprintf(own, sizeof(own), "%s", row->param);
	*s = (struct slice){.row = row, .param = model_find(m, own), .d_head = m->config.d_head};
	layer_name(s->name, row->name, layer);
	if (!s->param)
		return 0;
	const struct tensor *t = &s->param->tensor;
	const int is_vector = t->T == 1 && s->param->init != INIT_WEIGHT;
	s->columns = is_vector ? 1 : t->C;
	s->rows = (is_vector ? t->C : t->T) / parts(row->n_own_part);
	s->first = row->own_part * s->rows;
	const long all = (long)s->rows * parts(row->n_part);
	const int is_transposed = row->form == TENSOR_TRANSPOSED;
	s->n_dim = is_vector ? 1 : 2;
	s->dim[0] = is_transposed ? s->columns : all;
	s->dim[1] = is_transposed ? all : s->columns;
	return 1;
}

int slice_is_plain(const struct slice *s)
{
	return s->row->form == TENSOR_PLAIN && parts(s->row->n_part) == 1;
}

int slice_is_whole(const struct slice *s)
{
	return slice_is_plain(s) && parts(s->row->n_own_part) == 1;
}

// Row of the file's (out, in) matrix that is row i of the slice.
static long file_row(const struct slice *s, int i)
{
	const int part = s->row->part, n_part = parts(s->row->n_part), d = s->d_head, j = i % d;
	switch (s->row->form) {
	case TENSOR_PLAIN:
	case TENSOR_TRANSPOSED:
		return (long)part * s->rows + i;
	case TENSOR_BY_HEAD:
		return ((long)(i / d) * n_part + part) * d + j;
	case TENSOR_NEIGHBOURS:
		return i - j + (j < d / 2 ? 2 * j : 2 * (j - d / 2) + 1);
	}
	BUG("unknown form of a tensor %d", s->row->form);
}

static real *own_rows(const struct slice *s)
{
	return s->param->tensor.x + (ptrdiff_t)s->first * s->columns;
}

static void read_transposed(const struct slice *s, const struct weights_tensor *t, struct arena *scratch)
{
	real *line = arena_alloc(scratch, (size_t)LINES * (size_t)t->columns * sizeof(*line)), *x = own_rows(s);
	for (long from = 0; from < t->rows; from += LINES) {
		const long n = t->rows - from < LINES ? t->rows - from : LINES;
		weights_read(t, from, n, line);
		for (int i = 0; i < s->rows; i++)
			for (long j = 0; j < n; j++)
				x[(ptrdiff_t)i * s->columns + from + j] = line[j * t->columns + file_row(s, i)];
	}
}

void slice_read(const struct slice *s, const struct weights_tensor *t, struct arena *scratch)
{
	const struct arena_mark mark = arena_mark(scratch);
	real *x = own_rows(s);
	if (s->n_dim == 1) {
		real *all = arena_alloc(scratch, (size_t)t->columns * sizeof(*all));
		weights_read(t, 0, 1, all);
		for (int i = 0; i < s->rows; i++)
			x[i] = all[file_row(s, i)];
	} else if (s->row->form == TENSOR_TRANSPOSED) {
		read_transposed(s, t, scratch);
	} else if (s->row->form == TENSOR_PLAIN) {
		weights_read(t, file_row(s, 0), s->rows, x);
	} else {
		for (int i = 0; i < s->rows; i++)
			weights_read(t, file_row(s, i), 1, x + (ptrdiff_t)i * s->columns);
	}
	arena_rewind(scratch, mark);
}

void slice_write(const struct slice *s, real *out)
{
	const real *x = own_rows(s);
	for (int i = 0; i < s->rows; i++) {
		const real *from = x + (ptrdiff_t)i * s->columns;
		const long row = file_row(s, i);
		if (s->row->form != TENSOR_TRANSPOSED)
			memcpy(out + row * s->columns, from, (size_t)s->columns * sizeof(*out));
		else
			for (int j = 0; j < s->columns; j++)
				out[j * s->dim[1] + row] = from[j];
	}
}
