// SPDX-License-Identifier: MIT
// Models converted to another variant: where nothing is cut away they are the same function, in one pass and through
// the cache; what is cut is what the definition of each factoring says.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/model/convert.h"
#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

// Logits of full rank, of the source's range.
#define MOST_OFF 1e-4
enum { T = 27, V = 13 };

RIG_FIXTURE;
static double worst;
static const struct calibration *calibration; // of convert()

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
	struct model_conversion c = {.variant = variant_find(variant), .calibration = calibration, .n_thread = 2};
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

// --- keys made of values ---------------------------------------------------------------------------------------------

static struct tensor *attention_of(const struct model *m, int layer, const char *name)
{
	char full[40];
	snprintf(full, sizeof(full), "layer.%d.%s", layer, name);
	for (int i = 0; i < m->n_param; i++)
		if (!strcmp(m->param[i].name, full))
			return &m->param[i].tensor;
	return NULL;
}

// w_k = A w_v head by head, so that theorem 2's condition holds: A any matrix where nothing turns, a complex number on
// each turned pair. b_k = A b_v: what is left of a constant under the turn.
static void make_keys_of_values(const struct model *m)
{
	const struct attn_dims *d = &m->dims;
	const int n = d->d_head, half = d->n_rotary / 2;
	for (int l = 0; l < d->n_layer; l++)
		for (int g = 0; g < d->n_kv_head; g++) {
			const struct tensor *random = rig_tensor(&rig, 1, n, n);
			double *a = arena_zalloc(&rig.memory, (size_t)(n * n) * sizeof(*a));
			for (int i = 0; i < half; i++) {
				const int p = d->rope_halves ? i : 2 * i, q = d->rope_halves ? i + half : 2 * i + 1;
				a[p * n + p] = a[q * n + q] = (double)random->x[2 * i];
				a[q * n + p] = (double)random->x[2 * i + 1];
				a[p * n + q] = -a[q * n + p];
			}
			for (int i = d->n_rotary; i < n; i++)
				for (int j = d->n_rotary; j < n; j++)
					a[i * n + j] = (double)random->x[i * n + j];
			const char *const names[][2] = {{"w_k", "w_v"}, {"b_k", "b_v"}};
			for (int k = 0; k < 2; k++) {
				struct tensor *to = attention_of(m, l, names[k][0]);
				const struct tensor *from = attention_of(m, l, names[k][1]);
				const int columns = k ? 1 : d->d_model;
				for (int i = 0; to && i < n; i++)
					for (int c = 0; c < columns; c++) {
						double sum = 0;
						for (int j = 0; j < n; j++)
							sum += a[i * n + j] *
							       (double)from->x[(g * n + j) * columns + c];
						to->x[(g * n + i) * columns + c] = (real)sum;
					}
			}
		}
}

static void where_theorem_2_holds_keys_are_not_needed(void **state UNUSED)
{
	static const char *const targets[][2] = {{"shared_kv", ""}, {"keyless", "m1=1 m2=1"}, {"keyless", "m1=2"},
	        {"keyless", "m1=3 m2=2 routing=per_head"}};
	double most = 0, least_broken = INFINITY;
	for (int i = 0; i < N_SOURCE; i++)
		for (int k = 0; k < 4; k++)
			for (int whiten = 0; whiten < 2; whiten++) {
				struct err err = {0};
				const struct arena_mark mark = arena_mark(&rig.memory);
				struct model *in = source(i);
				const int *tokens = rig_tokens(&rig, T, V);
				make_keys_of_values(in);
				struct calibration text;
				assert_int_equal(model_calibrate(&text, in, rig_tokens(&rig, 400, V), 400, T, 1,
				                         &rig.memory, &err),
				        0);
				calibration = &text;
				struct model *out =
				        convert(in, targets[k][0], targets[k][1], whiten ? "whiten=true" : "", &err);
				if (!out)
					fail_msg("%s", err.message);
				const double off = off_by(in, out, tokens);
				most = fmax(most, off);
				if (!(off < MOST_OFF))
					fail_msg("%s as %s {%s}: off by %.3g of the range", sources[i].shape,
					        targets[k][0], targets[k][1], off);
				// Keys that are not made of values cannot be had so: the condition matters.
				struct model *other = source(i);
				least_broken = fmin(least_broken,
				        off_by(other, convert(other, targets[k][0], targets[k][1], "", &err), tokens));
				arena_rewind(&rig.memory, mark);
			}
	calibration = NULL;
	printf("# keys of values: off by %.2e of the range at most; by %.2e at least where they are not\n", most,
	        least_broken);
	assert_true(least_broken > 10 * most);
}

