// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "harness/pretrained/internal.h"
#include "harness/registry.h"

enum { TEXT = 512, CHUNK = 1 << 20, ALIGN = 64 / (int)sizeof(real) };

// A load in progress.
struct load {
	struct pretrained *p;
	const struct family_format *format;
	const struct family_tensor *tensors; // the format's, or with rows of our own
	int has_prefix;                      // the file's names begin with format->prefix
	unsigned char *used;                 // per tensor of the file
	struct arena *arena;
	struct err *err;
};

// --- which family --------------------------------------------------------------------------------------------------

static const struct value *configuration(const struct weights *w)
{
	return strcmp(w->format, "safetensors") ? w->metadata : w->config;
}

// The types that files of this format may be of, for a message.
static void list_types(char text[TEXT], const char *format)
{
	size_t n = 0;
	text[0] = '\0';
	for (const struct family *const *f = family_list; *f; f++)
		for (const struct family_format *at = (*f)->formats; at && at->format; at++)
			if (!strcmp(at->format, format) && n < TEXT)
				n += (size_t)snprintf(text + n, TEXT - n, "%s%s", n ? " " : "", at->types);
}

static int check_architectures(const struct value *object, const struct family_format *format, struct err *err)
{
	const struct value *list = format->architectures ? value_find(object, "architectures") : NULL;
	if (!list || list->kind != VALUE_ARRAY || own_is_there(object))
		return 0;
	for (size_t i = 0; i < list->n; i++)
		if (list->item[i].kind != VALUE_TEXT || !word_is_in(list->item[i].text, format->architectures))
			return err_set(err, "%s: 'architectures' is none of: %s", object->place, format->architectures);
	return 0;
}

static int find_family(struct load *l)
{
	const struct weights *w = l->p->weights;
	const struct value *object = configuration(w);
	if (!object)
		return err_set(l->err, "%s: there is no config.json beside the weights", w->path);
	for (const struct family *const *f = family_list; *f; f++)
		for (const struct family_format *at = (*f)->formats; at && at->format; at++) {
			const char *type = NULL;
			if (strcmp(at->format, w->format))
				continue;
			if (at->type_key && value_text(object, at->type_key, VALUE_REQUIRED, &type, l->err))
				return -1;
			if (type && !word_is_in(type, at->types))
				continue;
			l->p->family = *f;
			l->format = at;
			l->tensors = at->tensors;
			return check_architectures(object, at, l->err);
		}
	char types[TEXT];
	list_types(types, w->format);
	return err_set(l->err, "%s: this model is of none of the types that can be computed: %s", object->place, types);
}

// --- tensors -------------------------------------------------------------------------------------------------------

// A name as the file has it.
static const char *file_name(const struct load *l, const char *name)
{
	const char *prefix = l->format->prefix;
	const size_t n = prefix ? strlen(prefix) : 0;
	return n && !l->has_prefix && !strncmp(name, prefix, n) ? name + n : name;
}

static void find_prefix(struct load *l)
{
	const struct weights *w = l->p->weights;
	const char *prefix = l->format->prefix;
	for (long i = 0; prefix && i < w->n_tensor; i++)
		if (!strncmp(w->tensor[i].name, prefix, strlen(prefix)))
			l->has_prefix = 1;
}

static const struct weights_tensor *find_tensor(const struct load *l, const char *name)
{
	return weights_find(l->p->weights, file_name(l, name));
}

static void mark_used(struct load *l, const struct weights_tensor *t)
{
	if (t)
		l->used[t - l->p->weights->tensor] = 1;
}

// A head that is stored although it is the token table must be the same numbers.
static int check_tied(struct load *l, const struct slice *head)
{
	const struct weights_tensor *t = find_tensor(l, head->name), *token = NULL;
	if (!t)
		return 0;
	for (const struct family_tensor *row = l->tensors; row->param; row++)
		if (!strcmp(row->param, "token"))
			token = find_tensor(l, row->name);
	if (!token || t->bytes != token->bytes || t->type != token->type || memcmp(t->data, token->data, t->bytes))
		return err_set(l->err, "%s: tensor '%s' differs from '%s', which the configuration says it is", t->path,
		        t->name, token ? token->name : "the token table");
	mark_used(l, t);
	return 0;
}

static int check_row(struct load *l, const struct family_tensor *row, long *filled)
{
	const struct model *m = &l->p->model;
	for (int layer = 0; layer < slice_count(m, row); layer++) {
		struct slice s;
		if (!slice_make(&s, m, row, layer)) {
			if (!strcmp(row->param, "head") && check_tied(l, &s))
				return -1;
			continue;
		}
		const struct weights_tensor *t =
		        weights_expect(l->p->weights, file_name(l, s.name), s.n_dim, s.dim, l->err);
		if (!t)
			return -1;
		mark_used(l, t);
		filled[s.param - m->param] += (long)s.rows * s.columns;
	}
	return 0;
}

static int is_ignored(const struct load *l, const char *name)
{
	for (const char *const *at = l->format->ignored; at && *at; at++) {
		const char *pattern = file_name(l, *at), *mark = strstr(pattern, "%d");
		const size_t before = mark ? (size_t)(mark - pattern) : 0;
		if (!mark ? !strcmp(name, pattern)
		          : !strncmp(name, pattern, before) &&
		                        !strcmp(name + before + strspn(name + before, "0123456789"), mark + 2))
			return 1;
	}
	return 0;
}

