// SPDX-License-Identifier: MIT
// The update of a step of training: the gradient's norm, and Adam(W). In a graph what differs from step to step lies on
// the device, and so does what the host decides elsewhere (model/optimizer.c): how far the gradient is scaled, and
// whether weights are touched at all.
#include <math.h>

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"

enum { THREADS = 256, SUM_BLOCK = 4096 };

// What a step has in common, as the CPU computes it (num/cpu/train.c).
struct adam_step {
	float b1, b2, keep1, keep2, eps, scale, rate, root, decay;
};

// On the device, for the graph that is played.
static struct played_update {
	struct adam_step step[MOST_ADAMS];
	double clip, squares;
	float scale;
	int is_skipped;
} * played;
static struct graph_update recorded;

static struct adam_step step_of(const struct adam *a)
{
	const double correct1 = 1 - pow(a->beta1, (double)a->step), correct2 = 1 - pow(a->beta2, (double)a->step);
	struct adam_step s = {(float)a->beta1, (float)a->beta2, (float)(1 - a->beta1), (float)(1 - a->beta2),
	        (float)a->eps, (float)a->grad_scale, (float)(a->lr / correct1), (float)(1 / sqrt(correct2)),
	        (float)(1 - a->lr * a->weight_decay)};
	return s;
}

// --- sum of squares
// ---------------------------------------------------------------------------------------------------

