// SPDX-License-Identifier: MIT
// What a decode bench runs: a step is the model's, at any depth, type and number of threads; its bytes are counted.
#include <float.h>
#include <math.h>
#include <string.h>

#include "harness/num/op.h"
#include "harness/run/engine.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

enum { B = 2, T = 45, V = 96, SEED = 3 };

RIG_FIXTURE;

static const struct {
	const char *variant, *settings;
} rows[] = {{"mha", ""}, {"gqa", ""}, {"keyless", "m1=3"}, {"mla", "d_latent=32"}};

static struct engine_config config_of(int row, enum dtype weights, int n_thread)
{
	const char *shape = strcmp(rows[row].variant, "gqa") ? "n_layer=2 d_model=64 n_head=4 d_ff=96"
	                                                     : "n_layer=2 d_model=64 n_head=4 d_ff=96 n_kv_head=2";
	const struct model_config *c = build_config("decoder", shape, V, T, &rig.memory);
	const struct model *m = build_variant(c, rows[row].variant, rows[row].settings, SEED, &rig.memory);
	return (struct engine_config){c, m->variant, m->variant_config, weights, n_thread, SEED};
}

// Prefill and steps against one forward pass of the same weights.
static void a_step_is_the_models(void **state UNUSED)
{
	for (int row = 0; row < 4; row++)
		for (int type = 0; type < 2; type++) {
			const enum dtype weights = type ? DTYPE_Q8 : DTYPE_F32;
			const struct engine_config config = config_of(row, weights, 1),
			                           two = config_of(row, weights, 2);
			struct engine engine, other;
			struct cache cache, its;
			struct err err = {0};
			int *tokens = rig_tokens(&rig, B * T, V), some[B * T], next[B];
			engine_init(&engine, &config);
			engine_init(&other, &two);
			if (engine_cache(&engine, &cache, NULL, B, T, &err) ||
			        engine_cache(&other, &its, NULL, B, T, &err))
				fail_msg("%s", err.message);
			const int n = T - 1;
			for (int b = 0; b < B; b++) {
				memcpy(some + b * n, tokens + b * T, (size_t)n * sizeof(*some));
				next[b] = tokens[b * T + n];
			}
			rig_begin(&rig, TAPE_RUN);
			const struct tensor *whole =
			        model_forward(&rig.tape, &engine.model, tokens, B, T, T - 2, 2, NULL);
			const struct tensor *prefill = engine_prefill(&engine, &cache, some, n);
			for (int b = 0; b < B; b++)
				assert_memory_equal(prefill->x + b * V, whole->x + 2 * b * V, V * sizeof(real));
			const struct tensor *step = engine_step(&engine, &cache, n, next);
			for (int i = 0; i < B * V; i++) {
				const double right = (double)whole->x[(2 * (i / V) + 1) * V + i % V];
				if (!(fabs((double)step->x[i] - right) <= 64 * FLT_EPSILON * fmax(1, fabs(right))))
					fail_msg("%s: logit %g, by forward %g", rows[row].variant, (double)step->x[i],
					        right);
			}
			engine_prefill(&other, &its, some, n);
			assert_memory_equal(engine_step(&other, &its, n, next)->x, step->x, B * V * sizeof(real));
			const unsigned long n_grow = engine.work.step.n_grow + engine.work.scratch.n_grow;
			for (int i = 0; i < 3; i++)
				engine_step(&engine, &cache, n, next);
			assert_int_equal(
			        engine.work.step.n_grow + engine.work.scratch.n_grow, n_grow); // no memory a token
			engine_release(&engine);
			engine_release(&other);
		}
}

static void a_step_is_billed_what_lies_in_memory(void **state UNUSED)
{
	for (int row = 0; row < 4; row++) {
		const struct engine_config config = config_of(row, DTYPE_Q8, 1);
		const struct cache_config types = {.k_dtype = DTYPE_F16, .v_dtype = DTYPE_Q4};
		struct engine engine;
		struct cache cache;
		struct err err = {0};
		engine_init(&engine, &config);
		if (engine_cache(&engine, &cache, &types, B, T, &err))
			fail_msg("%s", err.message);
		const struct engine_cost cost = engine_count(&engine, &cache, T - 1),
		                         half = engine_count(&engine, &cache, T / 2);
		assert_true(cost.cache_bytes == cache.allocated_bytes);
		assert_true(half.cache_bytes < cost.cache_bytes && half.weight_bytes == cost.weight_bytes);
		assert_true(half.flops < cost.flops && cost.flops > 0);
		cache_fill(&engine.tape, &cache, T - 1, SEED);
		int next[B] = {1, 2};
		const struct tensor *step = engine_step(&engine, &cache, T - 1, next);
		for (int i = 0; i < B * V; i++)
			assert_true(isfinite((double)step->x[i]));
		double weights = 0;
		for (int i = 0; i < engine.model.n_param; i++) {
			const struct tensor *t = &engine.model.param[i].tensor;
			const int is_table = t == engine.model.token || t == engine.model.position;
			weights += (is_table ? B : t->T) *
			           (double)(t->stored ? dtype_row_bytes(DTYPE_Q8, t->C) : (size_t)t->C * sizeof(real));
		}
		assert_true(engine.model.head == engine.model.token || cost.weight_bytes == weights);
		engine_release(&engine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_step_is_the_models),
	        cmocka_unit_test(a_step_is_billed_what_lies_in_memory),
	};
	return cmocka_run_group_tests_name("decode engine", tests, setup, teardown);
}
