// SPDX-License-Identifier: MIT
// Every variant against plain loops that were written from the papers (reference.c): all positions at once, some of
// them, and the same rows through the cache, where the fast path for decode answers; and far beyond position 65,536.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/cases.h"
#include "tests/variants/reference.h"

// Outputs of size 1 agree to this times epsilon.
static const double ROUNDING = 64;
enum { B = 2, T = 29, FAR = 65536 + 3 };

RIG_FIXTURE;
static double worst;
static long n_compared;

// Attention of layer 0 alone: x (B, T, d_model) behind what the cache holds, rows q_from... of it wanted.
static struct tensor *attention(const struct model *m, struct tensor *x, int q_from, struct cache *cache)
{
	struct attn a = {.tape = &rig.tape,
	        .dims = &m->dims,
	        .config = m->variant_config,
	        .param = m->layer[0].attn,
	        .x = x,
	        .x_q = op_rows(&rig.tape, x, q_from, x->T - q_from),
	        .q_from = q_from,
	        .cache = cache ? &cache->layer[0] : NULL};
	const int is_decode = cache && cache->length && m->variant->decode;
	struct tensor *out = is_decode ? m->variant->decode(&a) : m->variant->forward(&a);
	if (cache)
		cache->length += x->T;
	return out;
}

// Row i of sequence b of x by definition, against got (d_model).
static void compare(const char *what, const struct model *m, const char *settings, const struct tensor *x, int b, int i,
        const real *got)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	const int d = x->C;
	double *in = arena_alloc(&rig.memory, (size_t)x->T * (size_t)d * sizeof(*in)), *want;
	for (int k = 0; k < x->T * d; k++)
		in[k] = (double)x->x[(ptrdiff_t)b * x->T * d + k];
	want = arena_alloc(&rig.memory, (size_t)d * sizeof(*want));
	reference_row(want, m, settings, in, x->T, i, &rig.memory);
	for (int k = 0; k < d; k++) {
		const double off = fabs((double)got[k] - want[k]) / fmax(1, fabs(want[k]));
		worst = fmax(worst, off);
		n_compared++;
		if (!(off <= ROUNDING * FLT_EPSILON))
			fail_msg("%s: number %d at position %d of sequence %d: %.9g, by definition %.9g", what, k, i, b,
			        (double)got[k], want[k]);
	}
	arena_rewind(&rig.memory, mark);
}

static void compare_all(const char *what, const struct model *m, const char *settings, const struct tensor *x,
        const struct tensor *out, int first)
{
	for (int b = 0; b < B; b++)
		for (int t = 0; t < out->T; t++)
			compare(what, m, settings, x, b, first + t, out->x + b * out->b_stride + t * out->t_stride);
}

static void test_case(const struct variant_case *c, const char *shape, const struct model *m)
{
	const char *name = variant_case_name(c, shape, &rig.memory);
	struct tensor *x = rig_tensor(&rig, B, T, m->dims.d_model);
	for (int q_from = 0; q_from < T; q_from += T - 1) {
		rig_begin(&rig, TAPE_RUN);
		const char *what = arena_printf(&rig.memory, "%s, rows from %d on", name, q_from);
		compare_all(what, m, c->settings, x, attention(m, x, q_from, NULL), q_from);
	}
	if (!m->dims.causal)
		return;
	struct cache cache;
	struct err err = {0};
	if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, B, T, &rig.memory, &err))
		fail_msg("%s: %s", name, err.message);
	static const int chunk[] = {1, 1, 22, 1, 1, 3}; // positions 0, 1, and the edge of a block of 24 rows
	for (int i = 0, at = 0; i < 6; at += chunk[i++]) {
		rig_begin(&rig, TAPE_RUN);
		const char *what = arena_printf(&rig.memory, "%s, %d rows behind %d cached", name, chunk[i], at);
		struct tensor *some = op_rows(&rig.tape, x, at, chunk[i]);
		compare_all(what, m, c->settings, x, attention(m, some, 0, &cache), at);
	}
}

static void every_variant_is_what_its_paper_defines(void **state UNUSED)
{
	for (const struct variant_case *c = variant_cases; c->variant; c++) {
		int n_shape = 0;
		for (const char *const *shape = variant_case_shapes; *shape; shape++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct err err = {0};
			const struct model *m = variant_case_model(c, *shape, T, test_seed(), &rig.memory, &err);
			n_shape += m != NULL;
			if (m)
				test_case(c, *shape, m);
			arena_rewind(&rig.memory, mark);
		}
		if (!n_shape)
			fail_msg("%s {%s} is refused in every shape", c->variant, c->settings);
	}
	printf("# %ld numbers against their definition: largest difference %.2e of the number (or of 1)\n", n_compared,
	        worst);
}

// Behind 65,539 cached rows: what is turned at read, at write or not at all is where it should be.
static void far_positions_are_as_exact(void **state UNUSED)
{
	const char *shape = "n_layer=1 d_model=6 n_head=1 d_head=8 d_ff=4 position=rope";
	worst = 0;
	for (const struct variant_case *c = variant_cases; c->variant; c++) {
		const struct arena_mark mark = arena_mark(&rig.memory);
		struct err err = {0};
		const struct model *m = variant_case_model(c, shape, FAR + 2, test_seed(), &rig.memory, &err);
		if (!m) {
			arena_rewind(&rig.memory, mark);
			continue;
		}
		const char *name = variant_case_name(c, shape, &rig.memory);
		struct tensor *x = rig_tensor(&rig, 1, FAR + 2, m->dims.d_model);
		struct cache cache;
		if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, 1, FAR + 2, &rig.memory, &err))
			fail_msg("%s: %s", name, err.message);
		for (int at = 0, n = FAR; at < FAR + 2; at += n, n = 1) {
			rig_begin(&rig, TAPE_RUN);
			const struct tensor *out = attention(m, op_rows(&rig.tape, x, at, n), n - 1, &cache);
			compare(name, m, c->settings, x, 0, at + n - 1, out->x);
		}
		arena_rewind(&rig.memory, mark);
		arena_reset(&rig.step);
	}
	printf("# beyond position %d: largest difference %.2e\n", FAR, worst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_variant_is_what_its_paper_defines),
	        cmocka_unit_test(far_positions_are_as_exact),
	};
	return cmocka_run_group_tests_name("variants against definitions", tests, setup, teardown);
}
