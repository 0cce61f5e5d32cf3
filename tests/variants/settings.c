// SPDX-License-Identifier: MIT
#include "tests/variants/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/number.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"

enum { TRIES = 20000 };

const struct settings_shape settings_shapes[] = {
        {"decoder", "n_layer=2 d_model=24 n_head=1 d_ff=20"},
        {"decoder", "n_layer=2 d_model=24 n_head=4 d_ff=20"},
        {"decoder", "n_layer=3 d_model=16 n_head=2 d_head=12 d_ff=20 bias=false position=sinusoidal"},
        {"decoder", "n_layer=1 d_model=40 n_head=4 d_ff=9 norm=rms activation=swiglu tied_head=true position=none"},
        {"encoder", "n_layer=2 d_model=24 n_head=2 d_ff=20 causal=true"},
        {"encoder", "n_layer=2 d_model=24 n_head=4 d_ff=20"},
        {NULL, NULL},
};

struct model_config *settings_config(const struct settings_shape *shape, int n_ctx, struct arena *arena)
{
	return build_config(shape->family, shape->settings, SETTINGS_VOCAB, n_ctx, arena);
}

struct model_config *settings_random_config(struct rng *rng, struct arena *arena)
{
	static const int heads[] = {1, 1, 2, 3, 4, 4, 6};
	const int n_head = heads[rng_below(rng, 7)];
	char text[200];
	int n_kv_head = n_head;
	if (rng_below(rng, 4) == 0)
		for (n_kv_head = rig_int(rng, 1, n_head); n_head % n_kv_head; n_kv_head--)
			;
	snprintf(text, sizeof(text), "n_layer=%d d_model=%d n_head=%d n_kv_head=%d d_head=%d d_ff=%d causal=%s bias=%s",
	        rig_int(rng, 1, 3), 2 * rig_int(rng, 1, 12), n_head, n_kv_head, rig_int(rng, 1, 9), rig_int(rng, 1, 17),
	        rng_below(rng, 4) ? "true" : "false", rng_below(rng, 2) ? "true" : "false");
	return build_config("decoder", text, SETTINGS_VOCAB, SETTINGS_T, arena);
}

static void draw_int(char text[NUMBER_TEXT], const struct option *o, const struct attn_dims *d, struct rng *rng)
{
	const int suggested[] = {0, 1, 2, d->n_head, d->n_kv_head, d->d_head, d->d_model, d->n_head * d->d_head,
	        d->n_head * rig_int(rng, 1, 8), d->d_head * rig_int(rng, 1, 4), d->d_head / 2, d->n_layer};
	double value = o->least;
	switch (rng_below(rng, 4)) {
	case 0:
		break;
	case 1:
		value = suggested[rng_below(rng, sizeof(suggested) / sizeof(*suggested))];
		break;
	case 2:
		value = o->least + rig_int(rng, 0, 24);
		break;
	default: // anywhere in its range
		value = o->least + rng_uniform(rng) * (o->most - o->least) * (rng_below(rng, 2) ? 1 : 1e-3);
	}
	if (value < o->least || value > o->most)
		value = o->least;
	snprintf(text, NUMBER_TEXT, "%.0f", value);
}

static void draw_text(char *text, size_t size, const struct option *o, const struct attn_dims *d, struct rng *rng)
{
	switch (o->type) {
	case OPTION_INT:
		draw_int(text, o, d, rng);
		return;
	case OPTION_REAL:
		number_print(text, o->least + rng_uniform(rng) * (o->most - o->least));
		return;
	case OPTION_BOOL:
		snprintf(text, size, "%s", rng_below(rng, 2) ? "true" : "false");
		return;
	case OPTION_CHOICE: {
		int n = 1;
		for (const char *c = o->choices; *c; c++)
			n += *c == '|';
		const char *choice = o->choices;
		for (int i = rig_int(rng, 0, n - 1); i > 0; i--)
			choice += strcspn(choice, "|") + 1;
		snprintf(text, size, "%.*s", (int)strcspn(choice, "|"), choice);
		return;
	}
	}
}

void settings_draw(void *config, const struct variant *variant, const struct attn_dims *dims, struct rng *rng)
{
	options_init(variant->options, config);
	for (const struct option *o = variant->options; o && o->key; o++) {
		char text[128];
		struct err err = {0};
		draw_text(text, sizeof(text), o, dims, rng);
		if (option_set(variant->options, config, o->key, text, &err))
			BUG("%s", err.message);
	}
}

void *settings_find(const struct variant *variant, const struct attn_dims *dims, struct rng *rng, struct arena *arena,
        struct err *err)
{
	void *config = arena_zalloc(arena, variant->config_bytes);
	options_init(variant->options, config);
	for (int i = 0; i < TRIES; i++) {
		err_clear(err);
		if (!variant->check || !variant->check(dims, config, err)) {
			struct model model;
			const struct arena_mark mark = arena_mark(arena);
			struct model_config shape = {
			        .n_layer = 1, .d_model = dims->d_model, .n_head = dims->n_head, .d_ff = 1};
			shape.n_kv_head = dims->n_kv_head, shape.d_head = dims->d_head, shape.n_vocab = 1,
			shape.n_ctx = dims->n_ctx;
			model_init(&model, &shape, variant, config, arena);
			arena_rewind(arena, mark);
			if (model.n_number < 100000) // tests want it small
				return config;
		}
		settings_draw(config, variant, dims, rng);
	}
	return NULL;
}

const char *settings_text(const struct variant *variant, const void *config, struct arena *arena)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	for (const struct option *o = variant->options; o && o->key; o++) {
		fprintf(out, "%s%s=", o == variant->options ? "" : " ", o->key);
		option_print(out, o, config);
	}
	fclose(out);
	const char *copy = arena_strdup(arena, text);
	free(text);
	return copy;
}