// Theorem 2's own words: W~_Q = W_Q W_K^T W_V (W_V^T W_V)^-1 with maps (d, d_head), as one product for any keys. Both
// sides times W_V^T W_V, so that nothing is inverted here.
static void queries_are_those_of_theorem_2(void **state UNUSED)
{
	struct err err = {0};
	const struct model *in = source(1), *out = convert(in, "shared_kv", "", "", &err);
	const struct attn_dims *d = &in->dims;
	const struct tensor *q = attention_of(in, 0, "w_q"), *k = attention_of(in, 0, "w_k"),
	                    *v = attention_of(in, 0, "w_v"), *own = attention_of(out, 0, "w_q");
	const int n = d->d_head, in_width = d->d_model;
	for (int h = 0; h < d->n_head; h++)
		for (int x = 0; x < in_width; x++)
			for (int j = 0; j < n; j++) {
				const int g = h / (d->n_head / d->n_kv_head);
				double left = 0, right = 0;
				for (int i = 0; i < n; i++) {
					double vv = 0, kv = 0;
					for (int c = 0; c < in_width; c++) {
						const double other = (double)v->x[(g * n + j) * in_width + c];
						vv += (double)v->x[(g * n + i) * in_width + c] * other;
						kv += (double)k->x[(g * n + i) * in_width + c] * other;
					}
					left += (double)own->x[(h * n + i) * in_width + x] * vv;
					right += (double)q->x[(h * n + i) * in_width + x] * kv;
				}
				if (!(fabs(left - right) < 1e-6))
					fail_msg("head %d, input %d, number %d: %g, by theorem 2 %g", h, x, j, left,
					        right);
			}
}

// --- heads and whole keys --------------------------------------------------------------------------------------------

// Every key and value head of a group a copy of one: pooling them changes nothing. Copies that stand apart are found by
// likeness alone.
static void heads_that_are_one_are_pooled_without_loss(void **state UNUSED)
{
	static const int apart[] = {0, 1, 1, 0};
	for (int is_apart = 0; is_apart < 2; is_apart++)
		for (int i = 0; i < N_SOURCE; i++) {
			struct err err = {0};
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct model *in = source(i);
			const int n = in->dims.d_head, n_kv = in->dims.n_kv_head, *tokens = rig_tokens(&rig, T, V);
			const char *const names[] = {"w_k", "w_v", "b_k", "b_v"};
			for (int l = 0; n_kv == 4 && l < in->dims.n_layer; l++)
				for (int p = 0; p < 4; p++) {
					struct tensor *t = attention_of(in, l, names[p]);
					const size_t head = (size_t)(n * (p < 2 ? t->C : 1));
					for (int g = 0; g < n_kv; g++) {
						const int of = is_apart ? apart[g] : g / 2 * 2;
						memmove(t->x + (size_t)g * head, t->x + (size_t)of * head,
						        head * sizeof(real));
					}
				}
			if (n_kv == 4) {
				const struct model *merged = convert(
				        in, "gqa", "", is_apart ? "n_kv_head=2 pool=similar" : "n_kv_head=2", &err);
				if (!merged)
					fail_msg("%s", err.message);
				assert_int_equal(merged->dims.n_kv_head, 2);
				assert_true(off_by(in, (struct model *)merged, tokens) < MOST_OFF);
				const struct model *wrong = convert(in, "gqa", "", "n_kv_head=2", &err);
				assert_true(!is_apart || off_by(in, (struct model *)wrong, tokens) > MOST_OFF);
				assert_non_null(convert(in, "mqa", "", "n_kv_head=1", &err));
			}
			arena_rewind(&rig.memory, mark);
		}
}

// The product written back is the function of the factors, for keys in any mode.
static void a_product_of_whole_size_is_the_same_cut(void **state UNUSED)
{
	for (int i = 0; i < N_SOURCE; i++)
		for (size_t f = 0; f < sizeof(factors) / sizeof(factors[0]); f++)
			for (int per = 0; per < 2; per++) {
				struct err err = {0};
				const struct arena_mark mark = arena_mark(&rig.memory);
				const struct model *in = source(i);
				const int d_select = in->dims.n_kv_head * in->dims.d_head / 2;
				const char *form = per ? "per=head" : "per=layer",
				           *how = arena_printf(&rig.memory, "factor=%s", factors[f]);
				const struct model *thin = convert(in, "factored_keys",
				        arena_printf(&rig.memory, "d_select=%d %s", d_select, form), how, &err);
				struct model *whole = convert(in, sources[i].source, "",
				        arena_printf(&rig.memory, "%s d_select=%d %s", how, d_select, form), &err);
				// Of queries alone: keys stay whole, and so does the bias of queries.
				if (thin && f != 1 && !(off_by(thin, whole, rig_tokens(&rig, T, V)) < MOST_OFF))
					fail_msg("%s {%s %s}", sources[i].shape, form, how);
				assert_non_null(whole);
				assert_true(off_by(in, whole, rig_tokens(&rig, T, V)) > MOST_OFF / 10);
				arena_rewind(&rig.memory, mark);
			}
}

