// SPDX-License-Identifier: MIT
// The attention_backward slot: delta, then dq, dk and dv by the kernel that serves each, then the key bias's gradient.
#include "harness/num/cuda/attention_backward.cuh"
#include "harness/num/cuda/reduce.cuh"

enum { THREADS = 128 };

// delta (B, n_head, T) = sum of dout out. A warp to a number.
static __global__ void make_delta(
        float *delta, struct strided dout, struct strided out, int n_head, int T, int d, long n)
{
	const long at = ((long)blockIdx.x * THREADS + threadIdx.x) / 32;
	if (at >= n)
		return;
	const long b = at / T / n_head, t = at % T, head = at / T % n_head;
	const float *x = dout.x + b * dout.b_stride + t * dout.t_stride + head * d;
	const float *y = out.x + b * out.b_stride + t * out.t_stride + head * d;
	float sum = 0;
	for (int c = (int)threadIdx.x % 32; c < d; c += 32)
		sum += x[c] * y[c];
	sum = over_warp<sum_of>(sum);
	if (threadIdx.x % 32 == 0)
		delta[at] = sum;
}

// to[h * stride + j] += what the sequences (and, with one row for all, the heads) have, in order. from (B, n_head, S)
static __global__ void add_bias(float *to, ptrdiff_t stride, const float *from, int B, int n_head, int S)
{
	const int j = (int)(blockIdx.x * THREADS + threadIdx.x), row = (int)blockIdx.y;
	if (j >= S)
		return;
	float sum = 0;
	for (int b = 0; b < B; b++)
		for (int h = stride ? row : 0; h < (stride ? row + 1 : n_head); h++)
			sum += from[((long)b * n_head + h) * S + j];
	to[row * stride + j] += sum;
}

static void backward(const struct exec *exec, struct strided_out dq, struct strided_out dk, struct strided_out dv,
        struct strided dout, struct strided out, const real *lse, struct strided q, struct strided k, struct strided v,
        const struct attention_shape *s, int is_exact)
{
	const struct arena_mark mark = arena_mark(exec->scratch);
	const long n_state = (long)s->B * s->n_head * s->T;
	float *delta = cuda_scratch<float>(exec, n_state);
	LAUNCH(make_delta, dim3((unsigned)cuda_blocks(n_state, THREADS / 32)), dim3(THREADS), 0, cuda.stream, delta,
	        dout, out, s->n_head, s->T, s->d_v, n_state);
	cuda_launched("attention_backward: delta");
	struct backward_args a = {};
	a.T = s->T, a.S = s->S, a.n_head = s->n_head, a.d_qk = s->d_qk, a.d_v = s->d_v;
	a.causal = s->causal, a.q_position = s->q_position, a.scale = (float)s->scale;
	a.k_group = s->n_head / s->n_k_head, a.v_group = s->n_head / s->n_v_head;
	a.key_bias = s->key_bias, a.key_bias_stride = s->key_bias_stride;
	a.q = q, a.k = k, a.v = v, a.dout = dout, a.lse = lse, a.delta = delta;
	const struct strided_out to[] = {dq, dk, dv};
	for (int i = 0; i < N_GRADIENT; i++) {
		const enum gradient gradient = (enum gradient)i;
		a.to = to[i];
		a.d_bias = gradient == GRADIENT_K && s->key_bias && s->d_key_bias
		                   ? cuda_scratch<float>(exec, (long)s->B * s->n_head * s->S)
		                   : NULL;
		if (!a.to.x && !a.d_bias)
			continue;
		if (is_exact || !backward_tensor_launch(&a, gradient, s->B))
			backward_exact_launch(&a, gradient, s->B);
		if (!a.d_bias)
			continue;
		LAUNCH(add_bias,
		        dim3((unsigned)cuda_blocks(s->S, THREADS), s->key_bias_stride ? (unsigned)s->n_head : 1),
		        dim3(THREADS), 0, cuda.stream, s->d_key_bias, s->key_bias_stride, a.d_bias, s->B, s->n_head,
		        s->S);
		cuda_launched("attention_backward: bias");
	}
	arena_rewind(exec->scratch, mark);
}

void cuda_attention_backward_exact(const struct exec *exec, struct strided_out dq, struct strided_out dk,
        struct strided_out dv, struct strided dout, struct strided out, const real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *s)
{
	backward(exec, dq, dk, dv, dout, out, lse, q, k, v, s, 1);
}

void cuda_attention_backward_rounded(const struct exec *exec, struct strided_out dq, struct strided_out dk,
        struct strided_out dv, struct strided dout, struct strided out, const real *lse, struct strided q,
        struct strided k, struct strided v, const struct attention_shape *s)
{
	backward(exec, dq, dk, dv, dout, out, lse, q, k, v, s, 0);
}
