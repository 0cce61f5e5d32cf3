// SPDX-License-Identifier: MIT
// Rotary positions. A block has one row and a few of its heads: it takes the sines of that row's position in double
// (angles go to a million radians), once for all of them.
#include "harness/num/cuda/cuda.cuh"

enum { THREADS = 128, HEADS = 8 };

// op_rope.c's rope_frequency, which the device cannot call.
static __device__ double frequency_of(const struct rope *r, int i)
{
	const struct rope_scaling *s = &r->scaling;
	const double plain = pow(r->base, -2.0 * i / r->n_ladder);
	if (s->kind == ROPE_SCALING_NONE)
		return plain;
	if (s->kind == ROPE_SCALING_LINEAR)
		return plain / s->factor;
	const double turns = s->original_ctx * plain / 6.283185307179586;
	const double kept = fmin(1.0, fmax(0.0, (turns - s->low) / (s->high - s->low)));
	return kept * plain + (1 - kept) * plain / s->factor;
}

// op_rope.c's rope_plane_frequency.
static __device__ double plane_frequency_of(const struct rope *r, int set, int i)
{
	const int n = r->n_ladder / 2;
	if (!r->plane)
		return frequency_of(r, i);
	const float plane = r->plane[set * (r->n_rotary / 2) + i];
	if (!(plane > -1048576.0F && plane < 1048576.0F))
		return NAN;
	return frequency_of(r, ((i + (int)lround((double)plane)) % n + n) % n);
}

static __device__ __forceinline__ void put(float *at, float x, int accumulate)
{
	*at = accumulate ? *at + x : x;
}

// grid: (rows, groups of heads); all heads of a group are of one set of planes.
static __global__ void __launch_bounds__(THREADS) rope(struct strided_out out, struct strided x, int T, int d,
        const struct rope r, int groups_of_set, const int *shift)
{
	const int pairs = r.n_rotary / 2, heads_of_set = r.n_head / (r.plane ? r.n_plane_set : 1);
	const int set = (int)blockIdx.y / groups_of_set, at = (int)blockIdx.y % groups_of_set * HEADS;
	const int n_head = min((int)HEADS, heads_of_set - at), b = (int)blockIdx.x / T, t = (int)blockIdx.x % T;
	float *cosine = (float *)dynamic_shared(), *sine = cosine + pairs;
	const ptrdiff_t first = (ptrdiff_t)(set * heads_of_set + at) * d;
	const float *from = x.x + b * x.b_stride + t * x.t_stride + first;
	float *to = out.x + b * out.b_stride + t * out.t_stride + first;
	for (int i = (int)threadIdx.x; i < pairs; i += THREADS) {
		const double angle = (r.first + *shift + t) * plane_frequency_of(&r, set, i);
		cosine[i] = (float)cos(angle);
		sine[i] = (float)(r.backwards ? -sin(angle) : sin(angle));
	}
	__syncthreads();
	for (int i = (int)threadIdx.x; i < n_head * pairs; i += THREADS) {
		const int pair = i % pairs, begin = i / pairs * d + r.from;
		const int a = begin + (r.halves ? pair : 2 * pair), apart = r.halves ? pairs : 1;
		const float u = from[a], v = from[a + apart];
		put(to + a, u * cosine[pair] - v * sine[pair], out.accumulate);
		put(to + a + apart, u * sine[pair] + v * cosine[pair], out.accumulate);
	}
	const int kept = d - r.n_rotary;
	for (int i = (int)threadIdx.x; i < n_head * kept; i += THREADS) {
		const int j = i % kept, a = i / kept * d + (j < r.from ? j : j + r.n_rotary);
		put(to + a, from[a], out.accumulate);
	}
}

void cuda_rope(const struct exec *, struct strided_out out, struct strided x, int B, int T, int C, const struct rope *r)
{
	const int n_set = r->plane ? r->n_plane_set : 1, groups_of_set = cuda_blocks(r->n_head / n_set, HEADS);
	if (B * T < 1)
		return;
	LAUNCH(rope, dim3((unsigned)(B * T), (unsigned)(n_set * groups_of_set)), THREADS,
	        (size_t)r->n_rotary * sizeof(float), cuda.stream, out, x, T, C / r->n_head, *r, groups_of_set,
	        cuda.shift);
	cuda_launched("rope");
}
