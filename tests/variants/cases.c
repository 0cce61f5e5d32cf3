// SPDX-License-Identifier: MIT
#include "tests/variants/cases.h"

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/test.h"

const struct variant_case variant_cases[] = {
        {"mha", ""},
        {"mha", "rope=at_read"},
        {"mha", "m1=2"},
        {"mha", "m1=3 routing=per_head relu=true"},
        {"gqa", ""},
        {"gqa", "rope=at_read"},
        {"mqa", ""},
        {"mqa", "rope=at_read"},
        {"thin_keys", "d_select_per_head=4"},
        {"thin_keys", "d_select_per_head=4 rope=first_frequencies"},
        {"thin_keys", "d_select_per_head=12"},
        {"shared_kv", ""},
        {"shared_kv", "rope=rotated_value", SEES_ABSOLUTE},
        {"shared_kv", "rope=turned_back"},
        {"shared_kv", "plus=true m=10"},
        {"shared_kv", "plus=true m=7 map_cut=halves map_per_head=true rope=turned_back"},
        {"shared_qk", ""},
        {"shared_qk", "rope=at_read"},
        {"shared_qk", "plus=true m=6 map_per_head=true"},
        {"shared_qk", "plus=true m=10 map_cut=halves"},
        {"shared_qkv", ""},
        {"shared_qkv", "rope=rotated_value", SEES_ABSOLUTE},
        {"shared_qkv", "rope=turned_back"},
        {"shared_qkv", "plus=true m=1"},
        {"shared_qkv", "plus=true m=9 map_per_head=true"},
        {"shared_qkv", "plus=true m=5 map_cut=halves"},
        {"keyless", "m1=1 m2=1"},
        {"keyless", "m1=2"},
        {"keyless", "m1=2 routing=per_head rope=turned_back"},
        {"keyless", "m1=3 m2=1 relu=query"},
        {"keyless", "m1=2 m2=2 relu=both rope=rotated_value", SEES_ABSOLUTE},
        {"keyless", "m1=2 m2=2 relu=value routing=per_head"},
        {"keyless", "m1=1 m2=4 rope=turned_back"},
        {"keyless", "m1=2 m2=2 d_latent=5"},
        {"keyless", "m1=1 m2=2 d_latent=11 relu=value"},
        {"mla", "d_latent=6"},
        {"mla", "d_latent=6 latent_norm=true"},
        {"mla", "d_latent=6 d_rope=4"},
        {"mla", "d_latent=11 d_rope=2 latent_norm=true"},
        {"mla", "d_latent=6 rope=up_projected"},
        {"key_channels", "d_keep=2"},
        {"key_channels", "d_keep=4"},
        {"key_channels", "d_keep=8"},
        {"factored_keys", "d_select=4"},
        {"factored_keys", "d_select=8 per=head"},
        {"factored_keys", "d_select=8 rope=planes"},
        {"factored_keys", "d_select=8 rope=planes d_rope=2"},
        {"factored_keys", "d_select=8 per=head rope=planes"},
        {"factored_keys", "d_select=12 per=head rope=planes"},
        {"factored_keys", "d_select=8 per=head rope=own_ladder"},
        {"null", ""},
        {NULL, NULL},
};

// A head has 8 numbers, so that each mode can pair what it turns.
const char *const variant_case_shapes[] = {
        "n_layer=1 d_model=12 n_head=4 d_head=8 d_ff=4",
        "n_layer=1 d_model=16 n_head=4 n_kv_head=2 d_head=8 d_ff=4 bias=false",
        "n_layer=1 d_model=12 n_head=3 n_kv_head=1 d_head=8 d_ff=4 causal=false",
        "n_layer=1 d_model=12 n_head=4 d_head=8 d_ff=4 score_scale=model",
        "n_layer=1 d_model=12 n_head=2 d_head=8 d_ff=4 position=rope",
        "n_layer=1 d_model=12 n_head=4 n_kv_head=2 d_head=8 d_ff=4 position=rope rope_pairs=neighbours "
        "rope_fraction=0.5 rope_base=100",
        "n_layer=1 d_model=12 n_head=2 n_kv_head=1 d_head=8 d_ff=4 position=rope causal=false bias=false "
        "rope_fraction=0.5",
        "n_layer=1 d_model=12 n_head=2 d_head=8 d_ff=4 position=rope rope_pairs=neighbours causal=false",
        NULL,
};

struct model *variant_case_model(
        const struct variant_case *c, const char *shape, int n_ctx, uint64_t seed, struct arena *arena, struct err *err)
{
	const struct model_config *config = build_config("decoder", shape, 5, n_ctx, arena);
	const struct attn_dims dims = model_attn_dims(config);
	const struct variant *v = variant_find(c->variant);
	if (!v)
		fail_msg("variant '%s' is not there", c->variant);
	void *setting = arena_zalloc(arena, v->config_bytes);
	options_init(v->options, setting);
	build_options(v->options, setting, c->settings);
	if (v->check && v->check(&dims, setting, err))
		return NULL;
	return build_model(config, v, setting, seed, arena);
}

const char *variant_case_name(const struct variant_case *c, const char *shape, struct arena *arena)
{
	return arena_printf(arena, "%s {%s} in {%s}", c->variant, c->settings, shape);
}

int variant_cases_each(variant_case_check *check, int n_ctx, struct arena *arena)
{
	int n = 0;
	for (const struct variant_case *c = variant_cases; c->variant; c++)
		for (const char *const *shape = variant_case_shapes; *shape; shape++) {
			const struct arena_mark mark = arena_mark(arena);
			struct err err = {0};
			struct model *m = variant_case_model(c, *shape, n_ctx, 1, arena, &err);
			if (m)
				check(m, variant_case_name(c, *shape, arena), n++);
			arena_rewind(arena, mark);
		}
	return n;
}

int block_cases_each(variant_case_check *check, const char *sizes, int n_ctx, struct arena *arena)
{
	static const char *const settings[] = {
	        "norm=rms activation=swiglu position=none tied_head=true",
	        "dropout=0.3 dropout_hidden=true dropout_embedding=true position=sinusoidal",
	        "activation=gelu_new bias=false head_bias=true",
	        "residual=parallel position=rope",
	        "norm_place=post activation=relu",
	        "token_input=one_hot head=mlp dropout=0.2",
	};
	const int n = sizeof(settings) / sizeof(*settings);
	for (int i = 0; i < n; i++) {
		const struct arena_mark mark = arena_mark(arena);
		const char *text = arena_printf(arena, "%s %s", sizes, settings[i]);
		check(build_variant(build_config("decoder", text, 5, n_ctx, arena), "mha", "", 1, arena), text, i);
		arena_rewind(arena, mark);
	}
	return n;
}