static int check_unused(struct load *l)
{
	const struct weights *w = l->p->weights;
	const struct weights_tensor *first = NULL;
	long n = 0;
	for (long i = 0; i < w->n_tensor; i++)
		if (!l->used[i] && !is_ignored(l, w->tensor[i].name)) {
			first = first ? first : &w->tensor[i];
			n++;
		}
	if (n > 1)
		return err_set(l->err, "%s: tensor '%s' and %ld more have no place in this %s model", first->path,
		        first->name, n - 1, l->p->family->name);
	if (n)
		return err_set(l->err, "%s: tensor '%s' has no place in this %s model", first->path, first->name,
		        l->p->family->name);
	return 0;
}

static int check_tensors(struct load *l)
{
	const struct model *m = &l->p->model;
	long *filled = arena_zalloc(l->arena, (size_t)m->n_param * sizeof(*filled));
	l->used = arena_zalloc(l->arena, (size_t)l->p->weights->n_tensor);
	for (const struct family_tensor *row = l->tensors; row->param; row++)
		if (check_row(l, row, filled))
			return -1;
	for (int i = 0; i < m->n_param; i++)
		if (filled[i] != (long)m->param[i].tensor.T * m->param[i].tensor.C)
			return err_set(l->err,
			        "%s: files of this format have no tensor for '%s', which the model needs",
			        l->p->weights->path, m->param[i].name);
	return check_unused(l);
}

// --- numbers -------------------------------------------------------------------------------------------------------

// As model_allocate lays parameters out.
static long padded(const struct tensor *t)
{
	return ((long)t->T * t->C + ALIGN - 1) / ALIGN * ALIGN;
}

// A parameter of several tensors can stay where it is when they follow each other, as gate and up do in most files.
static void point_at(const struct slice *s, const struct weights_tensor *t)
{
	real *x = (real *)(uintptr_t)weights_in_place(t), **whole = &s->param->tensor.x;
	if (s->first == 0)
		*whole = x;
	else if (!*whole || x != *whole + (ptrdiff_t)s->first * s->columns)
		*whole = NULL;
}

// Takes memory for the parameters that cannot stay in the file; points the others to where they lie. Nobody writes to
// parameters without gradients, so the mapped file may be read-only.
static void place_to_read(struct load *l)
{
	struct model *m = &l->p->model;
	for (const struct family_tensor *row = l->tensors; row->param; row++)
		for (int layer = 0; layer < slice_count(m, row); layer++) {
			struct slice s;
			if (slice_make(&s, m, row, layer) && slice_is_plain(&s))
				point_at(&s, find_tensor(l, s.name));
		}
	for (int i = 0; i < m->n_param; i++)
		m->n_padded -= m->param[i].tensor.x ? padded(&m->param[i].tensor) : 0;
	m->x = arena_alloc(l->arena, (size_t)m->n_padded * sizeof(real));
	long at = 0;
	for (int i = 0; i < m->n_param; i++) {
		struct tensor *t = &m->param[i].tensor;
		if (t->x)
			continue;
		t->x = m->x + at;
		at += padded(t);
	}
}

static void read_numbers(struct load *l)
{
	struct model *m = &l->p->model;
	struct arena scratch;
	arena_init(&scratch, CHUNK);
	for (const struct family_tensor *row = l->tensors; row->param; row++)
		for (int layer = 0; layer < slice_count(m, row); layer++) {
			struct slice s;
			if (!slice_make(&s, m, row, layer))
				continue;
			const real *x = s.param->tensor.x;
			if (x >= m->x && x < m->x + m->n_padded)
				slice_read(&s, find_tensor(l, s.name), &scratch);
		}
	arena_release(&scratch);
}

// --- all of it -----------------------------------------------------------------------------------------------------

static long token_rows(const struct load *l)
{
	for (const struct family_tensor *row = l->tensors; row->param; row++) {
		const struct weights_tensor *t = strcmp(row->param, "token") ? NULL : find_tensor(l, row->name);
		if (t)
			return t->rows;
	}
	return 0;
}

static int make_model(struct load *l)
{
	struct model_config config;
	const struct value *object = configuration(l->p->weights);
	find_prefix(l);
	if (config_read(&config, l->p->family, l->format, object, token_rows(l), l->err))
		return -1;
	if (l->format->tied_without)
		config.tied_head = !find_tensor(l, l->format->tied_without);
	const struct attn_dims dims = model_attn_dims(&config);
	const struct variant *variant;
	void *setting;
	if (own_read_variant(&variant, &setting, object, l->arena, l->err))
		return -1;
	const int is_own = variant != NULL;
	if (!is_own) {
		variant = variant_find(config.n_kv_head == config.n_head ? "mha"
		                       : config.n_kv_head == 1           ? "mqa"
		                                                         : "gqa");
		setting = arena_zalloc(l->arena, variant->config_bytes);
		options_init(variant->options, setting);
	} else if (own_check_variant(variant, &dims, setting, object->place, l->err)) {
		return -1;
	}
	model_init(&l->p->model, &config, variant, setting, l->arena);
	if (is_own)
		l->tensors = own_tensors(&l->p->model, l->tensors, l->arena);
	return 0;
}

int model_load(struct pretrained *p, const char *path, enum pretrained_use use, struct arena *arena, struct err *err)
{
	struct load l = {.p = p, .arena = arena, .err = err};
	memset(p, 0, sizeof(*p));
	if (weights_open(&p->weights, path, err))
		return -1;
	if (find_family(&l) || make_model(&l) || check_tensors(&l)) {
		pretrained_close(p);
		return -1;
	}
	if (use == PRETRAINED_TO_TRAIN)
		model_allocate(&p->model, 1, arena);
	else
		place_to_read(&l);
	read_numbers(&l);
	return 0;
}

void pretrained_close(struct pretrained *p)
{
	weights_close(p->weights);
	memset(p, 0, sizeof(*p));
}