// --- ranks that differ from layer to layer ---------------------------------------------------------------------------

static double error_of(const struct model *m, const struct model *in, int layer)
{
	const struct tensor *latent = attention_of(m, layer, "w_latent"), *up = attention_of(m, layer, "w_up"),
	                    *k = attention_of(in, layer, "w_k");
	double error = 0, all = 0;
	for (int i = 0; i < k->T; i++)
		for (int j = 0; j < k->C; j++) {
			double sum = (double)k->x[i * k->C + j];
			all += sum * sum;
			for (int t = 0; t < latent->T; t++)
				sum -= (double)up->x[i * up->C + t] * (double)latent->x[t * k->C + j];
			error += sum * sum;
		}
	return error / all;
}

// What the layers lose together is the least that any ranks of that sum lose: every other pair is tried.
static void layers_share_out_ranks_as_is_best(void **state UNUSED)
{
	struct err err = {0};
	struct model *in = source(0);
	const int wide = 32, d_select = 12;
	struct tensor *k = attention_of(in, 1, "w_k"); // one layer of nearly low rank
	for (int i = 5; i < wide; i++)
		for (int j = 0; j < k->C; j++)
			k->x[i * k->C + j] *= (real)0.05;
	struct model *shared = convert(in, "factored_keys", "d_select=12", "ranks=energy", &err);
	if (!shared)
		fail_msg("%s", err.message);
	const double total = error_of(shared, in, 0) + error_of(shared, in, 1);
	double best = INFINITY;
	for (int r = 1; r < 2 * d_select; r++) {
		const struct model *m = convert(in, "factored_keys",
		        arena_printf(&rig.memory, "d_select=12 ranks=%d,%d", r, 2 * d_select - r), "", &err);
		best = fmin(best, error_of(m, in, 0) + error_of(m, in, 1));
	}
	assert_true(fabs(total - best) < 1e-6);
	const char *ranks = ((const struct key_latents_config *)shared->variant_config)->ranks;
	printf("# ranks %s of 12 each: %.3g of both layers' keys is lost\n", ranks, total);
	assert_true(atoi(ranks) > d_select && atoi(strchr(ranks, ',') + 1) < d_select);
	// And the caches are what was asked for, layer by layer.
	struct cache cache;
	if (cache_init(&cache, NULL, shared->variant, &shared->dims, shared->variant_config, 1, 10, &rig.memory, &err))
		fail_msg("%s", err.message);
	assert_int_equal(cache.layer[0].shape[0].elements, atoi(ranks));
	assert_int_equal(cache.layer[1].shape[0].elements, 2 * d_select - atoi(ranks));
	assert_true(cache_count(NULL, shared->variant, &shared->dims, shared->variant_config).per_token ==
	            (2 * d_select + 2 * wide) * (double)sizeof(real));
	assert_true(off_by(shared, shared, rig_tokens(&rig, T, V)) < MOST_OFF); // decoded through them, it is itself
}

// Fisher information weighs a layer's error: a layer that the loss does not depend on gets the least.
static void a_layer_without_information_gets_the_least_rank(void **state UNUSED)
{
	struct err err = {0};
	struct model *in = source(0);
	struct calibration text;
	const int *tokens = rig_tokens(&rig, 400, V);
	struct tensor *o = attention_of(in, 0, "w_o");
	for (int i = 0; i < o->T * o->C; i++)
		o->x[i] *= (real)1e-6;
	assert_null(convert(in, "factored_keys", "d_select=12", "ranks=fisher", &err));
	assert_string_equal(err.message, "ranks: fisher needs a calibration text");
	err_clear(&err);
	assert_int_equal(model_calibrate(&text, in, tokens, 400, T, 1, &rig.memory, &err), 0);
	assert_int_equal(model_fisher(&text, in, tokens, 400, T, 1, &rig.memory, &err), 0);
	calibration = &text;
	const struct model *m = convert(in, "factored_keys", "d_select=12 per=head", "ranks=fisher", &err);
	calibration = NULL;
	if (!m)
		fail_msg("%s", err.message);
	assert_string_equal(((const struct key_latents_config *)m->variant_config)->ranks, "4,20");
}

