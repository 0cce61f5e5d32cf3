// SPDX-License-Identifier: MIT
// What every variant in the registry must hold to, in every model shape of settings_shapes. A new variant is tested by
// being there. The claims of banners are in test_claims.c, options and refusals in test_options.c.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/settings.h"

// Decode may add up in another order than the whole forward: logits of size 1 agree to this times epsilon.
static const double DECODE_ROUNDING = 64;

enum { B = 3, T = SETTINGS_T, V = SETTINGS_VOCAB, ALL = B * T * V };

RIG_FIXTURE;
static double worst_decode, largest_logit;
static long n_decode_equal, n_decode;

struct subject {
	const struct variant *variant;
	const void *config;
	struct model *model;
	const char *name; // variant, settings and shape, for messages
	int *tokens, n;   // (B, n)
	int n_stream;     // 0: nothing is cached, so positions cannot meet
};

// Calls body with a model of every variant in every shape, in `most` settings each. A variant may refuse some shapes,
// but not all.
static void for_each_at(int length, int most, void (*body)(struct subject *))
{
	for (const struct variant *const *v = variant_list; *v; v++) {
		int n_shape = 0;
		for (const struct settings_shape *shape = settings_shapes; shape->family; shape++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct rng rng = rig_rng(&rig);
			struct err err = {0};
			void *setting[SETTINGS_MOST];
			const struct model_config *config = settings_config(shape, length, &rig.memory);
			const struct attn_dims dims = model_attn_dims(config);
			const int n = settings_find_all(*v, &dims, &rng, &rig.memory, setting, &err);
			n_shape += n > 0;
			for (int i = 0; i < n && i < most; i++) {
				const struct arena_mark before = arena_mark(&rig.memory);
				struct subject s = {.variant = *v, .config = setting[i], .n = length};
				s.tokens = rig_tokens(&rig, B * length, V);
				s.name = arena_printf(&rig.memory, "%s {%s} in %s {%s}", (*v)->name,
				        settings_text(*v, s.config, &rig.memory), shape->family, shape->settings);
				s.model = build_model(config, *v, s.config, test_seed(), &rig.memory);
				struct stream_shape stream[VARIANT_STREAMS];
				s.n_stream = (*v)->streams(&dims, s.config, stream);
				body(&s);
				arena_rewind(&rig.memory, before);
			}
			arena_rewind(&rig.memory, mark);
		}
		if (!n_shape)
			fail_msg("%s accepts none of the shapes", (*v)->name);
	}
}

static void for_each(void (*body)(struct subject *))
{
	for_each_at(T, SETTINGS_MOST, body);
}

// Logits (B, T, V) of all positions, copied out of the step arena.
static real *logits_of(const struct subject *s, const int *tokens, int batch, int t)
{
	const size_t bytes = (size_t)batch * (size_t)t * V * sizeof(real);
	real *copy = arena_alloc(&rig.memory, bytes);
	rig_begin(&rig, TAPE_RUN);
	memcpy(copy, model_forward(&rig.tape, s->model, tokens, batch, t, 0, t, NULL)->x, bytes);
	return copy;
}

// Columns from..from+n-1 of every sequence.
static int *cut(const struct subject *s, int from, int n)
{
	int *some = arena_alloc(&rig.memory, (size_t)(B * n) * sizeof(int));
	for (int b = 0; b < B; b++)
		memcpy(some + b * n, s->tokens + b * s->n + from, (size_t)n * sizeof(int));
	return some;
}

static void compare_decoded(
        const struct subject *s, const real *whole, const real *got, int from, int n, const char *how)
{
	for (int b = 0; b < B; b++)
		for (int t = 0; t < n; t++)
			for (int c = 0; c < V; c++) {
				const double a = (double)whole[(b * s->n + from + t) * V + c],
				             d = (double)got[(b * n + t) * V + c];
				const double off = fabs(a - d), size = fmax(1, fabs(a));
				worst_decode = fmax(worst_decode, off / size);
				largest_logit = fmax(largest_logit, fabs(a));
				n_decode_equal += a == d;
				n_decode++;
				if (!(off <= DECODE_ROUNDING * FLT_EPSILON * size))
					fail_msg("%s: %s: position %d of sequence %d: logit %g by cache, %g by forward",
					        s->name, how, from + t, b, d, a);
			}
}

