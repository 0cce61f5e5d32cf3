// SPDX-License-Identifier: MIT
// The CUDA backend's attention over rows as a cache holds them, against plain loops in double over what is stored:
// every type, form and option of attention_subject.h, contexts at the edges of tiles and splits, both exactnesses. On
// tensor cores operands are rounded to bf16, and the loops' too: what is left is the rounding of the weights.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/attention_subject.h"
#include "tests/num/cuda_rig.h"
#include "tests/test.h"

// Of rounding units of the average of magnitudes, times 1 and the largest score, as for the CPU; the sums of a split
// are longer, and sines the device's.
static const double EXACT = 8;
// Weights are good to 2^-9 on top. A turned key that lies between two bf16 numbers may go to the other one: 2^-8 of one
// number of a score's d_qk.
static const double WEIGHTS = 0x1p-9 / FLT_EPSILON, TURNED = 0x1p-8 / FLT_EPSILON / 4;

static const int widths[] = {16, 64, 24, 7, 128, 1, 40};
static const struct subject_range range = {widths, 7, 8, 3};
static struct cuda_rig rig;
static struct rng rng;
static double worst[2];

static int setup(void **state UNUSED)
{
	rng = rig_rng(&rig.host);
	return 0;
}

// What the device has of a subject. Shared rows are one copy.
struct device_subject {
	struct stored k, v;
	struct strided q;
	struct attention_shape shape;
};

static struct stored on_device(const struct subject *x, const struct stored *s, const unsigned char *same)
{
	struct stored d = *s;
	d.at = same ? same : cuda_bytes(&rig, s->at, subject_stream_bytes(x, s));
	if (s->tail)
		d.tail =
		        cuda_bytes(&rig, s->tail, (size_t)x->shape.B * DTYPE_BLOCK * (size_t)s->columns * sizeof(real));
	return d;
}

static struct device_subject mirror(const struct subject *x)
{
	struct device_subject d = {.shape = x->shape};
	d.k = on_device(x, &x->k, NULL);
	d.v = on_device(x, &x->v, x->form == SEPARATE ? NULL : d.k.at);
	d.q = (struct strided){cuda_mirror(&rig, &x->q), x->shape.T * x->q.stride, x->q.stride};
	if (x->bias)
		d.shape.key_bias =
		        cuda_bytes(&rig, x->bias, (size_t)x->shape.n_head * (size_t)x->shape.S * sizeof(real));
	return d;
}

static void call(const struct backend *backend, const struct device_subject *d, real *out, ptrdiff_t stride)
{
	backend->attention_stored(cuda_exec(&rig), (struct strided_out){out, d->shape.T * stride, stride, 0}, d->q,
	        &d->k, &d->v, &d->shape);
}

static struct guarded output(const struct subject *x)
{
	const int width = x->shape.n_head * x->shape.d_v;
	return guarded_output(&rig.host, x->shape.B * x->shape.T, width, width + 3, 0);
}

static void check(int is_exact, struct subject *x)
{
	const struct attention_shape *s = &x->shape;
	const struct backend *backend = is_exact ? rig.exact : rig.rounded;
	const int rows = s->B * s->T, width = s->n_head * s->d_v;
	const char *what = subject_name(&rig.host, x, backend->name);
	cuda_begin(&rig);
	const struct guarded out = output(x), again = output(x);
	const struct device_subject d = mirror(x);
	call(backend, &d, cuda_mirror(&rig, &out), out.stride);
	call(backend, &d, cuda_mirror(&rig, &again), again.stride);
	cuda_fetch(&rig);
	if (!is_exact)
		subject_round(&rig.host, x);
	double *right = arena_zalloc(&rig.host.memory, (size_t)(rows * width) * sizeof(double)),
	       *size = arena_zalloc(&rig.host.memory, (size_t)(rows * width) * sizeof(double));
	for (int r = 0; r < rows; r++)
		for (int h = 0; h < s->n_head; h++)
			subject_reference(&rig.host, x, r / s->T, r % s->T, h, right + r * width + h * s->d_v,
			        size + r * width + h * s->d_v);
	for (int i = 0; i < rows * width; i++)
		worst[is_exact] = fmax(worst[is_exact],
		        fabs((double)out.x[i / width * out.stride + i % width] - right[i]) / FLT_EPSILON / size[i]);
	assert_near(what, &out, right, size, EXACT + (is_exact ? 0 : WEIGHTS) + (!is_exact && x->k.turn ? TURNED : 0));
	assert_untouched(what, &x->q);
	if (memcmp(again.memory, out.memory, out.n_memory * sizeof(real)))
		fail_msg("%s: other bits the second time", what);
}

