// SPDX-License-Identifier: MIT
// Attention over rows as a cache holds them: every type, every form of keys and values, groups of query heads, and
// contexts at the edges of tiles (32) and splits (128, then longer), against plain loops in double over what is stored.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/attention_subject.h"
#include "tests/test.h"

enum { TILE = DTYPE_BLOCK };
// Of rounding units of the average of magnitudes, times 1 and the largest score: what an exponent is off by is what its
// score is off by.
static const double ROUNDING = 4;

static const int widths[] = {16, 32, 64, 24, 96, 7};
static const struct subject_range range = {widths, 6, 8, 3};

static struct rig rig;
static struct rng rng;
static double worst;

static int setup(void **state UNUSED)
{
	rig_init(&rig);
	rng = rig_rng(&rig);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_release(&rig);
	return 0;
}

static void check(const struct backend *backend, const struct subject *x)
{
	const struct attention_shape *s = &x->shape;
	const int rows = s->B * s->T, width = s->n_head * s->d_v;
	const struct guarded out = guarded_output(&rig, rows, width, width + 3, 0);
	const char *what = subject_name(&rig, x, backend->name);
	const struct strided q = {x->q.x, s->T * x->q.stride, x->q.stride};
	struct exec exec = *rig_exec(&rig);
	exec.n_thread = 1;
	backend->attention_stored(
	        &exec, (struct strided_out){out.x, s->T * out.stride, out.stride, 0}, q, &x->k, &x->v, s);
	double *right = arena_zalloc(&rig.memory, (size_t)(rows * width) * sizeof(double)),
	       *size = arena_zalloc(&rig.memory, (size_t)(rows * width) * sizeof(double));
	for (int r = 0; r < rows; r++)
		for (int h = 0; h < s->n_head; h++)
			subject_reference(&rig, x, r / s->T, r % s->T, h, right + r * width + h * s->d_v,
			        size + r * width + h * s->d_v);
	assert_near(what, &out, right, size, ROUNDING);
	assert_untouched(what, &x->q);
	for (int i = 0; i < rows * width; i++)
		worst = fmax(worst,
		        fabs((double)out.x[i / width * out.stride + i % width] - right[i]) / FLT_EPSILON / size[i]);
	for (exec.n_thread = 2; exec.n_thread <= 3; exec.n_thread++) {
		const struct guarded again = guarded_output(&rig, rows, width, out.stride, 0);
		backend->attention_stored(
		        &exec, (struct strided_out){again.x, s->T * out.stride, out.stride, 0}, q, &x->k, &x->v, s);
		if (memcmp(again.memory, out.memory, out.n_memory * sizeof(real)))
			fail_msg("%s: %d threads change bits", what, exec.n_thread);
	}
}

static void stored_attention_equals_loops_in_double(void **state UNUSED)
{
	static const int lengths[] = {1, 2, 31, 32, 33, 63, 65, 127, 128, 129, 161, 255, 257, 300};
	const struct arena_mark mark = arena_mark(&rig.memory);
	for (int round = 0; round < 420; round++, arena_rewind(&rig.memory, mark)) {
		const struct subject x = subject_make(&rig, &rng, &range, round, lengths[rig_int(&rng, 0, 13)]);
		check(round % 3 ? &backend_cpu : &backend_cpu_portable, &x);
	}
	printf("# off by at most %.2f units of rounding of (1 + the largest score) averages of magnitudes\n", worst);
}

// Contexts whose splits are longer than the least, at their edges.
static void long_contexts_too(void **state UNUSED)
{
	static const int lengths[] = {4095, 4096, 4097, 4353, 8193};
	const struct arena_mark mark = arena_mark(&rig.memory);
	for (int round = 0; round < 20; round++, arena_rewind(&rig.memory, mark)) {
		const struct subject x = subject_make(&rig, &rng, &range, round, lengths[round % 5]);
		check(round % 2 ? &backend_cpu : &backend_cpu_portable, &x);
	}
}

// A query row has the same bits alone as among others of its step, and in a batch as alone.
static void rows_do_not_depend_on_their_neighbours(void **state UNUSED)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	for (int round = 0; round < 60; round++, arena_rewind(&rig.memory, mark)) {
		struct subject x = subject_make(&rig, &rng, &range, round, 140);
		struct attention_shape s = x.shape;
		const int width = s.n_head * s.d_v, last = s.B - 1;
		const struct guarded all = guarded_output(&rig, s.B * s.T, width, width, 0),
		                     one = guarded_output(&rig, 1, width, width, 0);
		const struct strided q = {x.q.x, s.T * x.q.stride, x.q.stride};
		backend_cpu.attention_stored(
		        rig_exec(&rig), (struct strided_out){all.x, s.T * width, width, 0}, q, &x.k, &x.v, &s);
		const struct strided q_one = {x.q.x + (last * s.T + s.T - 1) * x.q.stride, x.q.stride, x.q.stride};
		x.k.at += last * x.k.b_bytes, x.v.at += last * x.v.b_bytes;
		x.k.tail = x.k.tail ? x.k.tail + last * TILE * x.k.columns : NULL;
		s.B = 1, s.q_position += s.T - 1, s.T = 1;
		backend_cpu.attention_stored(
		        rig_exec(&rig), (struct strided_out){one.x, width, width, 0}, q_one, &x.k, &x.v, &s);
		assert_memory_equal(one.x, all.x + (s.B * all.rows - 1) * width, (size_t)width * sizeof(real));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(stored_attention_equals_loops_in_double),
	        cmocka_unit_test(long_contexts_too),
	        cmocka_unit_test(rows_do_not_depend_on_their_neighbours),
	};
	return cmocka_run_group_tests_name("attention over stored rows", tests, setup, teardown);
}