// Prefill of `prefix` tokens, then `chunk` at a time through the cache.
static void decode(const struct subject *s, const real *whole, int prefix, int chunk)
{
	struct cache cache;
	struct err err = {0};
	const struct arena_mark mark = arena_mark(&rig.memory);
	char how[64];
	snprintf(how, sizeof(how), "prefill %d, then %d at a time", prefix, chunk);
	if (cache_init(&cache, NULL, s->variant, &s->model->dims, s->config, B, s->n, &rig.memory, &err))
		fail_msg("%s: %s", s->name, err.message);
	for (int s2 = 0; s2 < cache.n_stream; s2++) // positions that nobody has written must not be read
		for (int l = 0; l < s->model->config.n_layer; l++)
			if (cache.layer[l].stream[s2])
				memset(cache.layer[l].stream[s2], 0xff,
				        (size_t)(B * s->n * cache.shape[s2].elements) * sizeof(real));
	for (int at = 0; at < s->n;) {
		const int n = at == 0 && prefix ? prefix : at + chunk > s->n ? s->n - at : chunk;
		rig_begin(&rig, TAPE_RUN);
		const struct tensor *logits = model_forward(&rig.tape, s->model, cut(s, at, n), B, n, 0, n, &cache);
		compare_decoded(s, whole, logits->x, at, n, how);
		at += n;
		assert_int_equal(cache.length, at);
	}
	arena_rewind(&rig.memory, mark);
}

// Every setting that was decoded, option by option, as "variant.option=value ".
static char *decoded;
static size_t decoded_size;
static FILE *decoded_log;

static void log_choices(const struct subject *s)
{
	for (const struct option *o = s->variant->options; o->key; o++) {
		if (!strcmp(o->key, "rope") && !s->model->dims.n_rotary)
			continue; // its modes are one function here
		fprintf(decoded_log, "%s.%s=", s->variant->name, o->key);
		option_print(decoded_log, o, s->config);
		fputc(' ', decoded_log);
	}
}

// A choice that is refused everywhere, or in every shape that was tried, has not been tested.
static void assert_all_choices_ran(const struct variant *v)
{
	for (const struct option *o = v->options; o->key; o++) {
		char value[64], word[200];
		if (o->type != OPTION_CHOICE && o->type != OPTION_BOOL)
			continue;
		for (int i = 0; settings_choice(o, i, value, sizeof(value)); i++) {
			const char *quote = o->type == OPTION_CHOICE ? "\"" : "";
			snprintf(word, sizeof(word), "%s.%s=%s%s%s ", v->name, o->key, quote, value, quote);
			if (!strstr(decoded, word))
				fail_msg("%s has not been decoded in any shape", word);
		}
	}
}

static void decode_body(struct subject *s)
{
	if (!s->model->config.causal)
		return; // a position that sees the future cannot be decoded
	log_choices(s);
	const real *whole = logits_of(s, s->tokens, B, T);
	for (int prefix = 0; prefix <= T; prefix++)
		decode(s, whole, prefix, 1);
	for (int chunk = 2; chunk < T; chunk++)
		decode(s, whole, chunk == 5 ? 1 : 0, chunk);
}

// Prefixes on both sides of the attention kernel's blocks (24 rows, 256 positions).
static void long_body(struct subject *s)
{
	static const int prefix[] = {1, 23, 24, 25, 255, 256, 257};
	if (!s->model->config.causal)
		return;
	const real *whole = logits_of(s, s->tokens, B, s->n);
	for (int i = 0; i < 7; i++)
		decode(s, whole, prefix[i], prefix[i] < 255 ? 120 : 1);
}

static void decode_equals_forward_for_every_prefix(void **state UNUSED)
{
	decoded_log = open_memstream(&decoded, &decoded_size);
	for_each(decode_body);
	fclose(decoded_log);
	for (const struct variant *const *v = variant_list; *v; v++)
		assert_all_choices_ran(*v);
	free(decoded);
	for_each_at(261, 1, long_body);
	printf("# decode against forward: largest difference %.2e of the logit (or of 1), %.2f %% of %ld logits bit "
	       "for bit; "
	       "logits up to %.2g\n",
	        worst_decode, 100.0 * (double)n_decode_equal / (double)n_decode, n_decode, largest_logit);
}

