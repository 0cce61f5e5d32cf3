// SPDX-License-Identifier: MIT
// Folded models: the same function in fewer products, for every prefix through the cache; folded keyless attention is
// shared_kv, bit for bit in the same parameters.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

// A product of matrices is summed in another order: logits of size 1 agree to this times epsilon.
static const double FOLD_ROUNDING = 128;
enum { B = 2, T = 11, V = 5 };

RIG_FIXTURE;
static double worst;

static const real *logits_of(struct model *m, const int *tokens, int n, struct cache *cache)
{
	rig_begin(&rig, TAPE_RUN);
	return model_forward(&rig.tape, m, tokens, B, n, 0, n, cache)->x;
}

static void compare(const char *name, const real *whole, const real *got, int from, int n)
{
	for (int b = 0; b < B; b++)
		for (int k = 0; k < n * V; k++) {
			const double want = (double)whole[(b * T + from) * V + k];
			const double off = fabs((double)got[b * n * V + k] - want) / fmax(1, fabs(want));
			worst = fmax(worst, off);
			if (!(off <= FOLD_ROUNDING * FLT_EPSILON))
				fail_msg("%s: position %d of sequence %d: %g folded, %g as trained", name, from + k / V,
				        b, (double)got[b * n * V + k], want);
		}
}

static int *cut(const int *tokens, int from, int n)
{
	int *some = arena_alloc(&rig.memory, (size_t)(B * n) * sizeof(int));
	for (int b = 0; b < B; b++)
		memcpy(some + b * n, tokens + b * T + from, (size_t)n * sizeof(int));
	return some;
}

// The folded model prefills each prefix and decodes the rest.
static void decode_folded(const char *name, struct model *folded, const int *tokens, const real *whole)
{
	for (int prefix = 1; prefix <= T; prefix++) {
		struct cache cache;
		struct err err = {0};
		if (cache_init(&cache, NULL, folded->variant, &folded->dims, folded->variant_config, B, T, &rig.memory,
		            &err))
			fail_msg("%s", err.message);
		compare(name, whole, logits_of(folded, cut(tokens, 0, prefix), prefix, &cache), 0, prefix);
		for (int at = prefix; at < T; at++)
			compare(name, whole, logits_of(folded, cut(tokens, at, 1), 1, &cache), at, 1);
	}
}

static double flops_of(struct model *m)
{
	rig_begin(&rig, TAPE_COUNT);
	model_forward(&rig.tape, m, NULL, B, T, 0, T, NULL);
	return rig.tape.forward.flops;
}

// Folded keyless has the tables of shared_kv: with its parameters, that is the same model.
static void compare_with_shared_kv(const char *name, const char *rope, struct model *folded, const int *tokens)
{
	struct model *shared = build_variant(&folded->config, "shared_kv", rope, test_seed() + 1, &rig.memory);
	assert_int_equal(shared->n_param, folded->n_param);
	for (int p = 0; p < shared->n_param; p++) {
		const struct tensor *to = &shared->param[p].tensor, *from = &folded->param[p].tensor;
		assert_true(to->T == from->T && to->C == from->C);
		memcpy(to->x, from->x, (size_t)(to->T * to->C) * sizeof(real));
	}
	real *one = arena_alloc(&rig.memory, B * T * V * sizeof(real));
	memcpy(one, logits_of(folded, tokens, T, NULL), B * T * V * sizeof(real));
	if (memcmp(one, logits_of(shared, tokens, T, NULL), B * T * V * sizeof(real)))
		fail_msg("%s: folded, it is not shared_kv", name);
}

static void assert_same_streams(const struct model *a, const struct model *b)
{
	struct stream_shape x[VARIANT_STREAMS], y[VARIANT_STREAMS];
	const int n = a->variant->streams(&a->dims, a->variant_config, x);
	assert_int_equal(n, b->variant->streams(&b->dims, b->variant_config, y));
	for (int i = 0; i < n; i++)
		assert_true(!strcmp(x[i].name, y[i].name) && x[i].elements == y[i].elements && x[i].role == y[i].role);
}