static const struct {
	int source;
	const char *variant, *settings, *how, *message;
} refusals[] = {
        {0, "factored_keys", "d_select=0", "", "d_select must be 1 to n_kv_head * d_head (32), not 0"},
        {0, "factored_keys", "d_select=33", "", "d_select must be 1 to n_kv_head * d_head (32), not 33"},
        {3, "factored_keys", "d_select=6 per=head rope=planes", "",
                "rope cannot pair the 3 numbers of a latent that it turns (d_rope, or all of d_select): give it an "
                "even "
                "number of them"},
        {3, "factored_keys", "d_select=8 d_rope=4 rope=planes", "",
                "d_rope 4 leaves 4 numbers of d_select that are not turned, and the model has 0 of them"},
        {0, "factored_keys", "d_select=8", "factor=query",
                "queries of several heads have no latent in common: set per to head, or another factor"},
        {3, "factored_keys", "d_select=8 rope=planes", "factor=both",
                "factor: both cuts queries and keys apart, which planes that turn together are not: take product"},
        {0, "factored_keys", "d_select=8", "d_select=8",
                "the conversion's d_select is for targets with whole keys: this one has its own"},
        {0, "factored_keys", "d_select=8", "whiten=true", "whiten needs a calibration text"},
        {0, "thin_keys", "d_select=8", "", "variant 'thin_keys' cannot be made of a trained model"},
        {0, "gqa", "", "n_kv_head=3", "n_kv_head must divide the model's 4 key heads, which 3 does not"},
        {0, "mha", "m1=2", "", "a trained model has one matrix of queries: set m1 to 1"},
        {0, "mha", "", "d_select=40", "d_select must be 1 to n_kv_head * d_head (32), not 40"},
        {0, "shared_kv", "plus=true", "", "a trained model has no 2D map: set plus to false"},
        {3, "shared_kv", "rope=turned_back", "",
                "values of a trained model are averaged unturned: set rope to at_read"},
        {0, "keyless", "relu=query", "",
                "a trained model has no ReLU and no latent: set relu to none and d_latent to 0"},
        {0, "factored_keys", "d_select=8 ranks=8", "", "ranks has no number for layer 1 of 2 (say it like 64,48,32)"},
        {0, "factored_keys", "d_select=8 ranks=8,x", "", "ranks has no number for layer 1 of 2 (say it like 64,48,32)"},
        {0, "factored_keys", "d_select=8 ranks=8,8,8", "", "ranks has more than one number for each of 2 layers"},
        {0, "factored_keys", "d_select=8 ranks=12,6", "", "the mean of ranks is 9: set d_select to it, not to 8"},
        {0, "factored_keys", "d_select=8 ranks=16,0", "",
                "ranks, layer 1: d_select must be 1 to n_kv_head * d_head (32), not 0"},
        {0, "factored_keys", "d_select=8 ranks=8,8", "ranks=energy",
                "the ranks of layers are given already: leave one of the two out"},
        {4, "factored_keys", "d_select=7 rope=planes d_rope=4", "ranks=energy",
                "layers that share out their ranks turn as many numbers as they get: set d_rope to 0"},
        {4, "factored_keys", "d_select=17 rope=planes", "ranks=energy",
                "ranks go in steps of 2 here, and d_select 17 is no multiple of it"},
        {0, "gqa", "", "ranks=energy", "variant 'gqa' has no ranks that layers could share out"},
        {0, "keyless", "", "d_select=4", "the conversion's d_select is for keys, and here are none: set it to 0"},
};

static void what_cannot_be_converted_is_refused(void **state UNUSED)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct err err = {0};
		const struct model *in = source(refusals[i].source);
		if (convert(in, refusals[i].variant, refusals[i].settings, refusals[i].how, &err))
			fail_msg("%s {%s} is not refused", refusals[i].variant, refusals[i].settings);
		assert_string_equal(err.message, refusals[i].message);
		assert_false(err.is_fault);
	}
	struct err err = {0};
	struct calibration none;
	const struct model *thin = convert(source(0), "factored_keys", "d_select=8", "", &err);
	assert_null(convert(thin, "factored_keys", "d_select=4", "", &err));
	assert_string_equal(err.message,
	        "a conversion begins with separate queries, keys and values (mha, gqa or mqa), not "
	        "with variant 'factored_keys'");
	err_clear(&err);
	assert_int_equal(model_calibrate(&none, thin, rig_tokens(&rig, 26, V), 26, T, 1, &rig.memory, &err), -1);
	assert_string_equal(err.message, "the calibration text has 26 tokens, which is less than one sequence of 27");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(at_full_rank_it_is_the_same_model),
	        cmocka_unit_test(where_theorem_2_holds_keys_are_not_needed),
	        cmocka_unit_test(queries_are_those_of_theorem_2),
	        cmocka_unit_test(heads_that_are_one_are_pooled_without_loss),
	        cmocka_unit_test(a_product_of_whole_size_is_the_same_cut),
	        cmocka_unit_test(layers_share_out_ranks_as_is_best),
	        cmocka_unit_test(a_layer_without_information_gets_the_least_rank),
	        cmocka_unit_test(what_cannot_be_converted_is_refused),
	};
	return cmocka_run_group_tests_name("converted models", tests, setup, teardown);
}
