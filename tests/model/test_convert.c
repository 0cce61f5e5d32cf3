// SPDX-License-Identifier: MIT
// Models converted to another variant: where nothing is cut away they are the same function, in one pass and through
// the cache; what is cut is what the definition of each factoring says.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/model/convert.h"
#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

// Logits of full rank, of the source's range.
#define MOST_OFF 1e-4
enum { T = 27, V = 13 };

static struct rig rig;
static double worst;

static const struct {
	const char *shape, *source;
} sources[] = {
        {"n_layer=2 d_model=32 n_head=4 d_ff=20", "mha"},
        {"n_layer=2 d_model=32 n_head=4 n_kv_head=2 d_ff=20", "gqa"},
        {"n_layer=1 d_model=32 n_head=2 n_kv_head=1 d_head=12 d_ff=20 bias=false", "mqa"},
        {"n_layer=2 d_model=32 n_head=4 n_kv_head=2 d_ff=20 position=rope", "gqa"},
        {"n_layer=2 d_model=32 n_head=4 d_ff=20 position=rope rope_fraction=0.5 rope_pairs=neighbours", "mha"},
        {"n_layer=1 d_model=64 n_head=4 n_kv_head=2 d_head=16 d_ff=20 position=rope rope_fraction=0.25", "gqa"},
};
enum { N_SOURCE = sizeof(sources) / sizeof(sources[0]) };
static const char *const factors[] = {"key", "query", "both", "product", "stacked"};

static struct model *source(int i)
{
	const struct model_config *config = build_config("decoder", sources[i].shape, V, T, &rig.memory);
	return build_variant(config, sources[i].source, "", test_seed() + (uint64_t)i, &rig.memory);
}

static const real *logits_of(struct model *m, const int *tokens, int n, struct cache *cache)
{
	rig_begin(&rig, TAPE_RUN);
	return model_forward(&rig.tape, m, tokens, 1, n, 0, n, cache)->x;
}

static double range_of(const real *x, int n)
{
	double least = INFINITY, most = -INFINITY;
	for (int i = 0; i < n; i++)
		least = fmin(least, (double)x[i]), most = fmax(most, (double)x[i]);
	return most - least;
}

// The model in the variant; NULL, with the sentence in err, when it is refused.
static struct model *convert(
        const struct model *in, const char *variant, const char *settings, const char *how, struct err *err)
{
	struct model *out = arena_zalloc(&rig.memory, sizeof(*out));
	struct model_conversion c = {.variant = variant_find(variant), .n_thread = 2};
	void *config = arena_zalloc(&rig.memory, c.variant->config_bytes);
	options_init(c.variant->options, config);
	build_options(c.variant->options, config, settings);
	options_init(conversion_options, &c.how);
	build_options(conversion_options, &c.how, how);
	c.config = config;
	return model_convert(out, in, &c, &rig.memory, err) ? NULL : out;
}

static double difference(const real *want, const real *got, int n)
{
	double most = 0;
	for (int i = 0; i < n; i++)
		most = fmax(most, fabs((double)want[i] - (double)got[i]));
	return most;
}

// In one pass, and prefilled by `prefix` and decoded one by one.
static double off_by(const struct model *in, struct model *out, const int *tokens)
{
	real *want = arena_alloc(&rig.memory, T * V * sizeof(real));
	memcpy(want, logits_of((struct model *)in, tokens, T, NULL), T * V * sizeof(real));
	const double range = range_of(want, T * V);
	double most = difference(want, logits_of(out, tokens, T, NULL), T * V);
	for (int prefix = 1; prefix < T; prefix += 23) {
		struct cache cache;
		struct err err = {0};
		if (cache_init(&cache, NULL, out->variant, &out->dims, out->variant_config, 1, T, &rig.memory, &err))
			fail_msg("%s", err.message);
		most = fmax(most, difference(want, logits_of(out, tokens, prefix, &cache), prefix * V));
		for (int t = prefix; t < T; t++)
			most = fmax(most, difference(want + t * V, logits_of(out, tokens + t, 1, &cache), V));
	}
	return most / range;
}

static void at_full_rank_it_is_the_same_model(void **state UNUSED)
{
	int n = 0;
	for (int i = 0; i < N_SOURCE; i++)
		for (size_t f = 0; f < sizeof(factors) / sizeof(factors[0]); f++)
			for (int k = 0; k < 4; k++) {
				static const char *const forms[] = {
				        "per=layer", "per=head", "per=layer rope=planes", "per=head rope=planes"};
				struct err err = {0};
				const struct arena_mark mark = arena_mark(&rig.memory);
				const struct model *in = source(i);
				const int wide = in->dims.n_kv_head * in->dims.d_head;
				const char *setting = arena_printf(&rig.memory, "d_select=%d %s", wide, forms[k]);
				const char *how = arena_printf(&rig.memory, "factor=%s", factors[f]);
				struct model *out = convert(in, "factored_keys", setting, how, &err);
				if (!out && !strstr(err.message, "have no latent in common") &&
				        !strstr(err.message, "factor: both"))
					fail_msg("%s {%s}: %s", sources[i].shape, setting, err.message);
				const double off = out ? off_by(in, out, rig_tokens(&rig, T, V)) : 0;
				n += out != NULL;
				worst = fmax(worst, off);
				if (!(off < MOST_OFF))
					fail_msg("%s {%s %s}: off by %.3g of the range", sources[i].shape, setting, how,
					        off);
				arena_rewind(&rig.memory, mark);
			}
	printf("# %d conversions of full rank: off by %.2e of the range of the logits at most\n", n, worst);
}

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(at_full_rank_it_is_the_same_model),
	};
	return cmocka_run_group_tests_name("converted models", tests, setup, teardown);
}
