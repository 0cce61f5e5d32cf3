// SPDX-License-Identifier: MIT
// Fewer key and value heads, and plain attention as the target of a conversion.
#include <math.h>
#include <string.h>

#include "harness/model/convert_heads.h"
#include "harness/num/spectral.h"

static double *copy_of(const double *x, long n, struct arena *arena)
{
	double *y = arena_alloc(arena, (size_t)n * sizeof(*y));
	memcpy(y, x, (size_t)n * sizeof(*y));
	return y;
}

// Squared distance of two heads in a map.
static double distance(const struct affine *map, int d, int g, int h)
{
	double sum = 0;
	const double *a = map->w + (ptrdiff_t)g * d * map->cols, *b = map->w + (ptrdiff_t)h * d * map->cols;
	for (ptrdiff_t i = 0; i < (ptrdiff_t)d * map->cols; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sum;
}

// order (n_kv_head): key heads as they are to stand, `size` of a group after each other. Each group begins with the
// first head that is left and takes the nearest ones to it, keys and values together.
static void order_by_likeness(const struct attn_source *s, int *order, int size)
{
	const int n = s->dims->n_kv_head, d = s->dims->d_head;
	char *is_taken = arena_zalloc(s->arena, (size_t)n);
	for (int at = 0; at < n; at++) {
		const int first = at % size ? order[at - at % size] : -1;
		int best = -1;
		double least = INFINITY;
		for (int g = 0; g < n && (first >= 0 || best < 0); g++) {
			if (is_taken[g])
				continue;
			const double off = first < 0 ? 0 : distance(&s->k, d, first, g) + distance(&s->v, d, first, g);
			if (off < least)
				best = g, least = off;
		}
		order[at] = best;
		is_taken[best] = 1;
	}
}

// Head `to` of the map becomes head `from` of `old`.
static void move_head(const struct affine *map, const struct affine *old, int d, int to, int from)
{
	const size_t row = (size_t)d * (size_t)map->cols;
	memcpy(map->w + (size_t)to * row, old->w + (size_t)from * row, row * sizeof(double));
	if (map->b)
		memcpy(map->b + (ptrdiff_t)to * d, old->b + (ptrdiff_t)from * d, (size_t)d * sizeof(double));
}

// The same function with key heads in that order: query heads and the output's columns go with them.
static void reorder(struct attn_source *s, const int *order)
{
	const struct attn_dims *dims = s->dims;
	const int d = dims->d_head, n_group = dims->n_head / dims->n_kv_head;
	struct affine *const map[] = {&s->q, &s->k, &s->v};
	for (int m = 0; m < 3; m++) {
		const struct affine old = *map[m];
		const int n = m ? 1 : n_group; // heads that go together
		map[m]->w = copy_of(old.w, (long)old.rows * old.cols, s->arena);
		map[m]->b = old.b ? copy_of(old.b, old.rows, s->arena) : NULL;
		for (int h = 0; h < old.rows / d; h++)
			move_head(map[m], &old, d, h, order[h / n] * n + h % n);
	}
	const double *old = s->o.w;
	s->o.w = copy_of(old, (long)s->o.rows * s->o.cols, s->arena);
	for (int i = 0; i < s->o.rows; i++)
		for (int h = 0; h < dims->n_head; h++)
			memcpy(s->o.w + (ptrdiff_t)i * s->o.cols + (ptrdiff_t)h * d,
			        old + (ptrdiff_t)i * s->o.cols +
			                (ptrdiff_t)(order[h / n_group] * n_group + h % n_group) * d,
			        (size_t)d * sizeof(double));
}

// The mean of each `size` heads.
static struct affine mean_heads(const struct affine *map, int d, int size, struct arena *arena)
{
	struct affine y = {map->rows / size, map->cols, NULL, NULL};
	y.w = arena_zalloc(arena, (size_t)y.rows * (size_t)y.cols * sizeof(double));
	y.b = map->b ? arena_zalloc(arena, (size_t)y.rows * sizeof(double)) : NULL;
	for (int i = 0; i < map->rows; i++) {
		const int to = i / (size * d) * d + i % d;
		for (int j = 0; j < map->cols; j++)
			y.w[(ptrdiff_t)to * y.cols + j] += map->w[(ptrdiff_t)i * map->cols + j] / size;
		if (map->b)
			y.b[to] += map->b[i] / size;
	}
	return y;
}

void convert_pool_heads(struct attn_source *s, const struct attn_dims *dims, const struct attn_conversion *how)
{
	const int size = s->dims->n_kv_head / dims->n_kv_head;
	if (size > 1 && how->pool == POOL_SIMILAR) {
		int *order = arena_alloc(s->arena, (size_t)s->dims->n_kv_head * sizeof(*order));
		order_by_likeness(s, order, size);
		reorder(s, order);
	}
	if (size > 1) {
		s->k = mean_heads(&s->k, dims->d_head, size, s->arena);
		s->v = mean_heads(&s->v, dims->d_head, size, s->arena);
	}
	s->dims = dims;
}

// --- plain attention as a target -----------------------------------------------------------------------------------

static struct key_latents cut_of(const struct attn_dims *dims, const struct attn_conversion *how)
{
	struct key_latents s = {.n = how->per ? dims->n_kv_head : 1, .has_up = 1, .d_query = dims->d_head};
	s.d = how->d_select / s.n;
	return s;
}

// A product of full size: what is cut away is gone, but nothing holds the rank from here on.
int attn_plain_convert(const struct attn_dims *dims, const void *config, const struct attn_conversion *how,
        const struct attn_source *from, struct tensor *const *p, struct err *err)
{
	(void)config;
	const struct key_latents_config c = {.d_select = how->d_select, .per = how->per};
	if (how->d_select && key_latents_check(dims, &c, err))
		return -1;
	if (!from)
		return 0;
	struct affine q = from->q, k = from->k;
	const struct key_latents s = cut_of(dims, how);
	if (how->d_select && how->factor == FACTOR_QUERY) {
		q = attn_cut_queries(from, how, &s);
	} else if (how->d_select) {
		const struct attn_factors f = attn_factor(from, how, &s);
		const int n = dims->n_kv_head * dims->d_head / s.n;
		q = f.q;
		k.w = arena_alloc(from->arena, (size_t)k.rows * (size_t)k.cols * sizeof(double));
		for (int i = 0; i < s.n; i++)
			product(k.w + (ptrdiff_t)i * n * k.cols, PRODUCT_NN, n, k.cols, s.d,
			        f.up + (ptrdiff_t)i * n * s.d, f.latent.w + (ptrdiff_t)i * s.d * k.cols);
	}
	const double *x[QKV_PARAMS] = {q.w, k.w, from->v.w, q.b, k.b, from->v.b, from->o.w, from->o.b};
	for (int i = 0; i < QKV_PARAMS; i++)
		attn_store(p[i], x[i]);
	return 0;
}
