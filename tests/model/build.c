// SPDX-License-Identifier: MIT
#include "tests/model/build.h"

#include <stdio.h>
#include <string.h>

#include "harness/spec/section.h"
#include "tests/test.h"

void build_options(const struct option *table, void *config, const char *settings)
{
	char text[512];
	snprintf(text, sizeof(text), "%s", settings);
	for (char *rest = text, *word; (word = strtok_r(rest, " ", &rest));) {
		struct err err = {0};
		char *value = strchr(word, '=');
		if (!value)
			fail_msg("'%s' is not key=value", word);
		*value++ = '\0';
		if (option_set(table, config, word, value, &err))
			fail_msg("%s", err.message);
	}
}

// Splits "name key=value ..." and fills a config of that choice.
static void *choose(struct choice *choice, enum section_id id, const char *text, struct arena *arena)
{
	struct err err = {0};
	char name[64];
	const size_t n = strcspn(text, " ");
	snprintf(name, sizeof(name), "%.*s", (int)n, text);
	if (choice_find(choice, id, name, &err))
		fail_msg("%s", err.message);
	void *config = choice_config(choice, arena);
	build_options(choice->options, config, text + n);
	return config;
}

struct model_config *build_config(const char *family, const char *settings, int n_vocab, int T, struct arena *arena)
{
	struct err err = {0};
	struct choice choice;
	struct model_config *config = choose(&choice, SECTION_MODEL, family, arena);
	build_options(model_options, config, settings);
	if (model_config_resolve(config, n_vocab, T, &err))
		fail_msg("%s", err.message);
	return config;
}

struct model *build_model(const struct model_config *config, const struct variant *variant, const void *variant_config,
        uint64_t seed, struct arena *arena)
{
	struct model *model = arena_alloc(arena, sizeof(*model));
	model_init(model, config, variant, variant_config, arena);
	model_allocate(model, 1, arena);
	model_draw_weights(model, seed);
	return model;
}

struct model *build_variant(const struct model_config *config, const char *variant, const char *settings, uint64_t seed,
        struct arena *arena)
{
	struct err err = {0};
	struct choice choice;
	void *variant_config = choose(&choice, SECTION_VARIANT, variant, arena);
	build_options(choice.options, variant_config, settings);
	const struct attn_dims dims = model_attn_dims(config);
	const struct variant *v = choice.what;
	if (v->check && v->check(&dims, variant_config, &err))
		fail_msg("%s", err.message);
	return build_model(config, v, variant_config, seed, arena);
}

struct setup *build_setup(
        const char *model, const char *variant, const char *task, const char *train, struct arena *arena)
{
	struct err err = {0};
	struct setup *setup = arena_zalloc(arena, sizeof(*setup));
	char procedure[512];
	snprintf(procedure, sizeof(procedure), "train %s", train);
	const char *text[N_SECTION] = {model, variant, task, procedure, "cache"};
	for (int id = 0; id < N_SECTION; id++) {
		struct choice choice;
		void *config = choose(&choice, (enum section_id)id, text[id], arena);
		setup_put(setup, &choice, config);
	}
	enum section_id blamed;
	if (setup_check(setup, &blamed, &err))
		fail_msg("%s", err.message);
	return setup;
}
