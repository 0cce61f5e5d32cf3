// SPDX-License-Identifier: MIT
// What each rotary mode's banner says it preserves. Rows of zeros score 0 and average to nothing wherever they stand,
// so n of them before a sequence shift its positions and only divide each head's output by n more: a head that sees
// relative positions keeps its direction, and its length times (n + Z) is one number, Z the sum of the sequence's own
// exp(score). One that averages turned values is turned with them.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/cases.h"

enum { T = 9, MOST_HEAD = 4, D_HEAD = 8, LEAST_SHIFT = 1, FAR = 65537 };
static const int shifts[] = {LEAST_SHIFT, 2, 24, 25, 256, FAR};
static const double MOST_OFF = 1e-4, LEAST_TURNED = 0.05;
static const char *const shapes[] = {
        "n_layer=1 d_model=32 n_head=4 n_kv_head=2 d_head=8 d_ff=1 bias=false position=rope",
        "n_layer=1 d_model=32 n_head=4 d_head=8 d_ff=1 bias=false position=rope rope_pairs=neighbours "
        "rope_fraction=0.5",
        "n_layer=1 d_model=32 n_head=4 n_kv_head=1 d_head=8 d_ff=1 bias=false position=rope rope_base=100",
};

RIG_FIXTURE;
static double worst;

// The heads come out as they are.
static void set_output_to_identity(struct model *m)
{
	for (int p = 0; p < m->n_param; p++) {
		const struct tensor *w = &m->param[p].tensor;
		for (int i = 0; !strcmp(m->param[p].name, "layer.0.w_o") && i < w->T * w->C; i++)
			w->x[i] = i / w->C == i % w->C;
	}
}

// Heads of the last row of x (1, T, d_model) behind `shift` rows of zeros, that row alone decoded through the cache.
static void heads_behind(double heads[MOST_HEAD * D_HEAD], const struct model *m, const struct tensor *x, int shift)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	struct cache cache;
	struct err err = {0};
	if (cache_init(&cache, NULL, m->variant, &m->dims, m->variant_config, 1, shift + T, &rig.memory, &err))
		fail_msg("%s", err.message);
	rig_begin(&rig, TAPE_RUN);
	struct tensor *all = tensor_new(&rig.tape, 1, shift + T - 1, x->C);
	memset(all->x, 0, (size_t)(all->T * all->C) * sizeof(real));
	memcpy(all->x + (ptrdiff_t)shift * x->C, x->x, (size_t)((T - 1) * x->C) * sizeof(real));
	struct attn a = {.tape = &rig.tape,
	        .dims = &m->dims,
	        .config = m->variant_config,
	        .param = m->layer[0].attn,
	        .x = all,
	        .x_q = op_rows(&rig.tape, all, all->T - 1, 1),
	        .q_from = all->T - 1,
	        .cache = &cache.layer[0]};
	m->variant->forward(&a);
	cache.length = all->T;
	a.x = a.x_q = op_rows(&rig.tape, (struct tensor *)x, T - 1, 1);
	a.q_from = 0;
	const struct tensor *out = m->variant->decode ? m->variant->decode(&a) : m->variant->forward(&a);
	for (int i = 0; i < out->C; i++)
		heads[i] = (double)out->x[i];
	arena_rewind(&rig.memory, mark);
}

static double length_of(const double *head)
{
	double sum = 0;
	for (int i = 0; i < D_HEAD; i++)
		sum += head[i] * head[i];
	return sqrt(sum);
}

static double between(const double *a, const double *b)
{
	double sum = 0;
	for (int i = 0; i < D_HEAD; i++)
		sum += pow(a[i] / length_of(a) - b[i] / length_of(b), 2);
	return sqrt(sum);
}

static void test_case(const struct variant_case *c, const char *shape, struct model *m)
{
	double heads[6][MOST_HEAD * D_HEAD];
	const struct tensor *x = rig_tensor(&rig, 1, T, m->dims.d_model);
	const char *name = variant_case_name(c, shape, &rig.memory);
	set_output_to_identity(m);
	for (int i = 0; i < 6; i++)
		heads_behind(heads[i], m, x, shifts[i]);
	for (int h = 0; h < m->dims.n_head; h++) {
		const double *first = heads[0] + h * D_HEAD, a = length_of(first), b = length_of(heads[1] + h * D_HEAD);
		double most_turned = 0;
		const double Z = (shifts[1] * b - shifts[0] * a) / (a - b);
		for (int i = 1; i < 6; i++) {
			const double *head = heads[i] + h * D_HEAD, turned = between(head, first);
			const double off = fabs(length_of(head) * (shifts[i] + Z) / (a * (shifts[0] + Z)) - 1);
			most_turned = fmax(most_turned, turned);
			if (c->average == SEES_ABSOLUTE)
				continue;
			worst = fmax(worst, fmax(turned, off));
			if (!(turned < MOST_OFF && off < MOST_OFF))
				fail_msg("%s: head %d behind %d zeros: direction off by %.2g, length by %.2g", name, h,
				        shifts[i], turned, off);
		}
		if (c->average == SEES_ABSOLUTE && !(most_turned > LEAST_TURNED))
			fail_msg("%s: head %d is the same at all positions", name, h);
	}
}

static void modes_preserve_what_they_say(void **state UNUSED)
{
	int n_run = 0, n_absolute = 0;
	for (const struct variant_case *c = variant_cases; c->variant; c++)
		for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct err err = {0};
			struct model *m = variant_case_model(c, shapes[s], FAR + T, test_seed() + s, &rig.memory, &err);
			// The 2D map is of absolute positions, and null has no heads.
			if (m && !strstr(c->settings, "plus=true") && strcmp(c->variant, "null")) {
				test_case(c, shapes[s], m);
				n_run++;
				n_absolute += c->average == SEES_ABSOLUTE;
			}
			arena_rewind(&rig.memory, mark);
		}
	printf("# %d cases, %d of them of absolute values: direction and length off by %.2e at most\n", n_run,
	        n_absolute, worst);
	assert_true(n_run > 60 && n_absolute >= 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(modes_preserve_what_they_say),
	};
	return cmocka_run_group_tests_name("rotary modes", tests, setup, teardown);
}
