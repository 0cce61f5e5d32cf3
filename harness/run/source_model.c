// SPDX-License-Identifier: MIT
#include "harness/run/source_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/hash.h"
#include "harness/pretrained/pretrained.h"

struct entry {
	char source[PATH_TEXT];
	struct source_model model;
	uint64_t hash;
	struct entry *next;
};
static struct entry *entries;

static uint64_t chain(uint64_t before, const void *data, size_t bytes)
{
	const uint64_t both[2] = {before, hash_u64(data, bytes)};
	return hash_u64(both, sizeof(both));
}

static uint64_t hash_config(const struct model_config *config)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	if (!out)
		die_no_memory(BUFSIZ);
	for (const struct option *o = model_options; o->key; o++) {
		fprintf(out, "%s=", o->key);
		option_print(out, o, config);
		fputc('\n', out);
	}
	if (fclose(out))
		die_no_memory(length);
	const uint64_t hash = hash_u64(text, length);
	free(text);
	return hash;
}

static uint64_t hash_model(const struct pretrained *p)
{
	uint64_t hash = hash_config(&p->model.config);
	for (long i = 0; i < p->weights->n_tensor; i++) {
		const struct weights_tensor *t = &p->weights->tensor[i];
		hash = chain(hash, t->name, strlen(t->name));
		hash = chain(hash, t->type->name, strlen(t->type->name));
		hash = chain(hash, t->dim, (size_t)t->n_dim * sizeof(t->dim[0]));
		hash = chain(hash, t->data, t->bytes);
	}
	return hash;
}

static struct entry *open_entry(const char *source, struct err *err)
{
	struct pretrained p;
	struct arena arena;
	char path[2 * PATH_TEXT];
	struct entry *e = NULL;
	if (corpus_locate(path, "source", source, err))
		return NULL;
	arena_init(&arena, 1 << 20);
	if (!model_load(&p, path, PRETRAINED_TO_READ, &arena, err)) {
		e = calloc(1, sizeof(*e));
		if (!e)
			die_no_memory(sizeof(*e));
		snprintf(e->source, sizeof(e->source), "%s", source);
		memcpy(e->model.path, path, sizeof(path));
		e->model.family = p.family;
		e->model.config = p.model.config;
		e->model.variant = p.model.variant;
		e->hash = hash_model(&p);
		pretrained_close(&p);
	}
	arena_release(&arena);
	return e;
}

static const struct entry *find_entry(const char *source, struct err *err)
{
	struct entry *e = entries;
	while (e && strcmp(e->source, source) != 0)
		e = e->next;
	if (e || !(e = open_entry(source, err)))
		return e;
	e->next = entries;
	entries = e;
	return e;
}

int source_model_find(const struct source_model **found, const char *source, struct err *err)
{
	const struct entry *e = find_entry(source, err);
	*found = e ? &e->model : NULL;
	return e ? 0 : -1;
}

uint64_t source_model_hash(const char *source)
{
	struct err err = {0};
	const struct entry *e = find_entry(source, &err);
	return e ? e->hash : 0;
}
