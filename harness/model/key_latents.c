// SPDX-License-Identifier: MIT
// Keys of low rank: what the options of factored_keys mean.
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
        {NULL},
};

struct key_latents key_latents(const struct attn_dims *d, const void *config)
{
	const struct key_latents_config *c = config;
	struct key_latents s = {.n = c->per == PER_HEAD ? d->n_kv_head : 1};
	const int is_made = d->n_rotary && c->rope == AT_READ, n_turned = d->n_kv_head / s.n * d->n_rotary;
	s.d = c->d_select / s.n;
	if (!is_made)
		s.d_rope = c->d_rope ? c->d_rope / s.n : s.d < n_turned ? s.d : n_turned;
	s.n_ladder = c->rope == OWN_LADDER ? s.d_rope : d->n_rotary;
	s.n_plane = c->rope == PLANES ? s.n * s.d_rope / 2 : 0;
	s.has_up = is_made || c->per == PER_LAYER;
	s.d_query = s.has_up ? d->d_head : s.d;
	return s;
}

int key_latents_check(const struct attn_dims *d, const void *config, struct err *err)
{
	const struct key_latents_config *c = config;
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
