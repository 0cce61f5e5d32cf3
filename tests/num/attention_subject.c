// SPDX-License-Identifier: MIT
#include "tests/num/attention_subject.h"

#include <math.h>
#include <string.h>

enum { TILE = DTYPE_BLOCK };
static const char *const form_name[] = {"separate", "shared", "value in key", "key in value"};

static void *memory(struct rig *rig, size_t n, size_t size)
{
	return arena_zalloc(&rig->memory, n * size + 64);
}

// A cached stream of (B, S, columns) with room for `capacity` rows, and what it says.
static struct stored make_stream(
        struct rig *rig, struct rng *rng, double **read, enum dtype dtype, int is_by_channel, int B, int S, int columns)
{
	const int capacity = (S + 5 + TILE - 1) / TILE * TILE;
	const size_t channel = dtype_row_bytes(dtype, TILE), row = dtype_row_bytes(dtype, columns);
	struct stored s = {.dtype = dtype, .columns = columns};
	s.row_bytes = (ptrdiff_t)(is_by_channel ? channel * (size_t)columns : row);
	s.b_bytes = s.row_bytes * (is_by_channel ? capacity / TILE : capacity);
	s.channel_bytes = is_by_channel ? (ptrdiff_t)channel : 0;
	unsigned char *at = memory(rig, (size_t)B * (size_t)s.b_bytes, 1);
	memset(at, 0xff, (size_t)B * (size_t)s.b_bytes); // rows that nobody has written are NaN
	real *tail = is_by_channel ? memory(rig, (size_t)B * TILE * (size_t)columns, sizeof(real)) : NULL;
	real *x = memory(rig, (size_t)S * (size_t)columns, sizeof(real));
	*read = memory(rig, (size_t)B * (size_t)S * (size_t)columns, sizeof(double));
	for (int b = 0; b < B; b++) {
		for (int i = 0; i < S * columns; i++)
			x[i] = (real)rng_normal(rng);
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
		const double angle = (r->first + position) * rope_frequency(r, i), c = cos(angle), s = sin(angle);
		double *u = row + r->from + (r->halves ? i : 2 * i), *v = u + (r->halves ? r->n_rotary / 2 : 1);
		const double a = *u, b = *v;
		*u = a * c - b * s, *v = a * s + b * c;
	}
}

// Columns from..from+n-1 of `all`, which has `columns`.
static double *columns_of(struct rig *rig, const double *all, long rows, int columns, int from, int n)
{
	double *some = memory(rig, (size_t)(rows * n), sizeof(double));
	for (long i = 0; i < rows; i++)
		memcpy(some + i * n, all + i * columns + from, (size_t)n * sizeof(double));
	return some;
}

static void make_rows(struct rig *rig, struct rng *rng, struct subject *x)
{
	const struct attention_shape *s = &x->shape;
	const int n = s->n_k_head, wide_k = n * s->d_qk, wide_v = n * s->d_v;
	const int is_channel = x->is_by_channel && x->form == SEPARATE;
	double *all;
	x->k = make_stream(
	        rig, rng, &all, x->k_dtype, is_channel, s->B, s->S, x->form == KEY_IN_VALUE ? wide_v : wide_k);
	x->v = x->k;
	x->k_read = x->v_read = all;
	if (x->form == SEPARATE)
		x->v = make_stream(rig, rng, &x->v_read, x->v_dtype, 0, s->B, s->S, wide_v);
	if (x->form == VALUE_IN_KEY) // a latent: the average is of its first part
		x->v_read = columns_of(rig, all, (long)s->B * s->S, wide_k, 0, wide_v);
	if (x->form == KEY_IN_VALUE) {
		x->k.from = wide_v - wide_k;
		x->k_read = columns_of(rig, all, (long)s->B * s->S, wide_v, x->k.from, wide_k);
	}
	if (x->is_turned) {
		x->k.turn = x->rope;
		x->k_read = columns_of(rig, x->k_read, (long)s->B * s->S, wide_k, 0, wide_k);
		for (long row = 0; row < (long)s->B * s->S; row++)
			for (int h = 0; h < n; h++)
				turn(x->k_read + row * wide_k + h * s->d_qk, x->rope, (int)(row % s->S));
	}
}

