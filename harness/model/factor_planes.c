// SPDX-License-Identifier: MIT
// Latents that RoPE turns. A pair of numbers that turn together is one complex number z, and a turn multiplies it by a
// phase, which what is complex-linear commutes with. So at each frequency the pairs of all key heads of a space, a
// complex vector, become c = u^H z, u the first eigenvectors of the Hermitian Gram matrix of z: c is turned by the same
// frequency and stands for z, turned or not. With one head in a space whole planes are kept or left out as they are.
// Over all frequencies the planes of largest eigenvalue are kept.
#include <math.h>
#include <stdlib.h>

#include "harness/model/factor.h"
#include "harness/num/spectral.h"

// One pair of a latent.
struct candidate {
	double value;            // what it holds of the Gram matrix
	int frequency, order;    // pair of the model's ladder; which eigenvector of it
	const double *down, *up; // complex, per head of the space
};

// Number of part `part` (0, 1) of pair i among the n turned numbers.
static int number_of(const struct attn_dims *d, int n, int i, int part)
{
	return d->rope_halves ? i + part * (n / 2) : 2 * i + part;
}

// E z z^H of heads g and h at a frequency, of the Gram matrix of all numbers.
static void hermitian(const struct factor_work *w, double out[2], const double *gram, int frequency, int g, int h)
{
	const struct attn_dims *d = w->source->dims;
	const ptrdiff_t n = d->n_rotary, D = w->D;
	const ptrdiff_t a = g * d->d_head + number_of(d, (int)n, frequency, 0),
	                b = g * d->d_head + number_of(d, (int)n, frequency, 1);
	const ptrdiff_t p = h * d->d_head + number_of(d, (int)n, frequency, 0),
	                q = h * d->d_head + number_of(d, (int)n, frequency, 1);
	out[0] += gram[a * D + p] + gram[b * D + q];
	out[1] += gram[b * D + p] - gram[a * D + q];
}

// The planes of one frequency in the n heads from `first` on, best first.
static void decompose(const struct factor_work *w, struct candidate *c, int frequency, int first, int n)
{
	const enum factoring how = (enum factoring)w->how->factor;
	double *m = factor_zeros(w, 2L * n * n), *value = factor_zeros(w, n), *vector = factor_zeros(w, 2L * n * n);
	double *root = factor_zeros(w, n);
	for (int g = 0; g < n; g++) {
		double q[2] = {0};
		hermitian(w, q, w->gram_q, frequency, first + g, first + g);
		root[g] = how == FACTOR_PRODUCT ? sqrt(q[0] / 2) : 1;
	}
	for (int g = 0; g < n; g++)
		for (int h = 0; h < n; h++) {
			double *at = m + 2 * ((ptrdiff_t)g * n + h);
			if (how != FACTOR_QUERY)
				hermitian(w, at, w->gram_k, frequency, first + g, first + h);
			if (how == FACTOR_QUERY || how == FACTOR_STACKED)
				hermitian(w, at, w->gram_q, frequency, first + g, first + h);
			at[0] *= root[g] * root[h];
			at[1] *= root[g] * root[h];
		}
	eigen_hermitian(value, vector, m, n, w->arena);
	for (int i = 0; i < n; i++) {
		const double *u = vector + 2 * (ptrdiff_t)i * n;
		double *down = factor_zeros(w, 2 * n), *up = factor_zeros(w, 2 * n);
		for (int g = 0; g < n; g++)
			for (int part = 0; part < 2; part++) {
				down[2 * g + part] = u[2 * g + part] * root[g];
				up[2 * g + part] = root[g] > 0 ? u[2 * g + part] / root[g] : 0;
			}
		c[i] = (struct candidate){value[i], frequency, i, down, up};
	}
}

static int by_value(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->frequency != y->frequency ? x->frequency - y->frequency : x->order - y->order;
}

static int by_frequency(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	return x->frequency != y->frequency ? x->frequency - y->frequency : x->order - y->order;
}

// Real rows of c = u^H z and columns of z = u c: pair i of the latent that begins at number `row`.
static void write(struct factor_work *w, const struct candidate *c, int row, int i, int first, int n)
{
	const struct attn_dims *d = w->source->dims;
	for (int g = 0; g < n; g++)
		for (int part = 0; part < 2; part++)  // of the latent's pair
			for (int k = 0; k < 2; k++) { // of the head's
				const ptrdiff_t latent = row + number_of(d, w->shape->d_rope, i, part);
				const ptrdiff_t own =
				        (first + g) * d->d_head + number_of(d, d->n_rotary, c->frequency, k);
				const double sign = part < k ? 1 : -1; // of the imaginary part in u^H
				w->down[latent * w->D + own] = part == k ? c->down[2 * g] : sign * c->down[2 * g + 1];
				w->up[own * w->r + latent] = part == k ? c->up[2 * g] : sign * c->up[2 * g + 1];
			}
}

void factor_planes(struct factor_work *w, int space, int n)
{
	const struct attn_dims *d = w->source->dims;
	const int n_frequency = d->n_rotary / 2, n_pair = w->shape->d_rope / 2, first = space * n;
	struct candidate *c = arena_alloc(w->arena, (size_t)(n_frequency * n) * sizeof(*c));
	for (int i = 0; i < n_frequency; i++)
		decompose(w, c + (ptrdiff_t)i * n, i, first, n);
	if (w->shape->n_plane)
		qsort(c, (size_t)(n_frequency * n), sizeof(*c), by_value);
	else // a thinner ladder: those nearest to its steps
		for (int i = 0; i < n_pair; i++)
			c[i] = c[(int)lround((double)i * n_frequency / n_pair)];
	for (int i = 0; i < 2 * n_pair; i++)
		w->gain[space * w->shape->d + i] = c[i / 2].value / 2;
	qsort(c, (size_t)n_pair, sizeof(*c), by_frequency);
	for (int i = 0; i < n_pair; i++) {
		write(w, &c[i], space * w->shape->d, i, first, n);
		if (w->shape->n_plane)
			w->plane[space * n_pair + i] = c[i].frequency - i;
	}
}
