// SPDX-License-Identifier: MIT
// Attention over rows as a cache holds them: every type, every form of keys and values, groups of query heads, and
// contexts at the edges of tiles (32) and splits (128, then longer), against plain loops in double over what is stored.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/num/guard.h"
#include "tests/test.h"

enum { TILE = DTYPE_BLOCK };
// Of rounding units of the average of magnitudes, times 1 and the largest score: what an exponent is off by is what its
// score is off by.
static const double ROUNDING = 4;

enum form { SEPARATE, SHARED, VALUE_IN_KEY, KEY_IN_VALUE, FORMS };
static const char *const form_name[] = {"separate", "shared", "value in key", "key in value"};

struct subject {
	enum form form;
	enum dtype k_dtype, v_dtype;
	int is_by_channel, is_turned;
	struct rope *rope;
	struct attention_shape shape;
	struct stored k, v;
	double *k_read, *v_read; // (B, S, n_head * d): what the rows say, keys turned
	real *bias;
	struct guarded q;
};

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

static void *memory(size_t n, size_t size)
{
	return arena_zalloc(&rig.memory, n * size + 64);
}

// A cached stream of (B, S, columns) with room for `capacity` rows, and what it says.
static struct stored make_stream(double **read, enum dtype dtype, int is_by_channel, int B, int S, int columns)
{
	const int capacity = (S + 5 + TILE - 1) / TILE * TILE;
	const size_t channel = dtype_row_bytes(dtype, TILE), row = dtype_row_bytes(dtype, columns);
	struct stored s = {.dtype = dtype, .columns = columns};
	s.row_bytes = (ptrdiff_t)(is_by_channel ? channel * (size_t)columns : row);
	s.b_bytes = s.row_bytes * (is_by_channel ? capacity / TILE : capacity);
	s.channel_bytes = is_by_channel ? (ptrdiff_t)channel : 0;
	unsigned char *at = memory((size_t)B * (size_t)s.b_bytes, 1);
	memset(at, 0xff, (size_t)B * (size_t)s.b_bytes); // rows that nobody has written are NaN
	real *tail = is_by_channel ? memory((size_t)B * TILE * (size_t)columns, sizeof(real)) : NULL;
	real *x = memory((size_t)S * (size_t)columns, sizeof(real));
	*read = memory((size_t)B * (size_t)S * (size_t)columns, sizeof(double));
	for (int b = 0; b < B; b++) {
		for (int i = 0; i < S * columns; i++)
			x[i] = (real)rng_normal(&rng);
		for (int t = 0; t < S && !is_by_channel; t++) {
			unsigned char *to = at + b * s.b_bytes + t * s.row_bytes;
			dtype_write(dtype, to, x + t * columns, columns);
			dtype_read(dtype, x + t * columns, to, columns);
		}
		for (int t = 0; t < S && is_by_channel; t += TILE)
			for (int c = 0; c < columns; c++) {
				real block[TILE];
				unsigned char *to = at + b * s.b_bytes + t / TILE * s.row_bytes + c * s.channel_bytes;
				if (t + TILE > S) {
					for (int i = t; i < S; i++)
						tail[(b * TILE + i - t) * columns + c] = x[i * columns + c];
					continue;
				}
				for (int i = 0; i < TILE; i++)
					block[i] = x[(t + i) * columns + c];
				dtype_write(dtype, to, block, TILE);
				dtype_read(dtype, block, to, TILE);
				for (int i = 0; i < TILE; i++)
					x[(t + i) * columns + c] = block[i];
			}
		for (int i = 0; i < S * columns; i++)
			(*read)[(long)b * S * columns + i] = (double)x[i];
	}
	s.at = at;
	s.tail = tail;
	return s;
}

static void turn(double *row, const struct rope *r, int position)
{
	for (int i = 0; i < r->n_rotary / 2; i++) {
		const double angle = position * rope_frequency(r, i), c = cos(angle), s = sin(angle);
		double *u = row + r->from + (r->halves ? i : 2 * i), *v = u + (r->halves ? r->n_rotary / 2 : 1);
		const double a = *u, b = *v;
		*u = a * c - b * s, *v = a * s + b * c;
	}
}

