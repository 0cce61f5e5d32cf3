// SPDX-License-Identifier: MIT
// Low-rank approximations of a trained layer's keys and queries (variants/convert.h).
//
// All of them are of one form. In a space of n numbers of key heads (one head's, or all heads'), keys k = W_K x become
// a latent c = down k, and up c stands for k: q . k becomes (up^T q) . c. With G_K = W_K M W_K^T the Gram matrix of the
// keys, M the moment of the input, and G_Q that of the queries, added up over a group's heads:
//   key      down = U^T, up = U, the first eigenvectors of G_K: the SVD of W_K (Eckart and Young)
//   query    the same of G_Q, stacked of G_K + G_Q
//   product  the best rank r of W_Q^T W_K: with a root L L^T = G_Q, of what is seen of keys through the queries, L^T k:
//            U of L^T G_K L, down = U^T L^T, up = L^-T U
// Several heads in one space keep their own roots: queries of different heads do not meet, so L has a block for each.
// Where RoPE turns the latent, it is made plane by plane of what commutes with the turn (factor_planes).
#include <math.h>
#include <string.h>

#include "harness/model/factor.h"
#include "harness/num/spectral.h"

// Roots of eigenvalues below this part of the largest are rounding.
static const double NOTHING = 1e-13;

double *factor_zeros(const struct factor_work *w, long n)
{
	return arena_zalloc(w->arena, (size_t)n * sizeof(double));
}

// --- Gram matrices -------------------------------------------------------------------------------------------------

// a M a^T of n rows of a; M the calibration's second moment, or the identity.
static double *gram(const struct factor_work *w, const double *a, int n)
{
	const int d = w->source->dims->d_model;
	double *g = factor_zeros(w, (long)n * n);
	const double *right = a;
	if (w->source->moment) {
		double *am = factor_zeros(w, (long)n * d);
		product(am, PRODUCT_NN, n, d, d, a, w->source->moment);
		right = am;
	}
	product(g, PRODUCT_NT, n, n, d, right, a);
	return g;
}

// Adds what the bias b (n) adds to the moments of a x: (a m) b^T + b (a m)^T + b b^T, m the mean of x.
static void add_bias(const struct factor_work *w, double *g, const double *a, const double *b, int n)
{
	const int d = w->source->dims->d_model;
	double *mean = factor_zeros(w, n);
	for (int i = 0; i < n && w->source->mean; i++)
		for (int k = 0; k < d; k++)
			mean[i] += a[(ptrdiff_t)i * d + k] * w->source->mean[k];
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			g[(ptrdiff_t)i * n + j] += mean[i] * b[j] + b[i] * mean[j] + b[i] * b[j];
}

// Queries in the spaces of their key heads: the j-th head of each group together, added up over j.
static double *query_gram(const struct factor_work *w)
{
	const struct attn_dims *s = w->source->dims;
	const int d = s->d_model, d_head = s->d_head, n_group = s->n_head / s->n_kv_head, D = w->D;
	double *sum = factor_zeros(w, (long)D * D), *rows = factor_zeros(w, (long)D * d), *bias = factor_zeros(w, D);
	for (int j = 0; j < n_group; j++) {
		for (int g = 0; g < s->n_kv_head; g++) {
			const ptrdiff_t from = (ptrdiff_t)(g * n_group + j) * d_head;
			memcpy(rows + (ptrdiff_t)g * d_head * d, w->source->q.w + from * d,
			        (size_t)d_head * (size_t)d * sizeof(*rows));
			if (w->source->q.b)
				memcpy(bias + (ptrdiff_t)g * d_head, w->source->q.b + from,
				        (size_t)d_head * sizeof(*bias));
		}
		double *one = gram(w, rows, D);
		if (w->source->q.b)
			add_bias(w, one, rows, bias, D);
		for (ptrdiff_t i = 0; i < (ptrdiff_t)D * D; i++)
			sum[i] += one[i];
	}
	return sum;
}

// --- one space -----------------------------------------------------------------------------------------------------

// Rows and columns index[0..n-1] of a (D, D).
static double *part_of(const struct factor_work *w, const double *a, const int *index, int n)
{
	double *p = factor_zeros(w, (long)n * n);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			p[(ptrdiff_t)i * n + j] = a[(ptrdiff_t)index[i] * w->D + index[j]];
	return p;
}

