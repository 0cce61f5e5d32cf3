// SPDX-License-Identifier: MIT
// Keys made of values: queries for attention that is given values alone (shared_kv, keyless).
//
// Of each key head the matrix P that makes keys of values best, in least squares over the calibration text or, without
// one, over all inputs alike:
//   P = K C V^T (V C V^T)^+,  K and V the head's maps, C the covariance of the layer's input (a constant cancels in the
//   softmax) or the identity; then q . k = q . P v = (P^T q) . v
// With the identity this is paper A's theorem 2, W~_Q = W_Q W_K^T W_V (W_V^T W_V)^-1, exact where the rows of K lie in
// those of V. Where RoPE turns scores P must commute with the turn: within each turned pair it is one complex number,
// E k v* / E v v* with biases, since there a constant does not cancel.
#include <math.h>
#include <string.h>

#include "harness/num/spectral.h"
#include "variants/variant.h"

static const double NOTHING = 1e-12; // eigenvalues below this part of the largest are rounding

static double *zeros(const struct attn_source *s, long n)
{
	return arena_zalloc(s->arena, (size_t)n * sizeof(double));
}

// (n) the mean of rows a (n, d_model) of a map, with its bias.
static double *mean_of(const struct attn_source *s, const double *a, const double *bias, int n)
{
	const int d = s->dims->d_model;
	double *mean = zeros(s, n);
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < d && s->mean; k++)
			mean[i] += a[(ptrdiff_t)i * d + k] * s->mean[k];
		mean[i] += bias ? bias[i] : 0;
	}
	return mean;
}

// a M b^T of n rows each.
static double *cross(const struct attn_source *s, const double *a, const double *b, int n)
{
	const int d = s->dims->d_model;
	double *c = zeros(s, (long)n * n), *am = zeros(s, (long)n * d);
	if (s->moment)
		product(am, PRODUCT_NN, n, d, d, a, s->moment);
	else
		memcpy(am, a, (size_t)n * (size_t)d * sizeof(*am));
	product(c, PRODUCT_NT, n, n, d, am, b);
	return c;
}

// What one key head's regression is made of: (n, n) moments of keys by values and of values, and their means.
struct moments {
	double *kv, *vv, *k, *v; // with biases; kv and vv without
	const double *b_k, *b_v;
};

static double covariance(const double *moment, const double *x, const double *y, int n, int i, int j)
{
	return moment[(ptrdiff_t)i * n + j] - x[i] * y[j];
}

// Numbers from..n-1 of the head, which are never turned: p (n, n).
static void regress(const struct attn_source *s, double *p, const struct moments *m, int from, int n)
{
	const int size = n - from;
	double *kv = zeros(s, (long)size * size), *vv = zeros(s, (long)size * size), *value = zeros(s, size),
	       *vector = zeros(s, (long)size * size), *half = zeros(s, (long)size * size),
	       *out = zeros(s, (long)size * size);
	for (int i = 0; i < size; i++)
		for (int j = 0; j < size; j++) {
			kv[(ptrdiff_t)i * size + j] = covariance(m->kv, m->k, m->v, n, from + i, from + j);
			vv[(ptrdiff_t)i * size + j] = covariance(m->vv, m->v, m->v, n, from + i, from + j);
		}
	eigen_symmetric(value, vector, vv, size, s->arena);
	product(half, PRODUCT_NT, size, size, size, kv, vector);
	for (int i = 0; i < size; i++)
		for (int j = 0; j < size; j++)
			half[(ptrdiff_t)i * size + j] *= value[j] > NOTHING * value[0] ? 1 / value[j] : 0;
	product(out, PRODUCT_NN, size, size, size, half, vector);
	for (int i = 0; i < size; i++)
		memcpy(p + (ptrdiff_t)(from + i) * n + from, out + (ptrdiff_t)i * size, (size_t)size * sizeof(*p));
}

// E x y* of a turned pair (a, b): real and imaginary part. Means are without biases here.
static void complex_moment(double out[2], const double *moment, const double *x, const double *y, const double *b_x,
        const double *b_y, int n, int a, int b)
{
	double e[2][2];
	const int at[] = {a, b};
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 2; j++) {
			const int p = at[i], q = at[j];
			const double bx = b_x ? b_x[p] : 0, by = b_y ? b_y[q] : 0;
			e[i][j] = moment[(ptrdiff_t)p * n + q] + x[p] * by + bx * y[q] + bx * by;
		}
	out[0] = e[0][0] + e[1][1];
	out[1] = e[1][0] - e[0][1];
}