// Columns from..from+n-1 of `all`, which has `columns`.
static double *columns_of(const double *all, long rows, int columns, int from, int n)
{
	double *some = memory((size_t)(rows * n), sizeof(double));
	for (long i = 0; i < rows; i++)
		memcpy(some + i * n, all + i * columns + from, (size_t)n * sizeof(double));
	return some;
}

static void make_rows(struct subject *x)
{
	const struct attention_shape *s = &x->shape;
	const int n = s->n_k_head, wide_k = n * s->d_qk, wide_v = n * s->d_v;
	const int is_channel = x->is_by_channel && x->form == SEPARATE;
	double *all;
	x->k = make_stream(&all, x->k_dtype, is_channel, s->B, s->S, x->form == KEY_IN_VALUE ? wide_v : wide_k);
	x->v = x->k;
	x->k_read = x->v_read = all;
	if (x->form == SEPARATE)
		x->v = make_stream(&x->v_read, x->v_dtype, 0, s->B, s->S, wide_v);
	if (x->form == VALUE_IN_KEY) // a latent: the average is of its first part
		x->v_read = columns_of(all, (long)s->B * s->S, wide_k, 0, wide_v);
	if (x->form == KEY_IN_VALUE) {
		x->k.from = wide_v - wide_k;
		x->k_read = columns_of(all, (long)s->B * s->S, wide_v, x->k.from, wide_k);
	}
	if (x->is_turned) {
		x->k.turn = x->rope;
		x->k_read = columns_of(x->k_read, (long)s->B * s->S, wide_k, 0, wide_k);
		for (long row = 0; row < (long)s->B * s->S; row++)
			for (int h = 0; h < n; h++)
				turn(x->k_read + row * wide_k + h * s->d_qk, x->rope, (int)(row % s->S));
	}
}

static struct subject make_subject(int round, int S)
{
	static const int widths[] = {16, 32, 64, 24, 96, 7};
	struct subject x = {.form = (enum form)(round % FORMS),
	        .k_dtype = (enum dtype)(round % N_DTYPE),
	        .v_dtype = (enum dtype)(round / 3 % N_DTYPE),
	        .is_by_channel = round % 3 == 0 && (round % N_DTYPE == DTYPE_Q8 || round % N_DTYPE == DTYPE_Q4),
	        .is_turned = round % 7 < 3};
	struct attention_shape *s = &x.shape;
	const int group = 1 << rig_int(&rng, 0, 3), T = rig_int(&rng, 1, S < 8 ? S : 8);
	*s = (struct attention_shape){.B = rig_int(&rng, 1, 3), .T = T, .S = S, .causal = round % 5 != 0};
	s->n_k_head = s->n_v_head = x.form == VALUE_IN_KEY || x.form == KEY_IN_VALUE ? 1 : rig_int(&rng, 1, 3);
	s->n_head = s->n_k_head * group;
	s->d_qk = widths[rig_int(&rng, 0, 5)];
	s->d_v = x.form == SHARED ? s->d_qk : widths[rig_int(&rng, 0, 5)];
	if (x.form == VALUE_IN_KEY && s->d_v > s->d_qk)
		s->d_v = s->d_qk;
	if (x.form == KEY_IN_VALUE && s->d_qk > s->d_v)
		s->d_qk = s->d_v;
	s->q_position = S - T;
	s->scale = 1 / sqrt(s->d_qk);
	const int n_rotary = s->d_qk / 2 * (round % 2 + 1) / 2 * 2;
	x.is_turned &= n_rotary > 0;
	x.rope = memory(1, sizeof(*x.rope));
	*x.rope = (struct rope){.n_head = s->n_k_head,
	        .from = rig_int(&rng, 0, s->d_qk - n_rotary),
	        .n_rotary = n_rotary,
	        .n_ladder = n_rotary,
	        .base = 10000,
	        .halves = round % 4 < 2};
	make_rows(&x);
	x.q = guarded_operand(&rig, s->B * T, s->n_head * s->d_qk, s->n_head * s->d_qk + round % 3);
	if (round % 6 == 1) {
		s->key_bias_stride = round % 12 == 1 ? 0 : S;
		real *bias = memory((size_t)s->n_head * (size_t)S, sizeof(real));
		for (int i = 0; i < s->n_head * S; i++)
			bias[i] = (real)rng_normal(&rng);
		s->key_bias = bias;
	}
	return x;
}