struct subject subject_make(struct rig *rig, struct rng *rng, const struct subject_range *range, int round, int S)
{
	const int last = range->n_width - 1, *widths = range->width;
	struct subject x = {.form = (enum form)(round % FORMS),
	        .k_dtype = (enum dtype)(round % N_DTYPE),
	        .v_dtype = (enum dtype)(round / 3 % N_DTYPE),
	        .is_by_channel = round % 3 == 0 && (round % N_DTYPE == DTYPE_Q8 || round % N_DTYPE == DTYPE_Q4),
	        .is_turned = round % 7 < 3};
	struct attention_shape *s = &x.shape;
	const int group = 1 << rig_int(rng, 0, range->log_group),
	          T = rig_int(rng, 1, S < range->most_T ? S : range->most_T);
	*s = (struct attention_shape){.B = rig_int(rng, 1, 3), .T = T, .S = S, .causal = round % 5 != 0};
	s->n_k_head = s->n_v_head = x.form == VALUE_IN_KEY || x.form == KEY_IN_VALUE ? 1 : rig_int(rng, 1, 3);
	s->n_head = s->n_k_head * group;
	s->d_qk = widths[rig_int(rng, 0, last)];
	s->d_v = x.form == SHARED ? s->d_qk : widths[rig_int(rng, 0, last)];
	if (x.form == VALUE_IN_KEY && s->d_v > s->d_qk)
		s->d_v = s->d_qk;
	if (x.form == KEY_IN_VALUE && s->d_qk > s->d_v)
		s->d_qk = s->d_v;
	s->q_position = S - T;
	s->scale = 1 / sqrt(s->d_qk);
	const int n_rotary = s->d_qk / 2 * (round % 2 + 1) / 2 * 2;
	x.is_turned &= n_rotary > 0;
	x.rope = memory(rig, 1, sizeof(*x.rope));
	*x.rope = (struct rope){.n_head = s->n_k_head,
	        .from = rig_int(rng, 0, s->d_qk - n_rotary),
	        .n_rotary = n_rotary,
	        .n_ladder = n_rotary,
	        .base = 10000,
	        .first = round % 8 < 4 ? 0 : 123457, // far on: angles are kept whole
	        .halves = round % 4 < 2};
	make_rows(rig, rng, &x);
	x.q = guarded_operand(rig, s->B * T, s->n_head * s->d_qk, s->n_head * s->d_qk + round % 3);
	x.q_read = memory(rig, (size_t)(s->B * T * s->n_head * s->d_qk), sizeof(double));
	for (int i = 0; i < s->B * T * s->n_head * s->d_qk; i++)
		x.q_read[i] = (double)x.q.x[i / (s->n_head * s->d_qk) * x.q.stride + i % (s->n_head * s->d_qk)];
	if (round % 6 == 1) {
		s->key_bias_stride = round % 12 == 1 ? 0 : S;
		real *bias = memory(rig, (size_t)s->n_head * (size_t)S, sizeof(real));
		for (int i = 0; i < s->n_head * S; i++)
			bias[i] = (real)rng_normal(rng);
		s->key_bias = x.bias = bias;
	}
	return x;
}

void subject_reference(struct rig *rig, const struct subject *x, int b, int t, int h, double *out, double *size)
{
	const struct attention_shape *s = &x->shape;
	const int g = h * s->n_k_head / s->n_head, seen = s->causal ? s->q_position + t + 1 : s->S;
	const double *q = x->q_read + ((long)b * s->T + t) * s->n_head * s->d_qk + h * s->d_qk;
	double *score = memory(rig, (size_t)seen, sizeof(double)), most = -INFINITY, total = 0, largest = 0;
	for (int j = 0; j < seen; j++) {
		const double *k = x->k_read + ((long)b * s->S + j) * s->n_k_head * s->d_qk + g * s->d_qk;
		double magnitude = 0;
		for (int c = 0; c < s->d_qk; c++) {
			score[j] += s->scale * q[c] * k[c];
			magnitude += s->scale * fabs(q[c] * k[c]);
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

size_t subject_stream_bytes(const struct subject *x, const struct stored *s)
{
	return (size_t)x->shape.B * (size_t)s->b_bytes;
}

static double *rounded(struct rig *rig, const double *from, long n)
{
	double *to = memory(rig, (size_t)n, sizeof(double));
	for (long i = 0; i < n; i++) {
		unsigned char bytes[2];
		real x = (real)from[i];
		dtype_write(DTYPE_BF16, bytes, &x, 1);
		dtype_read(DTYPE_BF16, &x, bytes, 1);
		to[i] = (double)x;
	}
	return to;
}

void subject_round(struct rig *rig, struct subject *x)
{
	const struct attention_shape *s = &x->shape;
	const long rows = (long)s->B * s->S * s->n_k_head;
	x->q_read = rounded(rig, x->q_read, (long)s->B * s->T * s->n_head * s->d_qk);
	x->k_read = rounded(rig, x->k_read, rows * s->d_qk);
	x->v_read = rounded(rig, x->v_read, rows * s->d_v);
}

const char *subject_name(struct rig *rig, const struct subject *x, const char *who)
{
	const struct attention_shape *s = &x->shape;
	return arena_printf(&rig->memory,
	        "attention_stored (%s): %s, k %s%s%s of %d, v %s of %d, %d heads over %d, %d new of %d", who,
	        form_name[x->form], dtype_name[x->k_dtype], x->k.tail ? " by channel" : "", x->k.turn ? " turned" : "",
	        s->d_qk, dtype_name[x->form == SEPARATE ? x->v_dtype : x->k_dtype], s->d_v, s->n_head, s->n_k_head,
	        s->T, s->S);
}