static void regress_pair(double *p, const struct moments *m, int n, int a, int b)
{
	double kv[2], vv[2];
	complex_moment(kv, m->kv, m->k, m->v, m->b_k, m->b_v, n, a, b);
	complex_moment(vv, m->vv, m->v, m->v, m->b_v, m->b_v, n, a, b);
	const double x = vv[0] > 0 ? kv[0] / vv[0] : 0, y = vv[0] > 0 ? kv[1] / vv[0] : 0;
	p[(ptrdiff_t)a * n + a] = p[(ptrdiff_t)b * n + b] = x;
	p[(ptrdiff_t)b * n + a] = y;
	p[(ptrdiff_t)a * n + b] = -y;
}

// Keys of head g from its values: (d_head, d_head).
static double *keys_of_values(const struct attn_source *s, int g)
{
	const struct attn_dims *d = s->dims;
	const int n = d->d_head, half = d->n_rotary / 2;
	const ptrdiff_t row = (ptrdiff_t)g * n;
	const double *k = s->k.w + row * d->d_model, *v = s->v.w + row * d->d_model;
	const double *b_k = s->k.b ? s->k.b + row : NULL, *b_v = s->v.b ? s->v.b + row : NULL;
	const struct moments m = {
	        cross(s, k, v, n), cross(s, v, v, n), mean_of(s, k, NULL, n), mean_of(s, v, NULL, n), b_k, b_v};
	double *p = zeros(s, (long)n * n);
	for (int i = 0; i < half; i++)
		regress_pair(p, &m, n, d->rope_halves ? i : 2 * i, d->rope_halves ? i + half : 2 * i + 1);
	if (n > d->n_rotary)
		regress(s, p, &m, d->n_rotary, n);
	return p;
}

static struct affine queries_of(const struct attn_source *s)
{
	const struct attn_dims *d = s->dims;
	const int n = d->d_head, n_group = d->n_head / d->n_kv_head;
	struct affine q = {s->q.rows, s->q.cols, zeros(s, (long)s->q.rows * s->q.cols), NULL};
	if (s->q.b)
		q.b = zeros(s, q.rows);
	for (int g = 0; g < d->n_kv_head; g++) {
		const double *p = keys_of_values(s, g);
		for (int h = g * n_group; h < (g + 1) * n_group; h++) {
			const ptrdiff_t row = (ptrdiff_t)h * n;
			product(q.w + row * q.cols, PRODUCT_TN, n, q.cols, n, p, s->q.w + row * q.cols);
			if (q.b)
				product(q.b + row, PRODUCT_TN, n, 1, n, p, s->q.b + row);
		}
	}
	return q;
}

// One identity below the other, each w->C wide.
static void store_identity(struct tensor *w)
{
	for (int i = 0; i < w->T; i++)
		for (int j = 0; j < w->C; j++)
			w->x[i * w->t_stride + j] = i % w->C == j;
}

static void store_chain(const struct attn_chain *c, const struct affine *map, struct tensor *const *param)
{
	attn_store(param[c->w_at], map->w);
	attn_store(param[c->b_at], map->b);
	for (int i = 0; i < c->depth - 1; i++) {
		store_identity(param[c->w_rest + i]);
		struct tensor *b = param[c->b_rest + i];
		if (b)
			memset(b->x, 0, (size_t)b->C * sizeof(*b->x));
	}
}

int attn_shared_convert(const struct attn_dims *dims, const struct attn_conversion *how,
        const struct attn_source *source, const struct attn_chain *query, const struct attn_chain *value, int rope,
        int o, struct tensor *const *param, struct err *err)
{
	if (query->relu || value->relu || value->d_latent)
		return err_set(err, "a trained model has no ReLU and no latent: set relu to none and d_latent to 0");
	if (how->d_select)
		return err_set(err, "the conversion's d_select is for keys, and here are none: set it to 0");
	if (dims->n_rotary && rope != SHARED_ROPE_AT_READ)
		return err_set(err, "values of a trained model are averaged unturned: set rope to at_read");
	if (!source)
		return 0;
	const struct affine q = queries_of(source);
	store_chain(query, &q, param);
	store_chain(value, &source->v, param);
	attn_store(param[o], source->o.w);
	attn_store(param[o + 1], source->o.b);
	return 0;
}
