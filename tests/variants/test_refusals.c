// SPDX-License-Identifier: MIT
// What each variant refuses, in which words, and that the remedy it names helps.
#include <string.h>

#include "harness/registry.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

ARENA_FIXTURE(arena, 1 << 20);

#define MHA "d_model=24 n_head=4"
#define GQA "d_model=24 n_head=4 n_kv_head=2"
#define ROPE "d_model=32 n_head=4 position=rope"

static const struct {
	const char *shape, *variant, *settings, *message;
	const char *remedy_shape, *remedy; // NULL: as it was
} refusals[] = {
        {GQA, "mha", "", "mha needs n_kv_head equal to n_head (4), not 2", MHA, NULL},
        {MHA, "mha", "relu=true", "relu goes between the matrices of a chain: it needs m1 of 2 or more", NULL,
                "relu=true m1=2"},
        {GQA, "mqa", "", "mqa has one key and value head: set n_kv_head to 1 (it is 2), or take gqa",
                "d_model=24 n_head=4 n_kv_head=1", NULL},
        {MHA, "thin_keys", "", "thin_keys needs exactly one of d_select and d_select_per_head", NULL, "d_select=8"},
        {MHA, "thin_keys", "d_select=8 d_select_per_head=2",
                "thin_keys needs exactly one of d_select and d_select_per_head", NULL, "d_select_per_head=2"},
        {MHA, "thin_keys", "d_select=7", "d_select 7 is not divisible by n_head 4", NULL, "d_select=4"},
        {ROPE, "thin_keys", "d_select_per_head=3",
                "rope cannot pair the 3 numbers of a thin head that it turns (d_select per head, times rope_fraction): "
                "give it an even number of them",
                NULL, "d_select_per_head=4"},
        {ROPE " rope_fraction=0.25", "thin_keys", "d_select_per_head=4",
                "rope cannot pair the 1 numbers of a thin head that it turns (d_select per head, times rope_fraction): "
                "give it an even number of them",
                NULL, "d_select_per_head=8"},
        {ROPE, "thin_keys", "d_select_per_head=12 rope=first_frequencies",
                "rope: first_frequencies has none for keys of 12 numbers in heads of 8 (take own_ladder)", NULL,
                "d_select_per_head=12 rope=own_ladder"},
        {MHA, "shared_kv", "plus=true m=0", "a 2D map needs numbers: set m to 1 or more, or plus to false", NULL,
                "plus=true m=1"},
        {MHA, "shared_qk", "plus=true m=0", "a 2D map needs numbers: set m to 1 or more, or plus to false", NULL,
                "plus=false m=0"},
        {MHA, "shared_qkv", "plus=true m=0", "a 2D map needs numbers: set m to 1 or more, or plus to false", NULL,
                "plus=true"},
        {MHA, "keyless", "m2=1 d_latent=4", "d_latent lies between two value matrices: set m2 to 2, not 1", NULL,
                "m2=2 d_latent=4"},
        {MHA, "keyless", "m2=2 d_latent=25", "d_latent 25 is wider than d_model 24", NULL, "m2=2 d_latent=24"},
        {ROPE, "keyless", "m2=2 d_latent=4", "rope cannot turn a latent, which has no heads: set d_latent to 0", NULL,
                "m2=2 d_latent=0"},
        {MHA, "keyless", "m1=1 relu=query", "relu goes between the matrices of a chain: it needs m1 of 2 or more", NULL,
                "m1=2 relu=query"},
        {MHA, "keyless", "m1=2 m2=1 relu=both", "relu goes between the matrices of a chain: it needs m2 of 2 or more",
                NULL, "m1=2 m2=2 relu=both"},
        {GQA, "mla", "d_latent=4", "mla has one latent for all heads: leave n_kv_head at n_head (4), not 2", MHA, NULL},
        {MHA, "mla", "", "d_latent must be 1 to d_model (24), not 0", NULL, "d_latent=1"},
        {MHA, "mla", "d_latent=25", "d_latent must be 1 to d_model (24), not 25", NULL, "d_latent=24"},
        {MHA, "mla", "d_latent=4 d_rope=2",
                "d_rope 2 has nothing to turn: set it to 0, or the model's position to rope", NULL, "d_latent=4"},
        {ROPE, "mla", "d_latent=4 d_rope=3", "rope cannot pair the 3 numbers of d_rope: give it an even number of them",
                NULL, "d_latent=4 d_rope=2"},
        {ROPE, "mla", "d_latent=4", "rope cannot pair the 0 numbers of d_rope: give it an even number of them", NULL,
                "d_latent=4 rope=up_projected"},
        {ROPE, "mla", "d_latent=4 d_rope=2 rope=up_projected",
                "rope: up_projected turns keys made of the latent: set d_rope to 0, not 2", NULL,
                "d_latent=4 rope=up_projected"},
        {MHA, "factored_keys", "", "d_select must be 1 to n_kv_head * d_head (24), not 0", NULL, "d_select=1"},
        {GQA, "factored_keys", "d_select=13", "d_select must be 1 to n_kv_head * d_head (12), not 13", NULL,
                "d_select=12"},
        {GQA, "factored_keys", "d_select=3 per=head", "d_select 3 is not divisible by n_kv_head 2", NULL, "d_select=3"},
        {"d_model=8 n_head=2 d_head=8", "factored_keys", "d_select=9", "d_select 9 is wider than d_model 8", NULL,
                "d_select=8"},
        {MHA, "factored_keys", "d_select=4 d_rope=2",
                "d_rope 2 has nothing to turn: set it to 0, or the model's position to rope", NULL, "d_select=4"},
        {ROPE, "factored_keys", "d_select=4 d_rope=2",
                "rope: at_read turns whole keys: set d_rope to 0, or rope to planes", NULL,
                "d_select=4 d_rope=2 rope=planes"},
        {ROPE, "factored_keys", "d_select=5 rope=planes",
                "rope cannot pair the 5 numbers of a latent that it turns (d_rope, or all of d_select): give it an "
                "even "
                "number of them",
                NULL, "d_select=5 d_rope=4 rope=planes"},
        {ROPE, "factored_keys", "d_select=4 d_rope=6 rope=planes",
                "d_rope 6 is more than the 4 numbers of d_select or the 32 that the model turns", NULL,
                "d_select=6 d_rope=6 rope=planes"},
        {ROPE, "factored_keys", "d_select=8 d_rope=6 per=head rope=planes", "d_rope 6 is not divisible by n_kv_head 4",
                NULL, "d_select=8 d_rope=8 per=head rope=planes"},
        {ROPE, "factored_keys", "d_select=8 rope=own_ladder",
                "rope: own_ladder turns heads: set per to head, or rope to planes", NULL,
                "d_select=8 rope=own_ladder per=head"},
        {MHA, "key_channels", "", "d_keep must be 1 to d_head (6), not 0", NULL, "d_keep=6"},
        {MHA, "key_channels", "d_keep=7", "d_keep must be 1 to d_head (6), not 7", NULL, "d_keep=1"},
        {ROPE, "key_channels", "d_keep=3", "rope cannot pair the 3 numbers of d_keep: give it an even number of them",
                NULL, "d_keep=4"},
        {"d_model=36 n_head=4 position=rope rope_fraction=0.45", "key_channels", "d_keep=4",
                "rope cannot pair the 9 numbers of a head (d_head): give it an even number of them", ROPE, NULL},
};