// Root L of the queries' Gram matrix in a space, head by head, and L^-T (its pseudo-inverse): (n, n) each.
static void query_root(const struct factor_work *w, const int *index, int n, double *root, double *inverse)
{
	for (int from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && index[to] / w->d_head == index[from] / w->d_head; to++)
			;
		const int m = to - from;
		double *value = factor_zeros(w, m), *vector = factor_zeros(w, (long)m * m);
		eigen_symmetric(value, vector, part_of(w, w->gram_q, index + from, m), m, w->arena);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < m; j++) {
				const ptrdiff_t at = (ptrdiff_t)(from + i) * n + from + j;
				const int is_seen = value[j] > NOTHING * value[0];
				const double size = is_seen ? sqrt(value[j]) : 0, v = vector[(ptrdiff_t)j * m + i];
				root[at] = v * size;
				inverse[at] = is_seen ? v / size : 0;
			}
	}
}

// Latent numbers row..row+r-1 from the n numbers `index` of key heads, none of them turned.
static void factor_space(struct factor_work *w, const int *index, int n, int row, int r)
{
	double *g = part_of(w, w->how->factor == FACTOR_QUERY ? w->gram_q : w->gram_k, index, n);
	double *root = factor_zeros(w, (long)n * n), *inverse = factor_zeros(w, (long)n * n),
	       *value = factor_zeros(w, n), *vector = factor_zeros(w, (long)n * n),
	       *half = factor_zeros(w, (long)n * n);
	if (w->how->factor == FACTOR_STACKED) {
		const double *q = part_of(w, w->gram_q, index, n);
		for (ptrdiff_t i = 0; i < (ptrdiff_t)n * n; i++)
			g[i] += q[i];
	}
	for (int i = 0; i < n; i++)
		root[(ptrdiff_t)i * n + i] = inverse[(ptrdiff_t)i * n + i] = 1;
	if (w->how->factor == FACTOR_PRODUCT) {
		memset(root, 0, (size_t)n * (size_t)n * sizeof(*root));
		memset(inverse, 0, (size_t)n * (size_t)n * sizeof(*inverse));
		query_root(w, index, n, root, inverse);
		product(half, PRODUCT_TN, n, n, n, root, g);
		product(g, PRODUCT_NN, n, n, n, half, root);
	}
	eigen_symmetric(value, vector, g, n, w->arena);
	double *down = factor_zeros(w, (long)r * n), *up = factor_zeros(w, (long)n * r);
	product(down, PRODUCT_NT, r, n, n, vector, root);
	product(up, PRODUCT_NT, n, r, n, inverse, vector);
	for (int i = 0; i < r; i++)
		w->gain[row + i] = value[i];
	for (int i = 0; i < r; i++)
		for (int j = 0; j < n; j++) {
			w->down[(ptrdiff_t)(row + i) * w->D + index[j]] = down[(ptrdiff_t)i * n + j];
			w->up[(ptrdiff_t)index[j] * w->r + row + i] = up[(ptrdiff_t)j * r + i];
		}
}

static void factor(struct factor_work *w)
{
	const struct attn_dims *s = w->source->dims;
	const int n_head = s->n_kv_head / w->shape->n; // key heads of a space
	for (int space = 0; space < w->shape->n; space++) {
		int *index = arena_alloc(w->arena, (size_t)w->D * sizeof(*index)), n = 0;
		const int from = w->shape->d_rope ? s->n_rotary : 0; // of each head
		for (int i = 0; i < n_head * w->d_head; i++)
			if (i % w->d_head >= from)
				index[n++] = space * n_head * w->d_head + i;
		if (w->shape->d_rope)
			factor_planes(w, space, n_head);
		if (w->shape->d > w->shape->d_rope)
			factor_space(
			        w, index, n, space * w->shape->d + w->shape->d_rope, w->shape->d - w->shape->d_rope);
	}
}

// --- what is made of it --------------------------------------------------------------------------------------------

// m (rows, D) times the map's matrix and bias.
static struct affine after(const struct factor_work *w, const double *m, int rows, const struct affine *map)
{
	struct affine y = {rows, map->cols, factor_zeros(w, (long)rows * map->cols), NULL};
	product(y.w, PRODUCT_NN, rows, map->cols, map->rows, m, map->w);
	if (map->b) {
		y.b = factor_zeros(w, rows);
		product(y.b, PRODUCT_NN, rows, 1, map->rows, m, map->b);
	}
	return y;
}

// Queries of the width of their head's latent: up_g^T q_h.
static struct affine thin_queries(const struct factor_work *w, const struct affine *q)
{
	const struct attn_dims *s = w->source->dims;
	const int d = w->shape->d, rows = s->n_head * d;
	double *m = factor_zeros(w, (long)rows * q->rows);
	for (int h = 0; h < s->n_head; h++) {
		const int g = h * s->n_kv_head / s->n_head;
		for (int i = 0; i < d; i++)
			for (int j = 0; j < w->d_head; j++)
				m[(ptrdiff_t)(h * d + i) * q->rows + h * w->d_head + j] =
				        w->up[(ptrdiff_t)(g * w->d_head + j) * w->r + g * d + i];
	}
	return after(w, m, rows, q);
}

