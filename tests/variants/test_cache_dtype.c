// SPDX-License-Identifier: MIT
// Every variant in the registry through a cache of every type, in every shape of settings_shapes: bytes allocated are
// bytes counted, decoding in chunks is one long prefill, each type disturbs logits as much as its bits say, and a type
// disturbs what its role says and nothing else. A new variant is tested by being there.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/settings.h"

// Decode may add up in another order than the whole forward (as in test_conformance.c).
static const double DECODE_ROUNDING = 64;
// Two full blocks of scales per channel and a tail.
enum { B = 2, T = 2 * DTYPE_BLOCK + 6, V = SETTINGS_VOCAB, ALL = B * T * V, NARROW = 8 };

// Root mean square of what a type does to logits, as a share of the logits' own: least and most that is sane. Half a
// unit of f16 is 2^-12 of a number, of bf16 2^-9; half a step of q8 is 1/254 of the largest, of q4 1/30 of the range.
static const struct disturbance {
	double least, most;
	int wider[2]; // types with clearly more bits (those of bf16 and q8 are nearly as good as each other's)
} disturbances[N_DTYPE] = {
        [DTYPE_F32] = {0, 0},
        [DTYPE_F16] = {1e-7, 0x1p-9, {DTYPE_F32, DTYPE_F32}},
        [DTYPE_BF16] = {1e-6, 0x1p-6, {DTYPE_F16, DTYPE_F16}},
        [DTYPE_Q8] = {1e-6, 0x1p-4, {DTYPE_F16, DTYPE_F16}},
        [DTYPE_Q4] = {1e-5, 0x1p-2, {DTYPE_BF16, DTYPE_Q8}},
};

RIG_FIXTURE;
static double largest[N_DTYPE], smallest[N_DTYPE];

struct subject {
	const struct variant *variant;
	const void *config;
	struct model *model;
	const char *name; // variant, settings and shape, for messages
	int *tokens;      // (B, T)
	int has_key, has_value;
	int narrowest; // stream, in numbers
};

static struct subject make_subject(const struct variant *variant, const void *config,
        const struct settings_shape *shape, const struct model_config *model)
{
	struct subject s = {.variant = variant, .config = config, .tokens = rig_tokens(&rig, B * T, V)};
	struct stream_shape stream[VARIANT_STREAMS];
	const struct attn_dims dims = model_attn_dims(model);
	const int n = variant->streams(&dims, config, stream);
	for (int i = 0; i < n; i++) {
		*(stream[i].role == STREAM_KEY ? &s.has_key : &s.has_value) = 1;
		s.narrowest = i && s.narrowest < stream[i].elements ? s.narrowest : stream[i].elements;
	}
	s.name = arena_printf(&rig.memory, "%s {%s} in %s {%s}", variant->name,
	        settings_text(variant, config, &rig.memory), shape->family, shape->settings);
	s.model = build_model(model, variant, config, test_seed(), &rig.memory);
	return s;
}

static void for_each(void (*body)(struct subject *))
{
	for (const struct variant *const *v = variant_list; *v; v++) {
		int n_subject = 0;
		for (const struct settings_shape *shape = settings_shapes; shape->family; shape++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct rng rng = rig_rng(&rig);
			struct err err = {0};
			void *setting[SETTINGS_MOST];
			const struct model_config *config = settings_config(shape, T, &rig.memory);
			const struct attn_dims dims = model_attn_dims(config);
			const int n = settings_find_all(*v, &dims, &rng, &rig.memory, setting, &err);
			n_subject += n;
			for (int i = 0; i < n; i++) {
				const struct arena_mark before = arena_mark(&rig.memory);
				struct subject s = make_subject(*v, setting[i], shape, config);
				body(&s);
				arena_rewind(&rig.memory, before);
			}
			arena_rewind(&rig.memory, mark);
		}
		if (!n_subject)
			fail_msg("%s accepts none of the shapes", (*v)->name);
	}
}

