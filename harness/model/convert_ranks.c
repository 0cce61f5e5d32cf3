// SPDX-License-Identifier: MIT
// Ranks that differ from layer to layer. All layers have n_layer * d_select numbers together; one step after the other
// goes to the layer that gains most by it. A step is one number for each latent, or a pair where they turn.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/convert_heads.h"

enum { CHUNK = 1 << 22 };

// What the next steps of a layer bring, the first of them the least rank.
struct worth {
	double *gain; // (n_step)
	int n_step, n_taken;
};

static int descending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return x > y ? -1 : x < y;
}

// Of a layer at the largest rank: per step the sum over its latents.
static void layer_worth(struct worth *w, const struct model *in, const struct attn_dims *dims,
        const struct model_conversion *c, const struct key_latents *full, int layer, int step)
{
	struct arena memory;
	arena_init(&memory, CHUNK);
	struct attn_source source = convert_source(in, layer, c->how.whiten ? c->calibration : NULL, &memory);
	convert_pool_heads(&source, dims, &c->how);
	const struct attn_factors f = attn_factor(&source, &c->how, full);
	const int per_latent = step / full->n;
	double all = 0, weights = 0;
	memset(w->gain, 0, (size_t)w->n_step * sizeof(double));
	for (int i = 0; i < full->n * full->d; i++) {
		w->gain[i % full->d / per_latent] += f.gain[i];
		all += f.gain[i];
	}
	for (ptrdiff_t i = 0; i < (ptrdiff_t)source.k.rows * source.k.cols; i++)
		weights += source.k.w[i] * source.k.w[i];
	const double scale = c->how.ranks == RANKS_FISHER ? c->calibration->fisher[layer] * weights : 1;
	for (int i = 0; i < w->n_step; i++)
		w->gain[i] *= all > 0 ? scale / all : 0;
	qsort(w->gain, (size_t)w->n_step, sizeof(double), descending);
	arena_release(&memory);
}

static void share_out(struct worth *w, int n_layer, long n_step)
{
	for (int l = 0; l < n_layer; l++)
		w[l].n_taken = 1;
	for (n_step -= n_layer; n_step > 0; n_step--) {
		struct worth *best = NULL;
		for (int l = 0; l < n_layer; l++)
			if (w[l].n_taken < w[l].n_step &&
			        (!best || w[l].gain[w[l].n_taken] > best->gain[best->n_taken]))
				best = &w[l];
		best->n_taken++;
	}
}

static int write_ranks(char text[KEY_RANKS], const struct worth *w, int n_layer, int step, struct err *err)
{
	size_t n = 0;
	for (int l = 0; l < n_layer && n < KEY_RANKS; l++)
		n += (size_t)snprintf(text + n, KEY_RANKS - n, "%s%d", l ? "," : "", w[l].n_taken * step);
	return n < KEY_RANKS ? 0 : err_set(err, "the ranks of %d layers do not fit in a setting", n_layer);
}

// What a step of ranks is: a number for each latent, or a pair where they turn.
static int rank_step(const struct key_latents *given)
{
	return given->n * (given->d_rope ? 2 : 1);
}

int convert_check_ranks(const struct model_config *config, const struct model_conversion *c, struct err *err)
{
	const struct attn_dims dims = model_attn_dims(config);
	const struct key_latents_config *setting = c->config;
	if (!c->variant->options || !option_find(c->variant->options, "ranks"))
		return err_set(err, "variant '%s' has no ranks that layers could share out", c->variant->name);
	if (*setting->ranks)
		return err_set(err, "the ranks of layers are given already: leave one of the two out");
	if (setting->d_rope)
		return err_set(
		        err, "layers that share out their ranks turn as many numbers as they get: set d_rope to 0");
	const struct key_latents given = key_latents(&dims, setting);
	if (setting->d_select % rank_step(&given))
		return err_set(err, "ranks go in steps of %d here, and d_select %d is no multiple of it",
		        rank_step(&given), setting->d_select);
	return 0;
}

void *convert_share_ranks(const struct model *in, const struct model_config *config, const struct model_conversion *c,
        struct arena *arena, struct err *err)
{
	const struct attn_dims dims = model_attn_dims(config);
	const int n_layer = dims.n_layer;
	char text[KEY_RANKS];
	struct key_latents_config *setting = arena_alloc(arena, c->variant->config_bytes);
	memcpy(setting, c->config, c->variant->config_bytes);
	const struct key_latents given = key_latents(&dims, setting);
	const int step = rank_step(&given), widest = dims.n_kv_head * dims.d_head;
	struct key_latents_config whole = *setting;
	whole.d_select = (given.n == 1 && widest > dims.d_model ? dims.d_model : widest) / step * step;
	const struct key_latents full = key_latents(&dims, &whole);
	struct worth *w = arena_zalloc(arena, (size_t)n_layer * sizeof(*w));
	for (int l = 0; l < n_layer; l++) {
		w[l].n_step = whole.d_select / step;
		w[l].gain = arena_alloc(arena, (size_t)w[l].n_step * sizeof(double));
	}
#pragma omp parallel for num_threads(c->n_thread) if (c->n_thread > 1) schedule(dynamic)
	for (int l = 0; l < n_layer; l++)
		layer_worth(&w[l], in, &dims, c, &full, l, step);
	share_out(w, n_layer, (long)n_layer * setting->d_select / step);
	if (write_ranks(text, w, n_layer, step, err) || option_set(c->variant->options, setting, "ranks", text, err) ||
	        key_latents_check(&dims, setting, err))
		return NULL;
	return setting;
}