// P W_Q, P = U U^T of the first eigenvectors of W_Q's Gram matrix; its bias stays. In all heads together, or for one
// latent of each key head in that head's space, the queries of its group together.
static struct affine cut_queries(const struct factor_work *w)
{
	const struct affine *q = &w->source->q;
	const struct attn_dims *s = w->source->dims;
	const int n_group = s->n_head / s->n_kv_head, n_space = w->shape->n, is_joint = n_space == 1;
	const int n = is_joint ? q->rows : w->d_head, r = is_joint ? w->r * n_group : w->shape->d;
	double *y = factor_zeros(w, (long)q->rows * q->cols), *value = factor_zeros(w, n),
	       *vector = factor_zeros(w, (long)n * n), *some = factor_zeros(w, (long)n * q->cols);
	for (int space = 0; space < n_space; space++) {
		const int n_part = is_joint ? 1 : n_group;
		double *g = factor_zeros(w, (long)n * n);
		for (int part = 0; part < n_part; part++) {
			const double *one = gram(w, q->w + (ptrdiff_t)(space * n_part + part) * n * q->cols, n);
			for (ptrdiff_t i = 0; i < (ptrdiff_t)n * n; i++)
				g[i] += one[i];
		}
		eigen_symmetric(value, vector, g, n, w->arena);
		for (int part = 0; part < n_part; part++) {
			const ptrdiff_t at = (ptrdiff_t)(space * n_part + part) * n * q->cols;
			product(some, PRODUCT_NN, r, q->cols, n, vector, q->w + at);
			product(y + at, PRODUCT_TN, n, q->cols, r, vector, some);
		}
	}
	return (struct affine){q->rows, q->cols, y, q->b};
}

static struct factor_work work_on(
        const struct attn_source *source, const struct attn_conversion *how, const struct key_latents *shape)
{
	const int d = source->dims->d_head;
	return (struct factor_work){
	        source, how, shape, source->arena, source->dims->n_kv_head * d, d, shape->n * shape->d};
}

struct affine attn_cut_queries(
        const struct attn_source *source, const struct attn_conversion *how, const struct key_latents *shape)
{
	const struct factor_work w = work_on(source, how, shape);
	return cut_queries(&w);
}

struct attn_factors attn_factor(
        const struct attn_source *source, const struct attn_conversion *how, const struct key_latents *shape)
{
	struct factor_work w = work_on(source, how, shape);
	w.gram_k = gram(&w, source->k.w, w.D);
	w.gram_q = query_gram(&w);
	w.down = factor_zeros(&w, (long)w.r * w.D);
	w.up = factor_zeros(&w, (long)w.D * w.r);
	w.gain = factor_zeros(&w, w.r);
	w.plane = factor_zeros(&w, shape->n_plane);
	factor(&w);
	struct attn_factors f = {source->q, after(&w, w.down, w.r, &source->k), NULL, NULL};
	if (how->factor == FACTOR_BOTH)
		f.q = cut_queries(&w);
	if (!shape->has_up)
		f.q = thin_queries(&w, &f.q);
	if (shape->has_up) { // a key head's own columns
		f.up = factor_zeros(&w, (long)w.D * shape->d);
		for (int i = 0; i < w.D; i++)
			memcpy(f.up + (ptrdiff_t)i * shape->d,
			        w.up + (ptrdiff_t)i * w.r + (shape->n > 1 ? i / w.d_head * shape->d : 0),
			        (size_t)shape->d * sizeof(double));
	}
	f.plane = w.plane;
	f.gain = w.gain;
	return f;
}

int attn_factor_check(
        const struct attn_dims *d, const struct attn_conversion *how, const struct key_latents *shape, struct err *err)
{
	if (how->d_select)
		return err_set(err, "the conversion's d_select is for targets with whole keys: this one has its own");
	const int n_head = d->n_kv_head / shape->n, n_unturned = n_head * (d->d_head - d->n_rotary);
	if (shape->d_rope && shape->d - shape->d_rope > n_unturned)
		return err_set(err,
		        "d_rope %d leaves %d numbers of d_select that are not turned, and the model has %d of them",
		        shape->n * shape->d_rope, shape->n * (shape->d - shape->d_rope), shape->n * n_unturned);
	if (how->factor == FACTOR_BOTH && shape->d_rope)
		return err_set(err, "factor: both cuts queries and keys apart, which planes that turn together are "
		                    "not: take product");
	if (how->factor == FACTOR_QUERY && shape->n == 1 && d->n_kv_head > 1)
		return err_set(
		        err, "queries of several heads have no latent in common: set per to head, or another factor");
	return 0;
}