// The last position alone, as training asks for it, has the bits that it has among all positions.
static void last_body(struct subject *s)
{
	const real *whole = logits_of(s, s->tokens, B, T);
	for (int from = 0; from < T; from += 4) {
		rig_begin(&rig, TAPE_RUN);
		const struct tensor *some = model_forward(&rig.tape, s->model, s->tokens, B, T, from, T - from, NULL);
		for (int b = 0; b < B; b++)
			if (memcmp(some->x + b * (T - from) * V, whole + (b * T + from) * V,
			            (size_t)((T - from) * V) * sizeof(real)))
				fail_msg(
				        "%s: logits from position %d alone differ from those among all", s->name, from);
	}
}

static void wanted_positions_alone_have_the_same_bits(void **state UNUSED)
{
	for_each(last_body);
}

static void causality_body(struct subject *s)
{
	const real *before = logits_of(s, s->tokens, B, T);
	int *changed = cut(s, 0, T), sees_future = 0;
	for (int from = T - 1; from > 0; from--) {
		for (int b = 0; b < B; b++)
			changed[b * T + from] = (changed[b * T + from] + 1 + b) % V;
		const real *after = logits_of(s, changed, B, T);
		for (int b = 0; b < B; b++) {
			const size_t past = (size_t)(from * V) * sizeof(real);
			const int differs = memcmp(before + b * T * V, after + b * T * V, past) != 0;
			sees_future |= differs;
			if (s->model->config.causal && differs)
				fail_msg("%s: tokens from %d on changed the logits before", s->name, from);
			assert_memory_not_equal(
			        before + (b * T + from) * V, after + (b * T + from) * V, V * sizeof(real));
		}
	}
	if (!s->model->config.causal && s->n_stream && !sees_future)
		fail_msg("%s: not causal, yet the past does not see the future", s->name);
}

static void the_future_cannot_change_the_past(void **state UNUSED)
{
	for_each(causality_body);
}

static void batch_body(struct subject *s)
{
	const real *together = logits_of(s, s->tokens, B, T);
	for (int b = 0; b < B; b++) {
		const real *alone = logits_of(s, s->tokens + b * T, 1, T);
		if (memcmp(alone, together + b * T * V, (size_t)(T * V) * sizeof(real)))
			fail_msg("%s: sequence %d has other logits alone than in a batch", s->name, b);
	}
}

static void sequences_of_a_batch_are_independent(void **state UNUSED)
{
	for_each(batch_body);
}

static void bytes_body(struct subject *s)
{
	struct stream_shape shape[VARIANT_STREAMS];
	struct cache cache;
	struct err err = {0};
	const int n = s->variant->streams(&s->model->dims, s->config, shape);
	assert_in_range(n, 0, VARIANT_STREAMS);
	for (int i = 0; i < n; i++) {
		assert_true(shape[i].elements > 0 && shape[i].name);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(shape[i].name, shape[j].name);
	}
	for (int capacity = 1; capacity < 40; capacity += 19) {
		const size_t used = rig.memory.used_bytes;
		assert_int_equal(cache_init(&cache, NULL, s->variant, &s->model->dims, s->config, B, capacity,
		                         &rig.memory, &err),
		        0);
		const double counted =
		        cache_count(NULL, s->variant, &s->model->dims, s->config).per_token * B * capacity;
		if (cache.allocated_bytes != counted)
			fail_msg("%s: %g bytes allocated for %g counted", s->name, cache.allocated_bytes, counted);
		assert_true((double)(rig.memory.used_bytes - used) >= counted);
	}
}

static void allocated_bytes_equal_counted_bytes(void **state UNUSED)
{
	for_each(bytes_body);
}

static void seed_body(struct subject *s)
{
	const struct model *m = s->model;
	const real *one = logits_of(s, s->tokens, B, T), *again = logits_of(s, s->tokens, B, T);
	assert_memory_equal(one, again, ALL * sizeof(real));
	struct subject same = *s, other = *s;
	same.model = build_model(&m->config, s->variant, s->config, test_seed(), &rig.memory);
	other.model = build_model(&m->config, s->variant, s->config, test_seed() + 1, &rig.memory);
	assert_memory_equal(same.model->x, m->x, (size_t)m->n_padded * sizeof(real));
	assert_memory_equal(one, logits_of(&same, s->tokens, B, T), ALL * sizeof(real));
	assert_memory_not_equal(one, logits_of(&other, s->tokens, B, T), ALL * sizeof(real));
}

static void same_seed_same_bits_other_seed_other_bits(void **state UNUSED)
{
	for_each(seed_body);
}

