// SPDX-License-Identifier: MIT
// The cache by itself: streams of both roles, in every type, are written in chunks of every kind, and what a reader
// gets is compared with each row (or channel) taken through its type alone. Memory is 0xff (NaN in all types) before it
// is written, so that whoever reads a position that nobody wrote is seen.
#include "harness/model/cache.h"

#include <math.h>
#include <string.h>

#include "tests/num/rig.h"
#include "tests/test.h"

enum { E_KEY = 37, E_VALUE = 48, MOST_CHUNKS = 16, BLOCK = DTYPE_BLOCK };

RIG_FIXTURE;

static int streams(const struct attn_dims *dims UNUSED, const void *config UNUSED, struct stream_shape *table)
{
	table[0] = (struct stream_shape){"k", STREAM_KEY, E_KEY, 0, 1};
	table[1] = (struct stream_shape){"v", STREAM_VALUE, E_VALUE, 0, 0};
	return 2;
}

static int streams_with_window(
        const struct attn_dims *dims UNUSED, const void *config UNUSED, struct stream_shape *table)
{
	table[0] = (struct stream_shape){"k", STREAM_KEY, E_KEY, 16, 1};
	return 1;
}

static int streams_shared(const struct attn_dims *dims UNUSED, const void *config UNUSED, struct stream_shape *table)
{
	table[0] = (struct stream_shape){"k", STREAM_KEY, E_KEY, 0, 2};
	return 1;
}

static const struct variant two_streams = {.name = "two_streams", .streams = streams};

static struct cache_config config_of(int k_dtype, int v_dtype, int k_scales)
{
	return (struct cache_config){.k_dtype = k_dtype, .v_dtype = v_dtype, .k_scales = k_scales};
}

// Calls body with every config that is allowed: each type as key and as value at once, and keys per channel.
static void for_each_config(void (*body)(const struct cache_config *))
{
	for (int k = 0; k < N_DTYPE; k++)
		for (int scales = K_SCALES_TOKEN; scales <= K_SCALES_CHANNEL; scales++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			const struct cache_config config = config_of(k, N_DTYPE - 1 - k, scales);
			struct err err = {0};
			if (cache_check(&config, &err) == 0)
				body(&config);
			arena_rewind(&rig.memory, mark);
		}
}

static struct cache *make(const struct cache_config *config, int n_layer, int B, int capacity)
{
	const struct attn_dims dims = {.n_layer = n_layer};
	struct cache *cache = arena_alloc(&rig.memory, sizeof(*cache)); // layers point to it
	struct err err = {0};
	if (cache_init(cache, config, &two_streams, &dims, NULL, B, capacity, &rig.memory, &err))
		fail_msg("%s", err.message);
	return cache;
}

// Bytes of a stream of one layer, by hand.
static double bytes_of(const struct cache_config *c, int is_key, int B, int capacity, double *tail)
{
	const int dtype = is_key ? c->k_dtype : c->v_dtype, n = is_key ? E_KEY : E_VALUE;
	const int n_block = (n + BLOCK - 1) / BLOCK;
	const double row[N_DTYPE] = {4.0 * n, 2.0 * n, 2.0 * n, n + 2.0 * n_block, (n + 1) / 2 + 4.0 * n_block};
	*tail = 0;
	if (!is_key || c->k_scales == K_SCALES_TOKEN)
		return B * capacity * row[dtype];
	*tail = B * BLOCK * n * 4.0;
	return B * (capacity / BLOCK) * n * (dtype == DTYPE_Q8 ? 34.0 : 20.0);
}

static void bytes_body(const struct cache_config *config)
{
	static const int capacities[] = {1, 31, 32, 33, 64, 96, 100};
	for (int n_layer = 1; n_layer <= 3; n_layer++)
		for (int B = 1; B <= 3; B += 2)
			for (int i = 0; i < 7; i++) {
				const int capacity = capacities[i];
				const struct attn_dims dims = {.n_layer = n_layer};
				double tail, unused;
				const double key = bytes_of(config, 1, B, capacity, &tail);
				const double value = bytes_of(config, 0, B, capacity, &unused);
				const size_t before = rig.memory.used_bytes;
				const struct cache *cache = make(config, n_layer, B, capacity);
				assert_true(cache->allocated_bytes == n_layer * (key + tail + value));
				assert_true((double)(rig.memory.used_bytes - before) >= cache->allocated_bytes);
				const struct cache_bytes counted = cache_count(config, &two_streams, &dims, NULL);
				assert_true(counted.per_sequence * B == n_layer * tail);
				if (capacity % BLOCK == 0 || !tail)
					assert_true(cache->allocated_bytes ==
					            B * (capacity * counted.per_token + counted.per_sequence));
			}
}

