// SPDX-License-Identifier: MIT
#include "tests/variants/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/number.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"

enum { TRIES = 5000, SMALL = 50000 }; // tests want models small

const struct settings_shape settings_shapes[] = {
        {"decoder", "n_layer=2 d_model=24 n_head=1 d_ff=20"},
        {"decoder", "n_layer=2 d_model=24 n_head=4 d_ff=20"},
        {"decoder", "n_layer=3 d_model=16 n_head=2 d_head=12 d_ff=20 bias=false position=sinusoidal"},
        {"decoder", "n_layer=1 d_model=40 n_head=4 d_ff=9 norm=rms activation=swiglu tied_head=true position=none"},
        {"encoder", "n_layer=2 d_model=24 n_head=2 d_ff=20 causal=true"},
        {"encoder", "n_layer=2 d_model=24 n_head=4 d_ff=20"},
        {"decoder", "n_layer=2 d_model=24 n_head=4 n_kv_head=2 d_ff=20"},
        {"decoder", "n_layer=2 d_model=24 n_head=3 d_ff=20 position=rope"},
        {"decoder", "n_layer=1 d_model=32 n_head=4 n_kv_head=2 d_ff=9 position=rope rope_pairs=neighbours "
                    "rope_fraction=0.5 norm=rms bias=false"},
        {"decoder", "n_layer=1 d_model=24 n_head=3 n_kv_head=1 d_ff=9 position=rope rope_base=100"},
        {"encoder", "n_layer=1 d_model=32 n_head=4 n_kv_head=2 d_ff=9 position=rope rope_fraction=0.5"},
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
	char text[300];
	int n_kv_head = n_head;
	if (rng_below(rng, 4) == 0)
		for (n_kv_head = rig_int(rng, 1, n_head); n_head % n_kv_head; n_kv_head--)
			;
	const int has_rope = !rng_below(rng, 3), halved = !rng_below(rng, 3), d_head = rig_int(rng, 1, 9);
	snprintf(text, sizeof(text),
	        "n_layer=%d d_model=%d n_head=%d n_kv_head=%d d_head=%d d_ff=%d causal=%s bias=%s position=%s "
	        "rope_fraction=%s rope_pairs=%s",
	        rig_int(rng, 1, 3), 2 * rig_int(rng, 1, 12), n_head, n_kv_head,
	        has_rope ? (d_head + 3) / 4 * 4 : d_head, rig_int(rng, 1, 17), rng_below(rng, 4) ? "true" : "false",
	        rng_below(rng, 2) ? "true" : "false", has_rope ? "rope" : "learned", halved ? "0.5" : "1",
	        rng_below(rng, 2) ? "halves" : "neighbours");
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

int settings_choice(const struct option *o, int i, char *text, size_t size)
{
	const char *choice = o->type == OPTION_BOOL ? "false|true" : o->choices;
	for (; i > 0; i--) {
		choice += strcspn(choice, "|");
		if (!*choice++)
			return 0;
	}
	snprintf(text, size, "%.*s", (int)strcspn(choice, "|"), choice);
	return 1;
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
	case OPTION_TEXT: // nothing to draw from
		snprintf(text, size, "%s", o->initial);
		return;
	case OPTION_BOOL:
	case OPTION_CHOICE: {
		int n = 0;
		while (settings_choice(o, n, text, size))
			n++;
		settings_choice(o, rig_int(rng, 0, n - 1), text, size);
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

static int is_small(const struct variant *variant, const struct attn_dims *dims, const void *config)
{
	struct param_shape shape[VARIANT_PARAMS];
	double n_number = 0;
	for (int i = variant->params(dims, config, shape) - 1; i >= 0; i--)
		n_number += (double)shape[i].rows * shape[i].cols;
	return n_number < SMALL;
}

// The first of config as it is and some thousand draws that the variant accepts; where `fixed` is not NULL, every draw
// has that value of that option.
static int find(const struct variant *variant, const struct attn_dims *dims, struct rng *rng, void *config,
        const struct option *fixed, const char *value, struct err *err)
{
	for (int i = 0; i < TRIES; i++) {
		if (i)
			settings_draw(config, variant, dims, rng);
		err_clear(err);
		if (fixed && option_set(variant->options, config, fixed->key, value, err))
			BUG("%s", err->message);
		if ((!variant->check || !variant->check(dims, config, err)) && is_small(variant, dims, config))
			return 1;
	}
	return 0;
}

void *settings_find(const struct variant *variant, const struct attn_dims *dims, struct rng *rng, struct arena *arena,
        struct err *err)
{
	void *config = arena_zalloc(arena, variant->config_bytes);
	options_init(variant->options, config);
	return find(variant, dims, rng, config, NULL, NULL, err) ? config : NULL;
}

int settings_find_all(const struct variant *variant, const struct attn_dims *dims, struct rng *rng, struct arena *arena,
        void **config, struct err *err)
{
	int n = 0;
	config[n] = settings_find(variant, dims, rng, arena, err);
	if (!config[n++])
		return 0;
	for (const struct option *o = variant->options; o->key; o++) {
		// Without rotary positions their modes are all the same.
		if ((o->type != OPTION_CHOICE && o->type != OPTION_BOOL) ||
		        (!strcmp(o->key, "rope") && !dims->n_rotary))
			continue;
		char value[64];
		for (int i = 0; settings_choice(o, i, value, sizeof(value)); i++) {
			struct err last = {0};
			if (n == SETTINGS_MOST)
				BUG("variant '%s' has more choices than SETTINGS_MOST", variant->name);
			config[n] = arena_zalloc(arena, variant->config_bytes);
			settings_draw(config[n], variant, dims, rng);
			n += find(variant, dims, rng, config[n], o, value, &last);
		}
	}
	return n;
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
