// SPDX-License-Identifier: MIT
// Models whose weights are kept in another type: the same function as the model of the rounded weights, bit for bit
// where many rows are computed and to rounding where few are; every variant, every type.
#include <float.h>
#include <math.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/settings.h"

// Of logits, or of 1: decoding adds up in another order (model.h: DECODE_ROWS).
static const double DECODE_ROUNDING = 64;
enum { T = 44, V = SETTINGS_VOCAB, PREFILL = 36, MANY = 33 };

RIG_FIXTURE;

// Every matrix that model_quantize would keep as `dtype`, rounded as it would be.
static void round_weights(struct model *m, enum dtype dtype)
{
	for (int i = 0; i < m->n_param; i++) {
		struct tensor *t = &m->param[i].tensor;
		if (m->param[i].init != INIT_WEIGHT || t->T == 1 || t == m->position)
			continue;
		unsigned char *row = arena_alloc(&rig.memory, dtype_row_bytes(dtype, t->C));
		for (int r = 0; r < t->T; r++) {
			dtype_write(dtype, row, t->x + r * t->t_stride, t->C);
			dtype_read(dtype, t->x + r * t->t_stride, row, t->C);
		}
	}
}

// A model without gradients that has the values of m.
static struct model *copy_model(const struct model *m)
{
	struct model *copy = arena_alloc(&rig.memory, sizeof(*copy));
	model_init(copy, &m->config, m->variant, m->variant_config, &rig.memory);
	model_allocate(copy, 0, &rig.memory);
	memcpy(copy->x, m->x, (size_t)m->n_padded * sizeof(real));
	return copy;
}

static real *logits(struct model *m, const int *tokens, int n, struct cache *cache)
{
	const size_t size = (size_t)(n * V) * sizeof(real);
	real *copy = arena_alloc(&rig.memory, size);
	rig_begin(&rig, TAPE_RUN);
	memcpy(copy, model_forward(&rig.tape, m, tokens, 1, n, 0, n, cache)->x, size);
	return copy;
}

static void decode(struct model *m, const int *tokens, const real *whole, const char *name)
{
	struct cache cache;
	struct err err = {0};
	if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, 1, T, &rig.memory, &err))
		fail_msg("%s", err.message);
	const real *prefill = logits(m, tokens, PREFILL, &cache);
	assert_memory_equal(prefill, whole, PREFILL * V * sizeof(real));
	for (int t = PREFILL; t < T; t++) {
		const real *one = logits(m, tokens + t, 1, &cache);
		for (int c = 0; c < V; c++) {
			const double right = (double)whole[t * V + c], off = fabs((double)one[c] - right);
			if (!(off <= DECODE_ROUNDING * FLT_EPSILON * fmax(1, fabs(right))))
				fail_msg("%s: position %d: logit %g, by forward %g", name, t, (double)one[c], right);
		}
		rig.tape.n_thread = 2;
		cache.length--;
		const real *again = logits(m, tokens + t, 1, &cache);
		rig.tape.n_thread = 1;
		if (memcmp(again, one, V * sizeof(real)))
			fail_msg("%s: position %d: two threads change bits", name, t);
	}
}

static void check(const struct variant *variant, const void *config, const struct settings_shape *shape)
{
	struct model_config *c = settings_config(shape, T, &rig.memory);
	const int *tokens = rig_tokens(&rig, T, V);
	const struct model *m = build_model(c, variant, config, test_seed(), &rig.memory);
	for (int dtype = 0; dtype < N_DTYPE; dtype++) {
		const struct arena_mark mark = arena_mark(&rig.memory);
		const char *name = arena_printf(&rig.memory, "%s {%s} in %s {%s}, weights %s", variant->name,
		        settings_text(variant, config, &rig.memory), shape->family, shape->settings, dtype_name[dtype]);
		struct model *rounded = copy_model(m), *quantized = copy_model(m);
		struct arena arena;
		arena_init(&arena, 1 << 16);
		round_weights(rounded, (enum dtype)dtype);
		const size_t bytes = (size_t)quantized->n_padded * sizeof(real);
		real *block = quantized->x;
		model_quantize(quantized, (enum dtype)dtype, 2, &arena);
		memset(block, 0xff, bytes); // nobody may look there any more
		const real *right = logits(rounded, tokens, T, NULL), *got = logits(quantized, tokens, T, NULL);
		if (memcmp(right, got, T * V * sizeof(real)))
			fail_msg("%s: not the function of the rounded weights", name);
		if (c->causal)
			decode(quantized, tokens, right, name);
		arena_release(&arena);
		arena_rewind(&rig.memory, mark);
	}
}

static void weights_of_any_type_are_the_rounded_weights(void **state UNUSED)
{
	assert_true(PREFILL >= MANY);
	for (const struct variant *const *v = variant_list; *v; v++)
		for (const struct settings_shape *shape = settings_shapes; shape->family; shape++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct rng rng = rig_rng(&rig);
			struct err err = {0};
			void *setting[SETTINGS_MOST];
			const struct attn_dims dims = model_attn_dims(settings_config(shape, T, &rig.memory));
			const int n = settings_find_all(*v, &dims, &rng, &rig.memory, setting, &err);
			for (int i = 0; i < n && i < 3; i++)
				check(*v, setting[i], shape);
			arena_rewind(&rig.memory, mark);
		}
}

// What a step is counted to read is what lies in memory: weights in their type, cached rows in theirs, once.
static void counted_bytes_are_those_that_lie_in_memory(void **state UNUSED)
{
	static const struct {
		const char *variant, *settings;
		double per_token; // numbers cached, of 4 heads of 32
	} rows[] = {{"mha", "", 256}, {"shared_kv", "", 128}, {"mla", "d_latent=64", 64}};
	const int tokens[] = {3}, S = 1024;
	for (int i = 0; i < 3; i++)
		for (int weights = 0; weights < N_DTYPE; weights++) {
			struct err err = {0};
			struct cache cache;
			struct cache_config types = {.k_dtype = DTYPE_Q8, .v_dtype = DTYPE_Q8};
			const struct model_config *c =
			        build_config("decoder", "n_layer=1 d_model=128 n_head=4 d_ff=256", 512, S, &rig.memory);
			struct model *m =
			        copy_model(build_variant(c, rows[i].variant, rows[i].settings, 1, &rig.memory));
			double least = 0;
			for (int p = 0; p < m->n_param; p++) {
				const struct tensor *t = &m->param[p].tensor;
				if (t->T > 1 && !m->param[p].is_embedding)
					least += t->T * (double)dtype_row_bytes((enum dtype)weights, t->C);
			}
			model_quantize(m, (enum dtype)weights, 1, &rig.memory);
			if (cache_init(
			            &cache, &types, m->variant, &m->dims, m->variant_config, 1, S, &rig.memory, &err))
				fail_msg("%s", err.message);
			least += S * rows[i].per_token / 32 * 34;
			cache.length = S - 1;
			rig_begin(&rig, TAPE_COUNT);
			model_forward(&rig.tape, m, tokens, 1, 1, 0, 1, &cache);
			const double counted = rig.tape.forward.read_bytes;
			// Over that: activations, biases, gains.
			if (counted < least || counted > least + 40e3)
				fail_msg("%s, weights %s: %.0f bytes counted, %.0f lie there", rows[i].variant,
				        dtype_name[weights], counted, least);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(weights_of_any_type_are_the_rounded_weights),
	        cmocka_unit_test(counted_bytes_are_those_that_lie_in_memory),
	};
	return cmocka_run_group_tests_name("weights of other types", tests, setup, teardown);
}