static void params_body(struct subject *s)
{
	struct param_shape shape[VARIANT_PARAMS];
	const struct model *m = s->model;
	const struct model_config *c = &m->config;
	const int n = s->variant->params(&m->dims, s->config, shape), biased_norm = c->bias && c->norm == NORM_LAYER;
	assert_in_range(n, s->n_stream ? 1 : 0, VARIANT_PARAMS);
	long layer = 0;
	for (int i = 0; i < n; i++)
		layer += (long)shape[i].rows * shape[i].cols;
	const long norm = (1 + biased_norm) * c->d_model, ff = c->activation == ACT_SWIGLU ? 2 * c->d_ff : c->d_ff;
	layer += 2 * norm + (ff + c->d_ff) * c->d_model + (c->bias ? ff + c->d_model : 0);
	long whole = c->n_layer * layer + (long)c->n_vocab * c->d_model * (c->tied_head ? 1 : 2);
	whole += c->final_norm * norm + (c->head_bias ? c->n_vocab : 0);
	whole += c->position == POSITION_LEARNED ? (long)c->n_ctx * c->d_model : 0;
	whole += c->token_input == TOKEN_INPUT_ONE_HOT ? c->d_model : 0; // the linear map's bias
	whole += c->head == HEAD_MLP ? (long)c->d_model * (c->d_model + (c->bias ? 1 : 0)) + norm : 0;
	if (m->n_number != whole)
		fail_msg("%s: %ld numbers in the model, %ld by its tables", s->name, m->n_number, whole);
	long sum = 0;
	for (int i = 0; i < m->n_param; i++) {
		sum += (long)m->param[i].tensor.T * m->param[i].tensor.C;
		for (int j = 0; j < i; j++)
			assert_string_not_equal(m->param[i].name, m->param[j].name);
	}
	assert_int_equal(sum, whole);
}

static void parameters_are_those_of_the_tables(void **state UNUSED)
{
	for_each(params_body);
}

// Every matrix has a gradient that is somewhere not zero (else it does nothing), and a NaN in it reaches the loss:
// a guard against divergence must be able to see it.
static void reach_body(struct subject *s)
{
	struct model *m = s->model;
	int *targets = rig_tokens(&rig, B * T, V);
	for (int i = -1; i < m->n_param; i++) {
		struct tensor *t = i < 0 ? NULL : &m->param[i].tensor;
		const size_t bytes = t ? (size_t)(t->T * t->C) * sizeof(real) : 0;
		real *kept = arena_alloc(&rig.memory, bytes);
		if (t) {
			memcpy(kept, t->x, bytes);
			memset(t->x, 0xff, bytes);
		}
		rig_begin(&rig, TAPE_RECORD);
		model_clear_gradients(m);
		const struct loss loss = op_cross_entropy(
		        &rig.tape, model_forward(&rig.tape, m, s->tokens, B, T, 0, T, NULL), targets, NULL);
		if (t) {
			memcpy(t->x, kept, bytes);
			if (isfinite(loss.mean))
				fail_msg("%s: NaN in '%s' does not reach the loss", s->name, m->param[i].name);
			continue;
		}
		assert_true(isfinite(loss.mean));
		tape_backward(&rig.tape);
		for (int p = 0; p < m->n_param; p++) {
			const struct tensor *param = &m->param[p].tensor;
			double size = 0;
			for (long j = 0; j < (long)param->T * param->C; j++) {
				assert_true(isfinite((double)param->dx[j]));
				size += fabs((double)param->dx[j]);
			}
			// (The gradient of a key's bias is zero but for rounding: soft-max does not see a common
			// shift.)
			if (!param->is_live || (param->T > 1 && size == 0))
				fail_msg("%s: '%s' has no gradient", s->name, m->param[p].name);
		}
	}
}

static void every_parameter_matters_and_shows_nan(void **state UNUSED)
{
	for_each(reach_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(decode_equals_forward_for_every_prefix),
	        cmocka_unit_test(wanted_positions_alone_have_the_same_bits),
	        cmocka_unit_test(the_future_cannot_change_the_past),
	        cmocka_unit_test(sequences_of_a_batch_are_independent),
	        cmocka_unit_test(allocated_bytes_equal_counted_bytes),
	        cmocka_unit_test(same_seed_same_bits_other_seed_other_bits),
	        cmocka_unit_test(parameters_are_those_of_the_tables),
	        cmocka_unit_test(every_parameter_matters_and_shows_nan),
	};
	return cmocka_run_group_tests_name("conformance of variants", tests, setup, teardown);
}