static void stored_attention_equals_loops_in_double(void **state UNUSED)
{
	static const int lengths[] = {1, 2, 31, 32, 33, 63, 65, 127, 128, 129, 161, 255, 257, 300};
	const struct arena_mark mark = arena_mark(&rig.host.memory);
	for (int round = 0; round < 168; round++, arena_rewind(&rig.host.memory, mark)) {
		struct subject x = subject_make(&rig.host, &rng, &range, round, lengths[rig_int(&rng, 0, 13)]);
		check(round / FORMS % 2, &x);
	}
	printf("# off by at most %.2f units of rounding of (1 + the largest score) averages of magnitudes, %.0f with "
	       "operands in bf16\n",
	        worst[1], worst[0]);
}

// Heads wider than a panel, and wider than what a block can stage; more rows than a block has.
static void wide_heads_and_many_rows(void **state UNUSED)
{
	static const int wide[] = {256, 300, 576, 64};
	static const struct subject_range ranges[] = {{wide, 4, 2, 1}, {widths, 7, 20, 4}};
	const struct arena_mark mark = arena_mark(&rig.host.memory);
	for (int round = 0; round < 32; round++, arena_rewind(&rig.host.memory, mark)) {
		struct subject x = subject_make(&rig.host, &rng, &ranges[round / 8 % 2], round, 70 + round % 3 * 29);
		check(round / FORMS % 2, &x);
	}
}

// A step that was taken down at an earlier position and is played at this one has the bits of one taken now.
static void replays_equal_fresh_launches(void **state UNUSED)
{
	const struct arena_mark mark = arena_mark(&rig.host.memory);
	for (int round = 0; round < 24; round++, arena_rewind(&rig.host.memory, mark)) {
		const int S = 90 + round * 7, shift = 1 + round * 5 % 80;
		const struct subject x = subject_make(&rig.host, &rng, &range, round, S);
		const struct backend *backend = round / FORMS % 2 ? rig.exact : rig.rounded;
		struct err err = {0};
		cuda_begin(&rig);
		const struct guarded fresh = output(&x), played = output(&x);
		struct device_subject d = mirror(&x);
		real *to = cuda_mirror(&rig, &played);
		call(backend, &d, cuda_mirror(&rig, &fresh), fresh.stride);
		d.shape.S -= shift, d.shape.q_position -= shift;
		backend->graph->begin(cuda_exec(&rig));
		call(backend, &d, to, played.stride);
		struct graph *graph = backend->graph->end(cuda_exec(&rig), &err);
		if (!graph)
			fail_msg("%s", err.message);
		backend->graph->play(cuda_exec(&rig), graph, NULL, 0, shift);
		cuda_fetch(&rig);
		backend->graph->release(graph);
		if (memcmp(fresh.memory, played.memory, fresh.n_memory * sizeof(real)))
			fail_msg("%s: other bits when it is played %d positions later",
			        subject_name(&rig.host, &x, backend->name), shift);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(stored_attention_equals_loops_in_double),
	        cmocka_unit_test(wide_heads_and_many_rows),
	        cmocka_unit_test(replays_equal_fresh_launches),
	};
	return cmocka_run_group_tests_name("CUDA attention over stored rows", tests, setup, NULL);
}

int main(void)
{
	return cuda_run_tests(&rig, run);
}