static void what_is_refused_says_why_and_what_helps(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		struct err err = {0};
		struct variant_case c = {refusals[i].variant, refusals[i].settings};
		if (variant_case_model(&c, refusals[i].shape, 4, 1, &arena, &err))
			fail_msg("%s is not refused", variant_case_name(&c, refusals[i].shape, &arena));
		assert_string_equal(err.message, refusals[i].message);
		assert_false(err.is_fault); // exit 2: the user's
		err_clear(&err);
		const char *shape = refusals[i].remedy_shape ? refusals[i].remedy_shape : refusals[i].shape;
		c.settings = refusals[i].remedy ? refusals[i].remedy : c.settings;
		if (!variant_case_model(&c, shape, 4, 1, &arena, &err))
			fail_msg("%s should help, but: %s", variant_case_name(&c, shape, &arena), err.message);
	}
}

// Numbers out of an option's own range never reach check().
static void options_have_ranges(void **state UNUSED)
{
	static const struct {
		const char *variant, *key, *value;
	} bad[] = {{"mha", "m1", "0"}, {"mha", "m1", "5"}, {"keyless", "m1", "0"}, {"keyless", "m2", "5"},
	        {"keyless", "d_latent", "-1"}, {"mla", "d_rope", "-2"}, {"shared_kv", "m", "-1"},
	        {"shared_kv", "rope", "at_write"}, {"shared_qk", "rope", "turned_back"},
	        {"key_channels", "d_keep", "-1"}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err err = {0};
		const struct variant *v = variant_find(bad[i].variant);
		void *config = arena_zalloc(&arena, v->config_bytes);
		options_init(v->options, config);
		if (!option_set(v->options, config, bad[i].key, bad[i].value, &err))
			fail_msg("%s takes %s=%s", bad[i].variant, bad[i].key, bad[i].value);
		assert_true(strlen(err.message) > 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_refused_says_why_and_what_helps),
	        cmocka_unit_test(options_have_ranges),
	};
	return cmocka_run_group_tests_name("refusals of variants", tests, setup, teardown);
}
