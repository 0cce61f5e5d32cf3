// SPDX-License-Identifier: MIT
// Converted attention of each rotary mode beside the attention that it was made of: positions 0 and 1, both sides of a
// block of the kernel's, and beyond 65,536, through the cache, in one pass, and decoded.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/model/convert.h"
#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"

#define MOST_OFF 1e-4 // of the largest number
enum { FAR = 65536, T = FAR + 5, D = 16, BLOCK = 256 };

RIG_FIXTURE;

static const struct {
	const char *shape, *settings;
} cases[] = {
        {"position=rope", "d_select=16 rope=at_read"},
        {"position=rope", "d_select=16 per=head rope=at_read"},
        {"position=rope", "d_select=16 rope=planes"},
        {"position=rope rope_pairs=neighbours", "d_select=16 per=head rope=planes"},
        {"position=rope", "d_select=16 per=head rope=own_ladder"},
        {"position=rope rope_fraction=0.25", "d_select=16 rope=planes"},
        {"position=rope rope_fraction=0.25 rope_pairs=neighbours", "d_select=16 per=head rope=planes"},
        {"position=rope rope_scaling=llama3 rope_factor=8 rope_low=1 rope_high=4 rope_original_ctx=8192",
                "d_select=16 rope=planes"},
};

// Attention of rows from..from+n-1 behind what the cache holds; the output of the last row.
static void last_row(double out[D], const struct model *m, struct tensor *x, int from, int n, struct cache *cache)
{
	rig_begin(&rig, TAPE_RUN);
	struct tensor *some = op_rows(&rig.tape, x, from, n);
	struct attn a = {.tape = &rig.tape,
	        .dims = &m->dims,
	        .config = m->variant_config,
	        .param = m->layer[0].attn,
	        .x = some,
	        .x_q = op_rows(&rig.tape, some, n - 1, 1),
	        .q_from = n - 1,
	        .cache = cache ? &cache->layer[0] : NULL};
	const int is_decode = cache && cache->length && m->variant->decode;
	const struct tensor *y = is_decode ? m->variant->decode(&a) : m->variant->forward(&a);
	for (int i = 0; i < D; i++)
		out[i] = (double)y->x[i];
	if (cache)
		cache->length += n;
}

static double difference(const double *a, const double *b)
{
	double off = 0, size = 0;
	for (int i = 0; i < D; i++) {
		off = fmax(off, fabs(a[i] - b[i]));
		size = fmax(size, fabs(a[i]));
	}
	return isnan(off) ? INFINITY : off / size;
}

static double compare(const struct model *in, const struct model *out, struct tensor *x)
{
	// A step ends where a row is compared: one at a time is decode.
	static const int until[] = {1, 2, BLOCK - 1, BLOCK, BLOCK + 1, FAR, FAR + 1, FAR + 2, T};
	struct cache cache[2];
	struct err err = {0};
	double most = 0, one[D], two[D], pass[D];
	const struct model *const m[] = {in, out};
	for (int i = 0; i < 2; i++)
		if (cache_init(
		            &cache[i], NULL, m[i]->variant, &in->dims, m[i]->variant_config, 1, T, &rig.memory, &err))
			fail_msg("%s", err.message);
	for (size_t i = 0, from = 0; i < sizeof(until) / sizeof(until[0]); from = (size_t)until[i++]) {
		const int n = until[i] - (int)from;
		last_row(one, in, x, (int)from, n, &cache[0]);
		last_row(two, out, x, (int)from, n, &cache[1]);
		most = fmax(most, difference(one, two));
		last_row(pass, out, x, 0, until[i], NULL);
		most = fmax(most, difference(one, pass));
	}
	return most;
}

static void every_mode_is_its_source_near_and_far(void **state UNUSED)
{
	double most = 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct arena_mark mark = arena_mark(&rig.memory);
		struct err err = {0};
		const char *shape = arena_printf(
		        &rig.memory, "n_layer=1 d_model=16 n_head=4 n_kv_head=2 d_head=8 d_ff=1 %s", cases[i].shape);
		const struct model_config *config = build_config("decoder", shape, 5, T, &rig.memory);
		const struct model *in = build_variant(config, "gqa", "", test_seed() + i, &rig.memory);
		struct model out;
		struct model_conversion c = {.variant = variant_find("factored_keys"), .n_thread = 1};
		void *setting = arena_zalloc(&rig.memory, c.variant->config_bytes);
		options_init(c.variant->options, setting);
		build_options(c.variant->options, setting, cases[i].settings);
		options_init(conversion_options, &c.how);
		c.config = setting;
		if (model_convert(&out, in, &c, &rig.memory, &err))
			fail_msg("%s", err.message);
		const double off = compare(in, &out, rig_tensor(&rig, 1, T, D));
		most = fmax(most, off);
		if (!(off < MOST_OFF))
			fail_msg("%s {%s}: off by %.3g", shape, cases[i].settings, off);
		arena_rewind(&rig.memory, mark);
	}
	printf("# up to position %d: off by %.2e of the largest number at most\n", T - 1, most);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_mode_is_its_source_near_and_far),
	};
	return cmocka_run_group_tests_name("converted attention far out", tests, setup, teardown);
}
