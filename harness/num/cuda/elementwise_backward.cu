// SPDX-License-Identifier: MIT
// Backward of what touches each number once, and Adam. A thread takes one number.
#include <math.h>

#include "harness/num/cuda/cuda.cuh"

enum { THREADS = 256 };

static __device__ __forceinline__ long index_of_thread()
{
	return (long)blockIdx.x * THREADS + threadIdx.x;
}

static __global__ void __launch_bounds__(THREADS)
        unary_backward(float *dx, const float *dout, const float *slope, long n, int accumulate)
{
	const long i = index_of_thread();
	if (i < n)
		dx[i] = (accumulate ? dx[i] : 0) + dout[i] * slope[i];
}

void cuda_unary_backward(const struct exec *, real *dx, const real *dout, const real *slope, long n, int accumulate)
{
	if (n < 1)
		return;
	LAUNCH(unary_backward, cuda_blocks(n, THREADS), THREADS, 0, cuda.stream, dx, dout, slope, n, accumulate);
	cuda_launched("unary_backward");
}

// With s = sigmoid(gate): d up = dout gate s, d gate = dout up s (1 + gate (1 - s)).
static __global__ void __launch_bounds__(THREADS)
        swiglu_backward(float *dx, const float *dout, const float *x, int m, int n, int accumulate)
{
	const long i = index_of_thread();
	if (i >= (long)m * n)
		return;
	const long at = i / n * 2 * n + i % n;
	const float gate = x[at], up = x[at + n], s = 1 / (1 + expf(-gate)), d = dout[i];
	const float dgate = d * up * s * (1 + gate * (1 - s)), dup = d * gate * s;
	dx[at] = accumulate ? dx[at] + dgate : dgate;
	dx[at + n] = accumulate ? dx[at + n] + dup : dup;
}

void cuda_swiglu_backward(const struct exec *, real *dx, const real *dout, const real *x, int m, int n, int accumulate)
{
	if (m < 1 || n < 1)
		return;
	LAUNCH(swiglu_backward, cuda_blocks((long)m * n, THREADS), THREADS, 0, cuda.stream, dx, dout, x, m, n,
	        accumulate);
	cuda_launched("swiglu_backward");
}

// What the numbers of one step share (cpu_adam's).
struct adam_terms {
	float b1, b2, keep1, keep2, eps, scale, rate, root, decay;
};

static __global__ void __launch_bounds__(THREADS)
        adam(float *x, float *m, float *v, const float *dx, long n, const struct adam_terms a)
{
	const long i = index_of_thread();
	if (i >= n)
		return;
	const float g = dx[i] * a.scale;
	const float mi = a.b1 * m[i] + a.keep1 * g, vi = a.b2 * v[i] + a.keep2 * g * g;
	m[i] = mi;
	v[i] = vi;
	x[i] = x[i] * a.decay - a.rate * mi / (sqrtf(vi) * a.root + a.eps);
}

void cuda_adam(const struct exec *, real *x, real *m, real *v, const real *dx, long n, const struct adam *a)
{
	const double correct1 = 1 - pow(a->beta1, (double)a->step), correct2 = 1 - pow(a->beta2, (double)a->step);
	struct adam_terms terms;
	if (n < 1)
		return;
	terms.b1 = (float)a->beta1, terms.keep1 = (float)(1 - a->beta1);
	terms.b2 = (float)a->beta2, terms.keep2 = (float)(1 - a->beta2);
	terms.eps = (float)a->eps, terms.scale = (float)a->grad_scale;
	terms.rate = (float)(a->lr / correct1), terms.root = (float)(1 / sqrt(correct2));
	terms.decay = (float)(1 - a->lr * a->weight_decay);
	LAUNCH(adam, cuda_blocks(n, THREADS), THREADS, 0, cuda.stream, x, m, v, dx, n, terms);
	cuda_launched("adam");
}