static const char *config_text(const struct cache_config *c)
{
	return arena_printf(&rig.memory, "%s keys%s, %s values", dtype_name[c->k_dtype],
	        c->k_scales == K_SCALES_CHANNEL ? " per channel" : "", dtype_name[c->v_dtype]);
}

// A cache whose memory is 0xff: positions that nobody has written must not be read.
static struct cache *make_cache(const struct subject *s, const struct cache_config *config, int capacity)
{
	struct err err = {0};
	struct cache *cache = arena_alloc(&rig.memory, sizeof(*cache));
	const struct cache_bytes bytes = cache_count(config, s->variant, &s->model->dims, s->config);
	const struct arena_mark mark = arena_mark(&rig.memory);
	const size_t poison = (size_t)(2 * B * (capacity * bytes.per_token + bytes.per_sequence)) + (1 << 16);
	memset(arena_alloc(&rig.memory, poison), 0xff, poison);
	arena_rewind(&rig.memory, mark);
	if (cache_init(cache, config, s->variant, &s->model->dims, s->config, B, capacity, &rig.memory, &err))
		fail_msg("%s: %s: %s", s->name, config_text(config), err.message);
	return cache;
}

// Logits (B, T, V): `prefill` tokens at once, then `chunk` at a time.
static real *logits_through(const struct subject *s, const struct cache_config *config, int prefill, int chunk)
{
	real *logits = arena_alloc(&rig.memory, ALL * sizeof(*logits));
	int *some = arena_alloc(&rig.memory, B * T * sizeof(*some));
	struct cache *cache = make_cache(s, config, T);
	for (int at = 0, n; at < T; at += n) {
		n = at ? chunk : prefill;
		n = at + n < T ? n : T - at;
		for (int b = 0; b < B; b++)
			memcpy(some + b * n, s->tokens + b * T + at, (size_t)n * sizeof(*some));
		rig_begin(&rig, TAPE_RUN);
		const struct tensor *part = model_forward(&rig.tape, s->model, some, B, n, 0, n, cache);
		for (int b = 0; b < B; b++)
			memcpy(logits + (b * T + at) * V, part->x + b * n * V, (size_t)(n * V) * sizeof(*logits));
	}
	return logits;
}

static struct cache_config both(int dtype)
{
	return (struct cache_config){.k_dtype = dtype, .v_dtype = dtype};
}

// --- bytes --------------------------------------------------------------------------------------------------------

// By hand, from the table of streams.
static double bytes_of(int dtype, int n)
{
	const int n_block = (n + DTYPE_BLOCK - 1) / DTYPE_BLOCK;
	switch (dtype) {
	case DTYPE_F32:
		return 4 * n;
	case DTYPE_Q8:
		return n + 2 * n_block;
	case DTYPE_Q4:
		return (n + 1) / 2 + 4 * n_block;
	default:
		return 2 * n;
	}
}

static void bytes_body(struct subject *s)
{
	struct stream_shape stream[VARIANT_STREAMS];
	const int n = s->variant->streams(&s->model->dims, s->config, stream), n_layer = s->model->config.n_layer;
	for (int k = 0; k < N_DTYPE; k++)
		for (int v = 0; v < N_DTYPE; v++)
			for (int scales = 0; scales <= (k == DTYPE_Q8 || k == DTYPE_Q4); scales++) {
				const struct cache_config config = {.k_dtype = k, .v_dtype = v, .k_scales = scales};
				const struct cache_bytes counted =
				        cache_count(&config, s->variant, &s->model->dims, s->config);
				double per_token = 0, per_sequence = 0;
				for (int i = 0; i < n; i++) {
					const int is_channel = scales && stream[i].role == STREAM_KEY;
					const int e = stream[i].elements;
					if (is_channel)
						per_token += n_layer * e * bytes_of(k, DTYPE_BLOCK) / DTYPE_BLOCK;
					else
						per_token +=
						        n_layer * bytes_of(stream[i].role == STREAM_KEY ? k : v, e);
					per_sequence += is_channel * n_layer * 4.0 * DTYPE_BLOCK * e;
				}
				assert_true(counted.per_token == per_token && counted.per_sequence == per_sequence);
				for (int capacity = DTYPE_BLOCK; capacity < 200; capacity += 2 * DTYPE_BLOCK) {
					const double expected = B * (per_token * capacity + per_sequence);
					const double allocated = make_cache(s, &config, capacity)->allocated_bytes;
					if (allocated != expected)
						fail_msg("%s: %s: %g bytes allocated for %g counted", s->name,
						        config_text(&config), allocated, expected);
				}
			}
}

