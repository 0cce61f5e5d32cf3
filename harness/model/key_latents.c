// SPDX-License-Identifier: MIT
// Keys of low rank: what the options of factored_keys mean.
#include <stdlib.h>
#include <string.h>

#include "variants/kit.h"

enum { PER_LAYER, PER_HEAD };
enum { AT_READ, PLANES, OWN_LADDER };

const struct option key_latents_options[] = {
        {"d_select", OPTION_INT, offsetof(struct key_latents_config, d_select), "0", 0, 1 << 20, NULL,
                "numbers cached for keys: the rank of W_K (per: layer), or n_kv_head times that of a head's"},
        {"per", OPTION_CHOICE, offsetof(struct key_latents_config, per), "layer", 0, 0, "layer|head",
                "one latent for all heads of a layer, or one for each key head"},
        {"rope", OPTION_CHOICE, offsetof(struct key_latents_config, rope), "at_read", 0, 0, "at_read|planes|own_ladder",
                "what is turned: keys made again at read, or the latent itself (models with position: rope)"},
        {"d_rope", OPTION_INT, offsetof(struct key_latents_config, d_rope), "0", 0, 1 << 20, NULL,
                "numbers of d_select that are turned (rope: planes, own_ladder); 0: as many as the model turns, or "
                "all"},
        {"ranks", OPTION_TEXT, offsetof(struct key_latents_config, ranks), "", 0, KEY_RANKS, NULL,
                "d_select of each layer, 64,48,32, where they differ; their mean is d_select"},
        {NULL},
};

// Layer's number of a list; -1 where the list has none, or something else stands there.
static int rank_at(const char *list, int layer)
{
	for (; layer > 0; layer--) {
		list += strcspn(list, ",");
		if (!*list++)
			return -1;
	}
	const size_t n = strspn(list, "0123456789");
	return n && n < 8 && (list[n] == ',' || !list[n]) ? atoi(list) : -1;
}

struct key_latents key_latents(const struct attn_dims *d, const void *config)
{
	const struct key_latents_config *c = config;
	struct key_latents s = {.n = c->per == PER_HEAD ? d->n_kv_head : 1};
	const int is_made = d->n_rotary && c->rope == AT_READ, n_turned = d->n_kv_head / s.n * d->n_rotary;
	s.d = (*c->ranks ? rank_at(c->ranks, d->layer) : c->d_select) / s.n;
	if (!is_made)
		s.d_rope = c->d_rope ? c->d_rope / s.n : s.d < n_turned ? s.d : n_turned;
	s.n_ladder = c->rope == OWN_LADDER ? s.d_rope : d->n_rotary;
	s.n_plane = c->rope == PLANES ? s.n * s.d_rope / 2 : 0;
	s.has_up = is_made || c->per == PER_LAYER;
	s.d_query = s.has_up ? d->d_head : s.d;
	return s;
}

static int check_one(const struct attn_dims *d, const struct key_latents_config *c, struct err *err)
{
	const struct key_latents s = key_latents(d, c);
	const int widest = d->n_kv_head * d->d_head, n_turned = d->n_kv_head * d->n_rotary;
	if (c->d_select < 1 || c->d_select > widest)
		return err_set(err, "d_select must be 1 to n_kv_head * d_head (%d), not %d", widest, c->d_select);
	if (c->d_select % s.n)
		return err_set(err, "d_select %d is not divisible by n_kv_head %d", c->d_select, s.n);
	if (s.d > d->d_model)
		return err_set(err, "d_select %d is wider than d_model %d", c->d_select, d->d_model);
	if (c->d_rope && !d->n_rotary)
		return err_set(
		        err, "d_rope %d has nothing to turn: set it to 0, or the model's position to rope", c->d_rope);
	if (c->d_rope && c->rope == AT_READ)
		return err_set(err, "rope: at_read turns whole keys: set d_rope to 0, or rope to planes");
	if (!d->n_rotary || c->rope == AT_READ)
		return 0;
	if (c->d_rope > c->d_select || c->d_rope > n_turned)
		return err_set(err, "d_rope %d is more than the %d numbers of d_select or the %d that the model turns",
		        c->d_rope, c->d_select, n_turned);
	if (c->d_rope % s.n)
		return err_set(err, "d_rope %d is not divisible by n_kv_head %d", c->d_rope, s.n);
	if (c->rope == OWN_LADDER && c->per == PER_LAYER)
		return err_set(err, "rope: own_ladder turns heads: set per to head, or rope to planes");
	return attn_check_pairs(d, "a latent that it turns (d_rope, or all of d_select)", s.d_rope, err);
}

int key_latents_check(const struct attn_dims *dims, const void *config, struct err *err)
{
	const struct key_latents_config *c = config;
	if (!*c->ranks)
		return check_one(dims, c, err);
	struct key_latents_config one = *c;
	struct err cause = {0};
	long sum = 0;
	one.ranks[0] = '\0';
	for (int l = 0; l < dims->n_layer; l++) {
		one.d_select = rank_at(c->ranks, l);
		if (one.d_select < 0)
			return err_set(
			        err, "ranks has no number for layer %d of %d (say it like 64,48,32)", l, dims->n_layer);
		if (check_one(dims, &one, &cause))
			return err_set(err, "ranks, layer %d: %s", l, cause.message);
		sum += one.d_select;
	}
	if (rank_at(c->ranks, dims->n_layer) >= 0)
		return err_set(err, "ranks has more than one number for each of %d layers", dims->n_layer);
	if (sum != (long)dims->n_layer * c->d_select)
		return err_set(err, "the mean of ranks is %g: set d_select to it, not to %d",
		        (double)sum / dims->n_layer, c->d_select);
	return 0;
}
