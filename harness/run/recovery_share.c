// SPDX-License-Identifier: MIT
// What is told in relation to the model, so that one spec is for models of any width.
#include <math.h>
#include <string.h>

#include "harness/run/recovery.h"

static int resolve_heads(const struct model_config *model, struct recovery_config *c, struct err *err)
{
	if (c->how.n_kv_head)
		return err_set(err, "kv_share and n_kv_head both say how many key heads there are: give one");
	int n = (int)(c->kv_share * model->n_kv_head + 1e-9); // 1/3 of 3 is 1
	while (n > 1 && model->n_kv_head % n)
		n--;
	c->how.n_kv_head = n < 1 ? 1 : n;
	c->kv_share = 0;
	return 0;
}

// Where the rank stands: the variant's own, or that of whole keys which are cut and written back.
static int *rank_of(struct setup *setup, struct recovery_config *c, struct err *err)
{
	const struct variant *v = setup->variant;
	if (v->is_plain)
		return &c->how.d_select;
	const struct option *o = v->options ? option_find(v->options, "d_select") : NULL;
	if (!o || o->type != OPTION_INT) {
		err_set(err, "variant '%s' has no d_select that share could be of: leave share out", v->name);
		return NULL;
	}
	return (int *)((char *)setup->variant_config + o->offset);
}

// The variant of the spec must fit the model with the heads that it has (setup_check) and with those that are left.
static int refuses(const struct setup *setup, const struct recovery_config *c, struct err *cause)
{
	const struct model_conversion conversion = {
	        .variant = setup->variant, .config = setup->variant_config, .how = c->how};
	const struct attn_dims dims = model_attn_dims(setup->model);
	if (setup->variant->check && setup->variant->check(&dims, setup->variant_config, cause))
		return 1;
	return model_convert_check(setup->model, &conversion, cause) != 0;
}

static int resolve_rank(struct setup *setup, struct recovery_config *c, struct err *err)
{
	const struct model_config kept = model_convert_config(setup->model, &c->how);
	const struct attn_dims dims = model_attn_dims(&kept);
	const int width = dims.n_kv_head * dims.d_head;
	const double wanted = c->share * width;
	struct err first = {0};
	int *rank = rank_of(setup, c, err);
	if (!rank)
		return -1;
	if (*rank)
		return err_set(err, "share and d_select both say the rank: give one");
	// Below and above in turns, the nearer first.
	int below = (int)floor(wanted), above = below + 1;
	while (below >= 1 || above <= width) {
		const int takes_below = above > width || (below >= 1 && wanted - below <= above - wanted);
		struct err cause = {0};
		*rank = takes_below ? below-- : above++;
		if (!refuses(setup, c, &cause)) {
			c->share = 0;
			return 0;
		}
		if (!first.is_set)
			first = cause;
	}
	return err_set(err, "share: no rank up to %d is taken: %s", width, first.message);
}

int recovery_resolve(struct setup *setup, struct recovery_config *c, struct err *err)
{
	if (c->kv_share > 0 && resolve_heads(setup->model, c, err))
		return -1;
	return c->share > 0 ? resolve_rank(setup, c, err) : 0;
}