static void allocated_bytes_equal_counted_bytes(void **state UNUSED)
{
	for_each(bytes_body);
}

// --- decode -------------------------------------------------------------------------------------------------------

// Root mean square of what differs, as a share of the reference's own.
static double disturbance(const real *x, const real *reference)
{
	double off = 0, size = 0;
	for (int i = 0; i < ALL; i++) {
		assert_true(isfinite((double)x[i]));
		off += pow((double)x[i] - (double)reference[i], 2);
		size += pow((double)reference[i], 2);
	}
	return sqrt(off / size);
}

// Decoding (few new rows, or a variant's fast path) rounds otherwise than a prefill, so the number that it stores may
// be the neighbour on the type's grid: then logits differ by more than their own rounding, but seldom, and on the whole
// by much less than by the type.
static void compare(const struct subject *s, const struct cache_config *config, const real *whole, double by_type,
        int prefill, int chunk)
{
	const real *got = logits_through(s, config, prefill, chunk);
	const int is_fast = (s->variant->decode || chunk <= DECODE_ROWS) && config->v_dtype != DTYPE_F32;
	const double off = disturbance(got, whole);
	if (is_fast && off > by_type / 4 + DECODE_ROUNDING * FLT_EPSILON)
		fail_msg("%s: %s: prefill %d, then %d at a time: logits differ from one prefill's by %g of their size",
		        s->name, config_text(config), prefill, chunk, off);
	for (int i = 0; i < ALL && !is_fast; i++) {
		const double a = (double)whole[i], d = (double)got[i];
		if (!(fabs(a - d) <= DECODE_ROUNDING * FLT_EPSILON * fmax(1, fabs(a))))
			fail_msg("%s: %s: prefill %d, then %d at a time: position %d: logit %g, by one prefill %g",
			        s->name, config_text(config), prefill, chunk, i / V % T, d, a);
	}
}

static void decode_body(struct subject *s)
{
	if (!s->model->config.causal)
		return; // a position that sees the future cannot be decoded
	const struct cache_config plain = both(DTYPE_F32);
	const real *reference = logits_through(s, &plain, T, 0);
	for (int dtype = 0; dtype < N_DTYPE; dtype++) {
		const struct cache_config config = both(dtype);
		const real *whole = logits_through(s, &config, T, 0);
		const double by_type = disturbance(whole, reference);
		compare(s, &config, whole, by_type, 7, 7);
		compare(s, &config, whole, by_type, T / 2, T / 2); // too many at a time to be decoding
		compare(s, &config, whole, by_type, 40, 3);
		compare(s, &config, whole, by_type, T - 9, 1);
	}
}

static void decode_equals_one_prefill(void **state UNUSED)
{
	for_each(decode_body);
}

// --- disturbance --------------------------------------------------------------------------------------------------