static void counted_bytes_are_allocated_bytes(void **state UNUSED)
{
	for_each_config(bytes_body);
	const struct attn_dims dims = {.n_layer = 2};
	assert_true(cache_count(NULL, &two_streams, &dims, NULL).per_token == 2 * 4 * (E_KEY + E_VALUE));
	assert_true(make(NULL, 2, 3, 5)->allocated_bytes == 2 * 4 * (E_KEY + E_VALUE) * 3 * 5);
}

static void forget(struct cache *cache, int n_layer)
{
	cache_clear(cache);
	for (int l = 0; l < n_layer; l++)
		for (int s = 0; s < cache->n_stream; s++) {
			double tail;
			const double bytes = bytes_of(&cache->config, s == 0, cache->B, cache->capacity, &tail);
			memset(cache->layer[l].stream[s], 0xff, (size_t)bytes);
			if (cache->layer[l].tail[s])
				memset(cache->layer[l].tail[s], 0xff, (size_t)tail);
		}
}

// What position p of column c reads as when S positions are held.
static real expected(const struct cache *cache, int stream, const struct tensor *x, int b, int p, int c, int S)
{
	const enum dtype dtype = (enum dtype)(stream == 0 ? cache->config.k_dtype : cache->config.v_dtype);
	const int is_channel = stream == 0 && cache->config.k_scales == K_SCALES_CHANNEL;
	const int block = p / BLOCK * BLOCK, n = is_channel ? BLOCK : x->C;
	unsigned char bytes[4 * E_VALUE];
	real numbers[E_VALUE];
	if (is_channel && block + BLOCK > S)
		return x->x[b * x->b_stride + p * x->t_stride + c];
	for (int i = 0; i < n; i++)
		numbers[i] = is_channel ? x->x[b * x->b_stride + (block + i) * x->t_stride + c]
		                        : x->x[b * x->b_stride + p * x->t_stride + i];
	dtype_write(dtype, bytes, numbers, n);
	dtype_read(dtype, numbers, bytes, n);
	return numbers[is_channel ? p - block : c];
}

// Hands x (B, T, C) over in chunks, layer by layer as a model would, and checks all that is read after each.
static void write_in_chunks(struct cache *cache, int n_layer, struct tensor *const x[2], const int *chunk)
{
	for (int at = 0, i = 0; chunk[i]; at += chunk[i++]) {
		rig_begin(&rig, TAPE_RUN);
		for (int l = 0; l < n_layer; l++)
			for (int s = 0; s < 2; s++) {
				struct attn a = {.tape = &rig.tape, .cache = &cache->layer[l]};
				struct tensor *rows = tensor_rows(&rig.tape, x[s], at, chunk[i]);
				const struct tensor *all = attn_stream(&a, s, rows);
				const int S = at + chunk[i];
				assert_int_equal(all->T, S);
				assert_int_equal(all->C, x[s]->C);
				assert_int_equal(attn_q_position(&a), at);
				for (int b = 0; b < cache->B; b++)
					for (int p = 0; p < S; p++)
						for (int c = 0; c < all->C; c++) {
							const real want = expected(cache, s, x[s], b, p, c, S);
							const real got =
							        all->x[b * all->b_stride + p * all->t_stride + c];
							if (memcmp(&want, &got, sizeof(want)))
								fail_msg("%s keys (scales %d), %s values, stream %d: "
								         "position %d of %d reads %g, not %g",
								        dtype_name[cache->config.k_dtype],
								        cache->config.k_scales,
								        dtype_name[cache->config.v_dtype], s, p, S,
								        (double)got, (double)want);
						}
			}
		cache->length += chunk[i];
	}
}

static const int chunks[][MOST_CHUNKS] = {
        {70}, {1, 1, 1, 29, 1, 1, 30, 6}, {32, 32, 6}, {31, 1, 1, 31, 6}, {20, 50}, {33, 37}, {5, 60, 5},
        {255, 1, 2, 42}, // on both sides of the blocks that threads take
};

static void read_body(const struct cache_config *config)
{
	enum { B = 2, N_LAYER = 2 };
	for (size_t k = 0; k < sizeof(chunks) / sizeof(*chunks); k++)
		for (int spare = 0; spare < 60; spare += 1 + 25 * (spare > 0)) {
			int T = 0;
			for (const int *n = chunks[k]; *n; n++)
				T += *n;
			struct cache *cache = make(config, N_LAYER, B, T + spare);
			// Rows are columns of a wider product, as op_linear_many leaves them.
			struct tensor *wide = rig_tensor(&rig, B, T, E_KEY + E_VALUE + 3);
			rig_begin(&rig, TAPE_RUN);
			struct tensor key = *tensor_columns(&rig.tape, wide, 1, E_KEY);
			struct tensor value = *tensor_columns(&rig.tape, wide, E_KEY + 3, E_VALUE);
			struct tensor *const x[2] = {&key, &value};
			rig.tape.n_thread = 1 + (int)k % 3;
			forget(cache, N_LAYER);
			write_in_chunks(cache, N_LAYER, x, chunks[k]);
		}
	rig.tape.n_thread = 1;
}