static __global__ void __launch_bounds__(THREADS) square_blocks(double *out, const float *x, long n)
{
	__shared__ double part[THREADS / 32];
	const long from = (long)blockIdx.x * SUM_BLOCK, to = min(n, from + SUM_BLOCK);
	double sum = 0;
	for (long i = from + threadIdx.x; i < to; i += THREADS)
		sum += (double)x[i] * x[i];
	sum = over_block<THREADS, sum_of>(sum, part);
	if (threadIdx.x == 0)
		out[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(THREADS) add_blocks(double *out, const double *x, int n)
{
	__shared__ double part[THREADS / 32];
	double sum = 0;
	for (int i = (int)threadIdx.x; i < n; i += THREADS)
		sum += x[i];
	sum = over_block<THREADS, sum_of>(sum, part);
	if (threadIdx.x == 0)
		*out = sum;
}

// Into a graph it goes to the place where the scale is made of it.
double cuda_sum_squares(const struct exec *exec, const real *x, long n)
{
	const int n_block = cuda_blocks(n, SUM_BLOCK);
	double sum = 0;
	if (n < 1 || (recorded.has_norm && cuda_refuse("a second norm")))
		return 0;
	const struct arena_mark mark = arena_mark(exec->scratch);
	double *part = cuda_scratch<double>(exec, n_block);
	double *total = cuda.is_recording ? &played->squares : cuda_scratch<double>(exec, 1);
	LAUNCH(square_blocks, n_block, THREADS, 0, cuda.stream, part, x, n);
	LAUNCH(add_blocks, 1, THREADS, 0, cuda.stream, total, part, n_block);
	cuda_launched("sum_squares");
	if (cuda.is_recording)
		recorded.has_norm = 1;
	else
		cuda_download(exec, &sum, total, sizeof(sum));
	arena_rewind(exec->scratch, mark);
	return sum;
}

// --- Adam
// -------------------------------------------------------------------------------------------------------------

static __global__ void __launch_bounds__(THREADS) adam(float *x, float *m, float *v, const float *dx, long n,
        const struct adam_step given, const struct adam_step *at, const struct played_update *in)
{
	const long i = (long)blockIdx.x * THREADS + threadIdx.x;
	if (i >= n || (in && in->is_skipped))
		return;
	const struct adam_step a = at ? *at : given;
	const float g = dx[i] * (in ? in->scale : a.scale);
	m[i] = a.b1 * m[i] + a.keep1 * g;
	v[i] = a.b2 * v[i] + a.keep2 * g * g;
	x[i] = x[i] * a.decay - a.rate * m[i] / (sqrtf(v[i]) * a.root + a.eps);
}

// What optimizer_step and its caller decide: no update by a loss or a norm that is not finite, none by more than clip.
static __global__ void __launch_bounds__(THREADS)
        judge(struct played_update *u, const double *loss, int n, int has_norm)
{
	__shared__ int part[THREADS / 32];
	int is_bad = 0;
	for (int i = (int)threadIdx.x; i < n; i += THREADS)
		is_bad |= !isfinite(loss[i]);
	is_bad = over_block<THREADS, most_of>(is_bad, part);
	if (threadIdx.x)
		return;
	const double norm = has_norm ? sqrt(u->squares) : 0;
	u->is_skipped = is_bad || !isfinite(norm);
	u->scale = u->clip > 0 && norm > u->clip ? (float)(u->clip / norm) : 1;
}

// Which of the graph's settings it is; -1: there is no room for it.
static int setting_of(const struct adam *a)
{
	for (int i = 0; i < recorded.n_adam; i++) {
		const struct adam *b = &recorded.adam[i];
		if (a->beta1 == b->beta1 && a->beta2 == b->beta2 && a->eps == b->eps &&
		        a->weight_decay == b->weight_decay)
			return i;
	}
	if (recorded.n_adam == MOST_ADAMS)
		return -1;
	recorded.adam[recorded.n_adam] = *a;
	return recorded.n_adam++;
}

// The judgement comes before the first that needs it.
static int record(const struct adam *a)
{
	const int is_first = !recorded.n_adam, setting = setting_of(a);
	const double *loss;
	const int n_loss = cuda_graph_losses(&loss);
	if (setting < 0 && cuda_refuse("so many settings of an optimiser"))
		return 0;
	if (is_first)
		LAUNCH(judge, 1, THREADS, 0, cuda.stream, played, loss, n_loss, recorded.has_norm);
	cuda_launched("judge");
	return setting;
}

void cuda_adam(const struct exec *, real *x, real *m, real *v, const real *dx, long n, const struct adam *a)
{
	if (n < 1)
		return;
	const struct adam_step *at = cuda.is_recording ? &played->step[record(a)] : NULL;
	LAUNCH(adam, cuda_blocks(n, THREADS), THREADS, 0, cuda.stream, x, m, v, dx, n, step_of(a), at,
	        at ? played : NULL);
	cuda_launched("adam");
}

// --- in a graph
// -------------------------------------------------------------------------------------------------------

struct adam_steps {
	struct adam_step step[MOST_ADAMS];
};

static __global__ void write_update(struct played_update *to, const struct adam_steps steps, double clip)
{
	for (int i = 0; i < MOST_ADAMS; i++)
		to->step[i] = steps.step[i];
	to->clip = clip;
	to->squares = 0;
}

int cuda_update_start(struct err *err)
{
	const cudaError_t error = cudaMalloc(&played, sizeof(*played));
	return error == cudaSuccess ? 0 : err_fault(err, "memory of the CUDA device: %s", cudaGetErrorString(error));
}

void cuda_update_begin(void)
{
	recorded = (struct graph_update){};
}

struct graph_update cuda_update_end(void)
{
	const struct graph_update taken = recorded;
	cuda_update_begin();
	return taken;
}

void cuda_update_put(const struct graph_update *update, const struct graph_training *p)
{
	struct adam_steps steps = {};
	if (!update->n_adam)
		return;
	for (int i = 0; i < update->n_adam; i++) {
		struct adam a = update->adam[i];
		a.lr = p->lr, a.step = p->step;
		steps.step[i] = step_of(&a);
	}
	LAUNCH(write_update, 1, 1, 0, cuda.stream, played, steps, p->clip);
	cuda_launched("write_update");
}

double cuda_update_norm(const struct exec *exec, const struct graph_update *update)
{
	double squares = 0;
	if (update->has_norm)
		cuda_download(exec, &squares, &played->squares, sizeof(squares));
	return sqrt(squares);
}
