// SPDX-License-Identifier: MIT
// Vectors of `real` through the compiler's vector extension: the same text serves float and double and any CPU the
// compiler knows. 32 bytes fill an AVX2 register; elsewhere the compiler splits or widens.
#ifndef KVLAB_NUM_CPU_VEC_H
#define KVLAB_NUM_CPU_VEC_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "harness/num/real.h"

enum { VEC = 32 / (int)sizeof(real) }; // numbers per vector

typedef real vec __attribute__((vector_size(32)));
typedef real vec_unaligned __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));
typedef int32_t vec_i32 __attribute__((vector_size(32)));
#ifdef KVLAB_DOUBLE
typedef int64_t vec_mask __attribute__((vector_size(32)));
#else
typedef vec_i32 vec_mask;
#endif

static inline vec vec_load(const real *p)
{
	return *(const vec_unaligned *)p;
}
static inline void vec_store(real *p, vec v)
{
	*(vec_unaligned *)p = v;
}
static inline vec vec_set(real x)
{
	return x - (vec){0};
}
// The first n numbers of p, zeros after them.
static inline vec vec_load_first(const real *p, int n)
{
	vec v = {0};
	memcpy(&v, p, (size_t)n * sizeof(real));
	return v;
}
static inline void vec_store_first(real *p, vec v, int n)
{
	memcpy(p, &v, (size_t)n * sizeof(real));
}
// where is a comparison of two vectors: all ones or all zeros per number.
static inline vec vec_choose(vec_mask where, vec yes, vec no)
{
	return (vec)((where & (vec_mask)yes) | (~where & (vec_mask)no));
}
static inline vec vec_max(vec a, vec b)
{
	return vec_choose(a > b, a, b);
}
static inline vec vec_min(vec a, vec b)
{
	return vec_choose(a < b, a, b);
}
// The first n numbers of v, zeros after them: for a tail whose memory may be read whole.
static inline vec vec_first(vec v, int n)
{
#ifdef KVLAB_DOUBLE
	const vec_mask lane = {0, 1, 2, 3};
#else
	const vec_mask lane = {0, 1, 2, 3, 4, 5, 6, 7};
#endif
	return (vec)((vec_mask)v & (lane < n));
}
// In pairs: a chain as long as the tree is deep, and the same order everywhere.
static inline real vec_sum(vec v)
{
#ifdef KVLAB_DOUBLE
	return (v[0] + v[2]) + (v[1] + v[3]);
#else
	return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
#endif
}
// Transposes the VEC x VEC matrix in v: interleaving the halves log2(VEC) times moves row i, column j to row j, column
// i.
static inline void vec_transpose(vec v[VEC])
{
#ifdef KVLAB_DOUBLE
	const vec_mask low = {0, 4, 1, 5}, high = {2, 6, 3, 7};
#else
	const vec_mask low = {0, 8, 1, 9, 2, 10, 3, 11}, high = {4, 12, 5, 13, 6, 14, 7, 15};
#endif
	for (int stage = 1; stage < VEC; stage *= 2) {
		vec w[VEC];
		for (int i = 0; i < VEC / 2; i++) {
			w[2 * i] = __builtin_shuffle(v[i], v[i + VEC / 2], low);
			w[2 * i + 1] = __builtin_shuffle(v[i], v[i + VEC / 2], high);
		}
		memcpy(v, w, sizeof(w));
	}
}
static inline real vec_most(vec v)
{
	real most = v[0];
	for (int i = 1; i < VEC; i++)
		most = v[i] > most ? v[i] : most;
	return most;
}

// e^x. Float: range reduction to |r| <= ln2/2 and a degree 6 polynomial, error below 2 ulp; below -87.3 the result is
// the smallest normal number's neighbourhood, not exactly 0. Double (gradient checks): the library's.
static inline vec vec_exp(vec x)
{
#ifdef KVLAB_DOUBLE
	for (int i = 0; i < VEC; i++)
		x[i] = exp(x[i]);
	return x;
#else
	const vec asked = x;
	x = vec_max(vec_min(x, vec_set(88.0f)), vec_set(-87.3f));
	const float round_bias = 12582912.0f; // 1.5 * 2^23: adding it rounds to a whole number, kept in the low bits
	vec shifted = x * 1.44269504f + round_bias;
	vec n = shifted - round_bias;
	vec r = x - n * 0.693359375f;
	r = r + n * 2.12194440e-4f;
	vec p = r * 1.3981999507e-3f + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * r * r + r + 1.0f;
	vec_i32 bits, exponent;
	memcpy(&bits, &p, sizeof(bits));
	memcpy(&exponent, &shifted, sizeof(exponent));
	bits += exponent << 23; // the bias's own low bits are zero after the shift
	memcpy(&p, &bits, sizeof(p));
	return vec_choose(asked == asked, p, asked); // NaN stays NaN: it must reach the loss
#endif
}

// Standard normal distribution Phi(x) and density phi(x) at once. Float: Abramowitz and Stegun 7.1.26, absolute error
// below 1e-7. Double: the library's.
static inline vec vec_normal_cdf(vec x, vec *density)
{
#ifdef KVLAB_DOUBLE
	vec cdf;
	for (int i = 0; i < VEC; i++) {
		cdf[i] = 0.5 * erfc(-x[i] * 0.70710678118654752440);
		(*density)[i] = 0.39894228040143267794 * exp(-0.5 * x[i] * x[i]);
	}
	return cdf;
#else
	vec e = vec_exp(x * x * -0.5f);
	vec z = vec_max(x, -x) * 0.70710678f;
	vec t = 1.0f / (1.0f + z * 0.3275911f);
	vec p = t * 1.061405429f - 1.453152027f;
	p = p * t + 1.421413741f;
	p = p * t - 0.284496736f;
	p = p * t + 0.254829592f;
	vec tail = p * t * e * 0.5f; // Phi(-|x|)
	*density = e * 0.39894228f;
	return vec_choose(x > vec_set(0), 1.0f - tail, tail);
#endif
}

#endif
