// SPDX-License-Identifier: MIT
// A step that was taken down once and is played at later depths gives the bits of steps that run slot by slot.
#include <math.h>
#include <string.h>

#include "harness/run/player.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/num/taken.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

enum { B = 2, V = 5, N_CTX = 80, PREFILL = 30, T = 70, N_STEP = T - PREFILL };

static struct rig rig;
static struct backend taken;

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	taken = taken_backend();
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	return 0;
}

// Logits (N_STEP, B, V) of steps after a prefill. Returns how many of them were played.
static long decode(real *logits, const struct backend *backend, struct model *m, const struct cache_config *config)
{
	struct tape tape;
	struct tape_memory work;
	struct player player = {0};
	struct cache cache;
	struct err err = {0};
	int tokens[B * PREFILL];
	tape_open(&tape, &work, backend, 1, 1 << 20);
	if (cache_init(&cache, config, m->variant, &m->dims, m->variant_config, B, T, &rig.memory, &err))
		fail_msg("%s", err.message);
	for (int i = 0; i < B * PREFILL; i++)
		tokens[i] = i * i % V;
	tape_restart(&tape, TAPE_RUN);
	model_forward(&tape, m, tokens, B, PREFILL, PREFILL - 1, 1, &cache);
	for (int i = 0; i < N_STEP; i++) {
		const int next[B] = {i * 3 % V, (i * i + 1) % V};
		const struct tensor *y = player_step(&player, &tape, m, &cache, next);
		assert_int_equal(cache.length, PREFILL + i + 1);
		memcpy(logits + (ptrdiff_t)i * B * V, y->x, B * V * sizeof(*logits));
	}
	const long n_played = player.n_played;
	player_release(&player);
	tape_close(&work);
	return n_played;
}

static long check(struct model *m, const struct cache_config *config, const char *name)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	real *here = arena_alloc(&rig.memory, N_STEP * B * V * sizeof(*here)),
	     *played = arena_alloc(&rig.memory, N_STEP * B * V * sizeof(*played));
	assert_int_equal(decode(here, &backend_cpu, m, config), 0);
	const long n = decode(played, &taken, m, config);
	for (int i = 0; i < N_STEP * B * V; i++)
		if (!isfinite((double)here[i]) || here[i] != played[i])
			fail_msg("%s: step %d: %g, played %g", name, i / (B * V), (double)here[i], (double)played[i]);
	arena_rewind(&rig.memory, mark);
	return n;
}

static int n_played, n_not;

static void check_types(struct model *m, const char *name, int i UNUSED)
{
	static const struct cache_config types[] = {
	        {DTYPE_F32, DTYPE_F32, 0}, {DTYPE_Q8, DTYPE_F16, 0}, {DTYPE_Q4, DTYPE_BF16, K_SCALES_CHANNEL}};
	for (size_t t = 0; m->config.causal && t < sizeof(types) / sizeof(*types); t++) {
		const long n = check(m, &types[t], name);
		if (n && n != N_STEP - 1) // all but the first, or none
			fail_msg("%s: %ld steps of %d were played", name, n, N_STEP);
		n_played += n > 0, n_not += n == 0;
	}
}

static void played_steps_have_the_bits_of_others(void **state UNUSED)
{
	variant_cases_each(check_types, N_CTX, &rig.memory);
	assert_true(n_played > 150 && n_not > 0);
}

// Plain attention is played whatever its weights and caches are kept in.
static void what_matters_is_played(void **state UNUSED)
{
	static const struct cache_config f16 = {DTYPE_F16, DTYPE_F16, 0};
	static const struct {
		const char *variant, *settings, *model;
	} cases[] = {
	        {"gqa", "", "n_kv_head=2 position=rope norm=rms activation=swiglu bias=false tied_head=true"},
	        {"mha", "rope=at_read", "position=rope"},
	        {"thin_keys", "d_select_per_head=4", "position=sinusoidal"},
	        {"shared_kv", "rope=turned_back", "position=rope"},
	        {"keyless", "m1=1 m2=1", "position=learned"},
	        {"mla", "d_latent=8 d_rope=4", "position=rope"},
	        {"mha", "", "token_input=one_hot"},
	        {"shared_kv", "plus=true m=6", "position=learned"},
	};
	for (int dtype = DTYPE_F32; dtype <= DTYPE_Q8; dtype++)
		for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
			const char *text = arena_printf(
			        &rig.memory, "n_layer=2 d_model=32 n_head=4 d_head=8 d_ff=24 %s", cases[i].model);
			struct model *m = build_variant(build_config("decoder", text, V, N_CTX, &rig.memory),
			        cases[i].variant, cases[i].settings, 1, &rig.memory);
			m->dx = NULL;
			model_quantize(m, (enum dtype)dtype, 1, &rig.memory);
			if (check(m, &f16, cases[i].variant) != N_STEP - 1)
				fail_msg("%s {%s}, weights %s: is not played", cases[i].variant, text,
				        dtype_name[dtype]);
		}
}

// Keys that are made of latents at every step are more at every depth: such steps are played where a depth comes again.
static void a_step_of_one_depth_is_played_there(void **state UNUSED)
{
	struct tape tape;
	struct tape_memory work;
	struct player player = {0};
	struct cache cache;
	struct err err = {0};
	const int tokens[8] = {1, 2, 3, 4, 0, 1, 2, 3};
	struct model *m =
	        build_variant(build_config("decoder", "n_layer=2 d_model=16 n_head=2 d_head=8 d_ff=8 position=rope", V,
	                              N_CTX, &rig.memory),
	                "mla", "d_latent=6 rope=up_projected", 1, &rig.memory);
	tape_open(&tape, &work, &taken, 1, 1 << 20);
	if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, 1, T, &rig.memory, &err))
		fail_msg("%s", err.message);
	tape_restart(&tape, TAPE_RUN);
	model_forward(&tape, m, tokens, 1, 8, 7, 1, &cache);
	real first[V];
	for (int i = 0; i < 5; i++) {
		cache.length = 8;
		const struct tensor *y = player_step(&player, &tape, m, &cache, tokens);
		assert_int_equal(player.n_played, i);
		if (i)
			assert_memory_equal(y->x, first, sizeof(first));
		else
			memcpy(first, y->x, sizeof(first));
	}
	player_step(&player, &tape, m, &cache, tokens); // at 9
	assert_int_equal(player.n_played, 4);
	player_release(&player);
	tape_close(&work);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(played_steps_have_the_bits_of_others),
	        cmocka_unit_test(what_matters_is_played),
	        cmocka_unit_test(a_step_of_one_depth_is_played_there),
	};
	return cmocka_run_group_tests_name("steps played again", tests, setup, teardown);
}
