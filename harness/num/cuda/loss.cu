// SPDX-License-Identifier: MIT
// Losses, whose results go to the host: it waits for the device, but while a graph is taken down.
#include <math.h>
#include <string.h>

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"

enum { THREADS = 256 };

// A row of logits a block. What is asked of the row comes first: d may be the row itself.
static __global__ void __launch_bounds__(THREADS) cross_entropy(double *loss, int *hit, float *dlogits,
        const float *logits, const int *targets, int n, double given_scale, const double *played_scale)
{
	const double grad_scale = played_scale ? *played_scale : given_scale;
	__shared__ float part[THREADS / 32];
	__shared__ double sums[THREADS / 32];
	__shared__ int places[THREADS / 32];
	const ptrdiff_t i = blockIdx.x;
	const float *row = logits + i * n;
	float *d = dlogits ? dlogits + i * n : nullptr, most = -INFINITY;
	const int target = targets[i];
	if (target < 0) {
		for (int j = (int)threadIdx.x; d && j < n; j += THREADS)
			d[j] = 0;
		if (threadIdx.x == 0)
			loss[i] = 0, hit[i] = 0;
		return;
	}
	for (int j = (int)threadIdx.x; j < n; j += THREADS)
		most = fmaxf(most, row[j]);
	most = over_block<THREADS, most_of>(most, part);
	double sum = 0;
	int first = n;
	for (int j = (int)threadIdx.x; j < n; j += THREADS) {
		sum += (double)expf(row[j] - most);
		if (row[j] == most && j < first)
			first = j;
	}
	sum = over_block<THREADS, sum_of>(sum, sums);
	first = over_block<THREADS, least_of>(first, places);
	if (threadIdx.x == 0) {
		const double nats = log(sum) - (double)(row[target] - most);
		loss[i] = nats;
		hit[i] = first == target && isfinite(nats); // a NaN anywhere in the row is no hit
	}
	if (!d)
		return;
	__syncthreads(); // row[target] was read
	const float scale = (float)(grad_scale / sum);
	for (int j = (int)threadIdx.x; j < n; j += THREADS)
		d[j] = expf(row[j] - most) * scale - (j == target ? (float)grad_scale : 0);
}

// Into a graph: play_training brings the targets and fetches the results.
static void record(double *loss, int *hit, real *dlogits, const real *logits, int m, int n)
{
	struct graph_targets at;
	memset(loss, 0, (size_t)m * sizeof(*loss));
	memset(hit, 0, (size_t)m * sizeof(*hit));
	if (!cuda_graph_targets(&at, m))
		return;
	LAUNCH(cross_entropy, m, THREADS, 0, cuda.stream, at.loss, at.hit, dlogits, logits, at.target, n, 0.0,
	        at.grad_scale);
	cuda_launched("cross_entropy");
}

void cuda_cross_entropy(const struct exec *exec, double *loss, int *hit, real *dlogits, const real *logits,
        const int *targets, int m, int n, double grad_scale)
{
	if (m < 1)
		return;
	if (cuda.is_recording) {
		record(loss, hit, dlogits, logits, m, n);
		return;
	}
	const struct arena_mark mark = arena_mark(exec->scratch);
	const int *to_targets = cuda_tokens(exec, targets, m);
	double *to_loss = cuda_scratch<double>(exec, m);
	int *to_hit = cuda_scratch<int>(exec, m);
	LAUNCH(cross_entropy, m, THREADS, 0, cuda.stream, to_loss, to_hit, dlogits, logits, to_targets, n, grad_scale,
	        (const double *)NULL);
	cuda_launched("cross_entropy");
	cuda_download(exec, loss, to_loss, (size_t)m * sizeof(*loss));
	cuda_download(exec, hit, to_hit, (size_t)m * sizeof(*hit));
	arena_rewind(exec->scratch, mark);
}