// Row t, head h of sequence b: out (d_v), and the magnitudes that rounding goes with.
static void reference(const struct subject *x, int b, int t, int h, double *out, double *size)
{
	const struct attention_shape *s = &x->shape;
	const int g = h * s->n_k_head / s->n_head, seen = s->causal ? s->q_position + t + 1 : s->S;
	const real *q = x->q.x + (b * s->T + t) * x->q.stride + h * s->d_qk;
	double *score = memory((size_t)seen, sizeof(double)), most = -INFINITY, total = 0, largest = 0;
	for (int j = 0; j < seen; j++) {
		const double *k = x->k_read + ((long)b * s->S + j) * s->n_k_head * s->d_qk + g * s->d_qk;
		double magnitude = 0;
		for (int c = 0; c < s->d_qk; c++) {
			score[j] += s->scale * (double)q[c] * k[c];
			magnitude += s->scale * fabs((double)q[c] * k[c]);
		}
		if (s->key_bias)
			score[j] += (double)s->key_bias[h * s->key_bias_stride + j];
		most = fmax(most, score[j]);
		largest = fmax(largest, magnitude);
	}
	for (int j = 0; j < seen; j++)
		total += exp(score[j] - most);
	for (int c = 0; c < s->d_v; c++)
		out[c] = size[c] = 0;
	for (int j = 0; j < seen; j++) {
		const double *v = x->v_read + ((long)b * s->S + j) * s->n_v_head * s->d_v + g * s->d_v;
		const double p = exp(score[j] - most) / total;
		for (int c = 0; c < s->d_v; c++)
			out[c] += p * v[c], size[c] += p * fabs(v[c]) * (1 + largest);
	}
}

static void check(const struct backend *backend, const struct subject *x)
{
	const struct attention_shape *s = &x->shape;
	const int rows = s->B * s->T, width = s->n_head * s->d_v;
	const struct guarded out = guarded_output(&rig, rows, width, width + 3, 0);
	const char *what = arena_printf(&rig.memory,
	        "attention_stored (%s): %s, k %s%s%s of %d, v %s of %d, %d heads over %d, %d new of %d", backend->name,
	        form_name[x->form], dtype_name[x->k_dtype], x->k.tail ? " by channel" : "", x->k.turn ? " turned" : "",
	        s->d_qk, dtype_name[x->form == SEPARATE ? x->v_dtype : x->k_dtype], s->d_v, s->n_head, s->n_k_head,
	        s->T, s->S);
	const struct strided q = {x->q.x, s->T * x->q.stride, x->q.stride};
	struct exec exec = *rig_exec(&rig);
	exec.n_thread = 1;
	backend->attention_stored(
	        &exec, (struct strided_out){out.x, s->T * out.stride, out.stride, 0}, q, &x->k, &x->v, s);
	double *right = memory((size_t)(rows * width), sizeof(double)), *size = memory((size_t)(rows * width), 8);
	for (int r = 0; r < rows; r++)
		for (int h = 0; h < s->n_head; h++)
			reference(x, r / s->T, r % s->T, h, right + r * width + h * s->d_v,
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
		const struct subject x = make_subject(round, lengths[rig_int(&rng, 0, 13)]);
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
		const struct subject x = make_subject(round, lengths[round % 5]);
		check(round % 2 ? &backend_cpu : &backend_cpu_portable, &x);
	}
}

// A query row has the same bits alone as among others of its step, and in a batch as alone.
static void rows_do_not_depend_on_their_neighbours(void **state UNUSED)
{
	const struct arena_mark mark = arena_mark(&rig.memory);
	for (int round = 0; round < 60; round++, arena_rewind(&rig.memory, mark)) {
		struct subject x = make_subject(round, 140);
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