// Returns 1 when the fold left fewer products, 0 when there was nothing to fold, -1 when it was refused.
static int test_case(const struct variant_case *c, const char *shape, struct model *m)
{
	struct model folded;
	struct err err = {0};
	const char *name = variant_case_name(c, shape, &rig.memory);
	if (model_fold(&folded, m, &rig.memory, &err)) {
		assert_true(err.is_set && strstr(err.message, "ReLU"));
		return -1;
	}
	const int *tokens = rig_tokens(&rig, B * T, V);
	real *whole = arena_alloc(&rig.memory, B * T * V * sizeof(real));
	memcpy(whole, logits_of(m, tokens, T, NULL), B * T * V * sizeof(real));
	compare(name, whole, logits_of(&folded, tokens, T, NULL), 0, T);
	assert_same_streams(m, &folded);
	if (m->dims.causal)
		decode_folded(name, &folded, tokens, whole);
	assert_ptr_equal(folded.token->x, m->token->x); // shared, not copied
	assert_true(flops_of(&folded) <= flops_of(m));
	if (!strcmp(c->variant, "keyless") && !strstr(c->settings, "relu") && !strstr(c->settings, "d_latent")) {
		const char *rope = strstr(c->settings, "rope=");
		compare_with_shared_kv(name, rope ? arena_printf(&rig.memory, " %s", rope) : "", &folded, tokens);
	}
	return flops_of(&folded) < flops_of(m);
}

static void folded_models_are_the_same_function(void **state UNUSED)
{
	int n[3] = {0};
	for (const struct variant_case *c = variant_cases; c->variant; c++)
		for (const char *const *base = variant_case_shapes; variant_find(c->variant)->fold && *base; base++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct err err = {0};
			const char *shape = arena_printf(&rig.memory, "%s n_layer=2", *base);
			struct model *m = variant_case_model(c, shape, T, test_seed(), &rig.memory, &err);
			if (m)
				n[test_case(c, shape, m) + 1]++;
			arena_rewind(&rig.memory, mark);
		}
	printf("# %d folded, %d had nothing to fold, %d refused: largest difference %.2e\n", n[2], n[1], n[0], worst);
	assert_true(n[2] > 20 && n[1] > 3 && n[0] > 3);
}

// A factor of the chain left out of the fold would be seen: the comparison can fail.
static void an_unfolded_factor_would_be_seen(void **state UNUSED)
{
	struct model folded;
	struct err err = {0};
	const struct variant_case c = {"keyless", "m1=2"};
	struct model *m = variant_case_model(&c, variant_case_shapes[0], T, test_seed(), &rig.memory, &err);
	assert_int_equal(model_fold(&folded, m, &rig.memory, &err), 0);
	const int *tokens = rig_tokens(&rig, B * T, V);
	real *whole = arena_alloc(&rig.memory, B * T * V * sizeof(real));
	memcpy(whole, logits_of(m, tokens, T, NULL), B * T * V * sizeof(real));
	compare("keyless", whole, logits_of(&folded, tokens, T, NULL), 0, T);
	const struct tensor *w_q = folded.layer[0].attn[0];
	memcpy(w_q->x, m->layer[0].attn[0]->x, (size_t)(w_q->T * w_q->C) * sizeof(real));
	assert_memory_not_equal(whole, logits_of(&folded, tokens, T, NULL), B * T * V * sizeof(real));
}

static void what_does_not_fold_says_why(void **state UNUSED)
{
	struct model folded;
	struct err err = {0};
	const struct variant_case c = {"gqa", ""};
	const struct model *m = variant_case_model(&c, variant_case_shapes[0], T, test_seed(), &rig.memory, &err);
	assert_int_equal(model_fold(&folded, m, &rig.memory, &err), -1);
	assert_string_equal(err.message, "variant 'gqa' has no matrices to fold");
	assert_false(err.is_fault);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(folded_models_are_the_same_function),
	        cmocka_unit_test(an_unfolded_factor_would_be_seen),
	        cmocka_unit_test(what_does_not_fold_says_why),
	};
	return cmocka_run_group_tests_name("folded models", tests, setup, teardown);
}
