// SPDX-License-Identifier: MIT
// The papers' arithmetic of caches, by what the variants' streams() say: paper B's tables 6 and 10 (reference/papers.md
// B.2.9) for the shape of LLaMA-7B, with keys from scratch (thin_keys) and of a trained model (factored_keys).
#include <math.h>
#include <stdio.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/test.h"

ARENA_FIXTURE(arena, 1 << 20);
static const double GIB = 1024.0 * 1024 * 1024, GB = 1e9;

static const struct {
	const char *variant, *settings;
	int n_kv_head;
	long tokens;
	double unit, total; // as printed
	double rounding;    // half of the last digit that is printed
} rows[] = {
        {"mha", "", 32, 131072, GIB, 64, 0},
        {"factored_keys", "d_select=1024", 32, 131072, GIB, 40, 0},
        {"factored_keys", "d_select=1024 per=head", 32, 131072, GIB, 40, 0},
        {"thin_keys", "d_select=1024", 32, 131072, GIB, 40, 0},
        {"gqa", "", 8, 131072, GIB, 16, 0},
        {"factored_keys", "d_select=256", 8, 131072, GIB, 10, 0},
        {"thin_keys", "d_select=1024", 8, 131072, GIB, 10, 0}, // of all query heads: 256 of the key heads
        {"shared_kv", "", 32, 131072, GIB, 32, 0},
        {"mha", "", 32, 128000, GB, 67.2, 0.1}, // twice 33.6, which was rounded
        {"factored_keys", "d_select=2048", 32, 128000, GB, 50.4, 0.1},
        {"factored_keys", "d_select=1024", 32, 128000, GB, 42.0, 0.1},
        {"mha", "", 32, 1000000, GB, 524, 0.5},
        {"factored_keys", "d_select=2048", 32, 1000000, GB, 393, 0.5},
        {"factored_keys", "d_select=1024", 32, 1000000, GB, 328, 0.5},
};

static void caches_are_those_of_the_papers_tables(void **state UNUSED)
{
	struct cache_config half = {.k_dtype = DTYPE_F16, .v_dtype = DTYPE_F16};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = {0};
		const struct model_config *config = build_config("llama",
		        arena_printf(
		                &arena, "n_layer=32 d_model=4096 n_head=32 n_kv_head=%d n_ctx=4096", rows[i].n_kv_head),
		        32000, 4096, &arena);
		const struct attn_dims dims = model_attn_dims(config);
		const struct variant *v = variant_find(rows[i].variant);
		void *setting = arena_zalloc(&arena, v->config_bytes);
		options_init(v->options, setting);
		build_options(v->options, setting, rows[i].settings);
		if (v->check && v->check(&dims, setting, &err))
			fail_msg("%s", err.message);
		const double total =
		        cache_count(&half, v, &dims, setting).per_token * (double)rows[i].tokens / rows[i].unit;
		if (!(fabs(total - rows[i].total) <= rows[i].rounding))
			fail_msg("%s {%s}, %d key heads, %ld tokens: %g, in the paper %g", rows[i].variant,
			        rows[i].settings, rows[i].n_kv_head, rows[i].tokens, total, rows[i].total);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(caches_are_those_of_the_papers_tables)};
	return cmocka_run_group_tests_name("the papers' tables of caches", tests, setup, teardown);
}