static void disturbance_body(struct subject *s)
{
	const struct cache_config plain = both(DTYPE_F32);
	const real *reference = logits_through(s, &plain, T, 0);
	rig_begin(&rig, TAPE_RUN);
	const struct tensor *without = model_forward(&rig.tape, s->model, s->tokens, B, T, 0, T, NULL);
	assert_memory_equal(reference, without->x, ALL * sizeof(*reference)); // f32 changes no bit
	double off[N_DTYPE] = {0};
	for (int dtype = DTYPE_F16; dtype < N_DTYPE; dtype++) {
		const struct cache_config config = both(dtype);
		off[dtype] = disturbance(logits_through(s, &config, T, 0), reference);
		if (!s->has_key && !s->has_value) { // nothing is cached
			assert_true(off[dtype] == 0);
			continue;
		}
		largest[dtype] = fmax(largest[dtype], off[dtype]);
		smallest[dtype] = smallest[dtype] == 0 ? off[dtype] : fmin(smallest[dtype], off[dtype]);
		// Two numbers with a scale of their own can be as good as exact.
		const int is_narrow = s->narrowest < NARROW;
		if ((off[dtype] < disturbances[dtype].least && !is_narrow) || off[dtype] > disturbances[dtype].most)
			fail_msg("%s: %s changes logits by %g of their size", s->name, dtype_name[dtype], off[dtype]);
		const double of_wider = fmax(off[disturbances[dtype].wider[0]], off[disturbances[dtype].wider[1]]);
		if (off[dtype] <= of_wider && !is_narrow)
			fail_msg("%s: %s changes logits by %g of their size, a wider type by %g", s->name,
			        dtype_name[dtype], off[dtype], of_wider);
	}
}

static void fewer_bits_disturb_more(void **state UNUSED)
{
	for_each(disturbance_body);
	for (int dtype = DTYPE_F16; dtype < N_DTYPE; dtype++)
		printf("# %s changes logits by %.1e to %.1e of their size\n", dtype_name[dtype], smallest[dtype],
		        largest[dtype]);
}

// The type of keys reaches streams read for scores alone, the type of values all others. Scales per channel leave the
// newest keys as they are: a short sequence has the bits of f32.
static void role_body(struct subject *s)
{
	const struct cache_config plain = both(DTYPE_F32);
	const struct cache_config key = {.k_dtype = DTYPE_Q8}, value = {.v_dtype = DTYPE_Q8};
	const struct cache_config channel = {.k_dtype = DTYPE_Q8, .k_scales = K_SCALES_CHANNEL};
	const real *reference = logits_through(s, &plain, T, 0);
	const size_t bytes = ALL * sizeof(*reference);
	const int by_key = !!memcmp(reference, logits_through(s, &key, T, 0), bytes);
	const int by_value = !!memcmp(reference, logits_through(s, &value, T, 0), bytes);
	const real *by_channel = logits_through(s, &channel, T, 0);
	if (by_key != s->has_key || by_value != s->has_value || !!memcmp(reference, by_channel, bytes) != s->has_key)
		fail_msg("%s: types of keys and values matter %d %d, streams of keys and values %d %d", s->name, by_key,
		        by_value, s->has_key, s->has_value);
	if (disturbance(by_channel, reference) > disturbances[DTYPE_Q8].most)
		fail_msg("%s: keys per channel change logits by %g", s->name, disturbance(by_channel, reference));
	if (!s->model->config.causal)
		return;
	const real *chunked = logits_through(s, &channel, 5, 5), *chunked_plain = logits_through(s, &plain, 5, 5);
	for (int b = 0; b < B; b++)
		assert_memory_equal(chunked + b * T * V, chunked_plain + b * T * V, 30 * V * sizeof(*chunked));
	if (disturbance(chunked, reference) > disturbances[DTYPE_Q8].most)
		fail_msg(
		        "%s: keys per channel, decoded, change logits by %g", s->name, disturbance(chunked, reference));
}

static void a_type_reaches_its_role_alone(void **state UNUSED)
{
	for_each(role_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(allocated_bytes_equal_counted_bytes),
	        cmocka_unit_test(decode_equals_one_prefill),
	        cmocka_unit_test(fewer_bits_disturb_more),
	        cmocka_unit_test(a_type_reaches_its_role_alone),
	};
	return cmocka_run_group_tests_name("variants by type of cache", tests, setup, teardown);
}
