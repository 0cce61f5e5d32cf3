// SPDX-License-Identifier: MIT
#include "harness/spec/section.h"

#include <string.h>

#include "harness/model/cache.h"

// The one row that a registry of caches would have.
struct cache_kind {
	const char *name, *summary;
};
static const struct cache_kind cache_kind = {"cache", "how the cached streams are stored: types and their scales"};

const char *section_selector(enum section_id id)
{
	static const char *const key[N_SECTION] = {"family", "name", "name", NULL, NULL};
	return key[id];
}

const char *section_kind(enum section_id id)
{
	static const char *const kind[N_SECTION] = {"family", "variant", "task", "procedure", "cache"};
	return kind[id];
}

const char *section_name(enum section_id id, const struct procedure *procedure)
{
	static const char *const name[N_SECTION] = {"model", "variant", "task", NULL, "cache"};
	return id == SECTION_PROCEDURE ? procedure->section : name[id];
}

const char *section_choice(enum section_id id, const struct procedure *procedure)
{
	return id == SECTION_PROCEDURE ? procedure->name : cache_kind.name;
}

int section_is_optional(enum section_id id)
{
	return id == SECTION_CACHE;
}

static struct choice choice_of(enum section_id id, const void *what)
{
	struct choice choice = {.id = id, .what = what};
	switch (id) {
	case SECTION_MODEL: {
		const struct family *family = what;
		choice.name = family->name;
		choice.summary = family->summary;
		choice.options = model_options;
		choice.config_bytes = sizeof(struct model_config);
		break;
	}
	case SECTION_VARIANT: {
		const struct variant *variant = what;
		choice.name = variant->name;
		choice.summary = variant->summary;
		choice.options = variant->options;
		choice.config_bytes = variant->config_bytes;
		break;
	}
	case SECTION_TASK: {
		const struct task *task = what;
		choice.name = task->name;
		choice.summary = task->summary;
		choice.options = task->options;
		choice.config_bytes = task->config_bytes;
		break;
	}
	case SECTION_CACHE:
		choice.name = cache_kind.name;
		choice.summary = cache_kind.summary;
		choice.options = cache_options;
		choice.config_bytes = sizeof(struct cache_config);
		break;
	default: {
		const struct procedure *procedure = what;
		choice.name = procedure->name;
		choice.summary = procedure->summary;
		choice.options = procedure->options;
		choice.config_bytes = procedure->config_bytes;
		break;
	}
	}
	return choice;
}

static const void *find_by_name(enum section_id id, const char *name)
{
	switch (id) {
	case SECTION_MODEL:
		return family_find(name);
	case SECTION_VARIANT:
		return variant_find(name);
	case SECTION_TASK:
		return task_find(name);
	case SECTION_CACHE:
		return strcmp(name, cache_kind.name) == 0 ? &cache_kind : NULL;
	default:
		return procedure_find(name);
	}
}

int choice_at(struct choice *choice, enum section_id id, int i)
{
	const void *what = id == SECTION_MODEL     ? (const void *)family_at(i)
	                   : id == SECTION_VARIANT ? (const void *)variant_list[i]
	                   : id == SECTION_TASK    ? (const void *)task_list[i]
	                   : id == SECTION_CACHE   ? (i == 0 ? &cache_kind : NULL)
	                                           : (const void *)procedure_list[i];
	if (!what)
		return -1;
	*choice = choice_of(id, what);
	return 0;
}

int choice_find(struct choice *choice, enum section_id id, const char *name, struct err *err)
{
	enum { NAMES = 128 };
	const char *names[NAMES + 1], *kind = section_kind(id);
	const void *what = find_by_name(id, name);
	if (what) {
		*choice = choice_of(id, what);
		return 0;
	}
	int n = 0;
	for (; n < NAMES && choice_at(choice, id, n) == 0; n++)
		names[n] = choice->name;
	names[n] = NULL;
	const char *near = word_nearest(names, name);
	if (near)
		return err_set(err, "unknown %s '%s' (did you mean '%s'?)", kind, name, near);
	return err_set(err, "unknown %s '%s' ('kvlab list %s' shows them all)", kind, name, kind);
}

static void set_defaults(void *config, const struct family *family)
{
	for (const struct family_default *d = family->defaults; d && d->key; d++) {
		struct err err = {0};
		if (option_set(model_options, config, d->key, d->value, &err))
			BUG("family %s: %s", family->name, err.message);
	}
}

void *choice_config(const struct choice *choice, struct arena *arena)
{
	void *config = arena_zalloc(arena, choice->config_bytes);
	options_init(choice->options, config);
	if (choice->id != SECTION_MODEL)
		return config;
	const struct family *family = choice->what;
	if (family->of)
		set_defaults(config, family->of);
	set_defaults(config, family);
	return config;
}

void setup_put(struct setup *setup, const struct choice *choice, void *config)
{
	switch (choice->id) {
	case SECTION_MODEL:
		setup->family = choice->what;
		setup->model = config;
		break;
	case SECTION_VARIANT:
		setup->variant = choice->what;
		setup->variant_config = config;
		break;
	case SECTION_TASK:
		setup->task = choice->what;
		setup->task_config = config;
		break;
	case SECTION_CACHE:
		setup->cache = config;
		break;
	default:
		setup->procedure = choice->what;
		setup->procedure_config = config;
		break;
	}
}

struct choice setup_choice(const struct setup *setup, enum section_id id, void **config)
{
	const void *const what[N_SECTION] = {
	        setup->family,
	        setup->variant,
	        setup->task,
	        setup->procedure,
	        &cache_kind,
	};
	void *const configs[N_SECTION] = {
	        setup->model,
	        setup->variant_config,
	        setup->task_config,
	        setup->procedure_config,
	        setup->cache,
	};
	*config = configs[id];
	return choice_of(id, what[id]);
}

int setup_check(struct setup *setup, enum section_id *blamed, struct err *err)
{
	*blamed = SECTION_TASK;
	if (setup->task->check && setup->task->check(setup->task_config, err))
		return -1;
	struct task_shape shape = setup->task->shape(setup->task_config);
	*blamed = SECTION_MODEL;
	if (model_config_resolve(setup->model, shape.n_vocab, shape.T, err))
		return -1;
	*blamed = SECTION_PROCEDURE;
	if (setup->procedure->resolve && setup->procedure->resolve(setup, err))
		return -1;
	struct attn_dims dims = model_attn_dims(setup->model);
	*blamed = SECTION_VARIANT;
	if (setup->variant->check && setup->variant->check(&dims, setup->variant_config, err))
		return -1;
	*blamed = SECTION_CACHE;
	if (!setup->procedure->is_timed && cache_check(setup->cache, err)) // in a grid of timings a point fails alone
		return -1;
	*blamed = SECTION_PROCEDURE;
	if (setup->procedure->check && setup->procedure->check(setup, err))
		return -1;
	return 0;
}