static void readers_see_what_is_stored(void **state UNUSED)
{
	for_each_config(read_body);
}

// A cleared cache is as good as new, whatever was in it.
static void clear_body(const struct cache_config *config)
{
	struct cache *cache = make(config, 1, 1, 70);
	for (int i = 0; i < 3; i++) {
		struct tensor *const x[2] = {rig_tensor(&rig, 1, 70, E_KEY), rig_tensor(&rig, 1, 70, E_VALUE)};
		cache_clear(cache);
		write_in_chunks(cache, 1, x, chunks[i]);
	}
}

static void a_cleared_cache_forgets(void **state UNUSED)
{
	for_each_config(clear_body);
}

static void f32_is_read_where_it_lies(void **state UNUSED)
{
	struct cache *cache = make(NULL, 1, 2, 9);
	struct tensor *x = rig_tensor(&rig, 2, 4, E_KEY);
	struct attn a = {.tape = &rig.tape, .cache = &cache->layer[0]};
	rig_begin(&rig, TAPE_RUN);
	const struct tensor *all = attn_stream(&a, 0, x);
	assert_ptr_equal(all->x, cache->layer[0].stream[0]);
	assert_int_equal(all->b_stride, 9 * E_KEY);
}

// Shapes and bytes are followed, memory is not touched.
static void count_body(const struct cache_config *config)
{
	enum { B = 2, HELD = 40, NEW = 3, S = HELD + NEW };
	struct cache *cache = make(config, 1, B, 64);
	struct tensor *x = rig_tensor(&rig, B, NEW, E_KEY);
	forget(cache, 1);
	cache->length = HELD;
	double tail;
	const size_t bytes = (size_t)bytes_of(config, 1, B, 64, &tail);
	unsigned char *before = arena_alloc(&rig.memory, bytes);
	memset(before, 0xff, bytes);
	rig_begin(&rig, TAPE_COUNT);
	struct attn a = {.tape = &rig.tape, .cache = &cache->layer[0]};
	struct tensor shape = *x;
	shape.x = shape.dx = NULL;
	const struct tensor *all = attn_stream(&a, 0, &shape);
	assert_true(all->B == B && all->T == S && all->C == E_KEY && !all->x);
	assert_memory_equal(cache->layer[0].stream[0], before, bytes);
	const double row =
	        tail ? E_KEY * (config->k_dtype == DTYPE_Q8 ? 34 : 20) / 32.0 : bytes_of(config, 1, 1, 1, &tail);
	const int is_typed = config->k_dtype != DTYPE_F32;
	assert_true(rig.tape.forward.flops == 0);
	assert_true(rig.tape.forward.read_bytes == is_typed * B * (NEW * 4 * E_KEY + S * row));
	assert_true(rig.tape.forward.write_bytes == is_typed * B * (NEW * row + S * 4 * E_KEY));
}

static void counting_follows_shapes(void **state UNUSED)
{
	for_each_config(count_body);
}

static void refusals_say_why(void **state UNUSED)
{
	const struct attn_dims dims = {.n_layer = 2};
	struct cache cache;
	int n_refused = 0;
	for (int k = 0; k < N_DTYPE; k++) {
		struct err err = {0};
		const struct cache_config config = config_of(k, DTYPE_Q8, K_SCALES_CHANNEL);
		const int is_refused = k != DTYPE_Q8 && k != DTYPE_Q4;
		n_refused += is_refused;
		assert_int_equal(cache_check(&config, &err), -is_refused);
		assert_int_equal(!!strstr(err.message, "k_scales: channel needs k_dtype q8 or q4"), is_refused);
		struct err again = {0};
		assert_int_equal(
		        cache_init(&cache, &config, &two_streams, &dims, NULL, 1, 1, &rig.memory, &again), -is_refused);
	}
	assert_int_equal(n_refused, 3);
	const struct variant bad[] = {
	        {.name = "w", .streams = streams_with_window}, {.name = "s", .streams = streams_shared}};
	for (int i = 0; i < 2; i++) {
		struct err err = {0};
		assert_int_equal(cache_init(&cache, NULL, &bad[i], &dims, NULL, 1, 1, &rig.memory, &err), -1);
		assert_non_null(strstr(err.message, "asks for a window or sharing"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(counted_bytes_are_allocated_bytes),
	        cmocka_unit_test(readers_see_what_is_stored),
	        cmocka_unit_test(a_cleared_cache_forgets),
	        cmocka_unit_test(f32_is_read_where_it_lies),
	        cmocka_unit_test(counting_follows_shapes),
	        cmocka_unit_test(refusals_say_why),
	};
	return cmocka_run_group_tests_name("cache", tests, setup, teardown);
}
