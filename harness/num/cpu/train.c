// SPDX-License-Identifier: MIT
// The two ends of a training step: the loss on the logits, and the optimiser's update.
#include "harness/num/cpu/cpu.h"
#include "harness/num/cpu/vec.h"

// A NaN in front stays; one further on is passed over here and reaches the loss through the sum.
static real row_most(const real *x, int n)
{
	vec most = vec_set(x[0]);
	int j = 0;
	for (; j + VEC <= n; j += VEC)
		most = vec_max(vec_load(x + j), most);
	real found = vec_most(most);
	for (; j < n; j++)
		found = x[j] > found ? x[j] : found;
	return found;
}

static int is_first_of_most(const real *x, int at, real most)
{
	int j = 0;
	while (j < at && x[j] != most)
		j++;
	return j == at && x[at] == most;
}

// exp(row - most) to e, unless NULL; their sum, one chain.
static double exponentials(real *e, const real *row, int n, real most)
{
	double sum = 0;
	for (int j = 0; j < n; j += VEC) {
		int c = cpu_min(VEC, n - j);
		vec part = vec_exp(vec_load_first(row + j, c) - most);
		for (int l = 0; l < c; l++)
			sum += (double)part[l];
		if (e)
			vec_store_first(e + j, part, c);
	}
	return sum;
}

void cpu_cross_entropy(const struct exec *exec, double *loss, int *hit, real *dlogits, const real *logits,
        const int *targets, int m, int n, double grad_scale)
{
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && (long)m * n > 16384) schedule(static)
	for (int i = 0; i < m; i++) {
		const real *row = logits + (ptrdiff_t)i * n;
		real *d = dlogits ? dlogits + (ptrdiff_t)i * n : NULL;
		const int target = targets[i];
		if (target < 0) {
			loss[i] = 0;
			hit[i] = 0;
			if (d)
				memset(d, 0, (size_t)n * sizeof(real));
			continue;
		}
		// What is asked of the row comes first: d may be the row itself.
		const real most = row_most(row, n), behind = row[target] - most;
		const int is_hit = is_first_of_most(row, target, most);
		const double sum = exponentials(d, row, n, most);
		loss[i] = log(sum) - (double)behind;
		hit[i] = is_hit && isfinite(loss[i]); // a NaN anywhere in the row is no hit
		if (!d)
			continue;
		const real scale = (real)(grad_scale / sum);
		for (int j = 0; j < n; j++)
			d[j] *= scale;
		d[target] -= (real)grad_scale;
	}
}

void cpu_adam(const struct exec *exec, real *x, real *m, real *v, const real *dx, long n, const struct adam *a)
{
	// PyTorch's form: x -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps), decay on x itself first
	// (AdamW).
	const double correct1 = 1 - pow(a->beta1, (double)a->step), correct2 = 1 - pow(a->beta2, (double)a->step);
	const real b1 = (real)a->beta1, b2 = (real)a->beta2, eps = (real)a->eps, scale = (real)a->grad_scale;
	const real keep1 = (real)(1 - a->beta1), keep2 = (real)(1 - a->beta2);
	const real rate = (real)(a->lr / correct1), root = (real)(1 / sqrt(correct2));
	const real decay = (real)(1 - a->lr * a->weight_decay);
#pragma omp parallel for num_threads(exec->n_thread) if (exec->n_thread > 1 && n > 16384) schedule(static)
	for (long i = 0; i < n; i++) {
		real g = dx[i] * scale;
		m[i] = b1 * m[i] + keep1 * g;
		v[i] = b2 * v[i] + keep2 * g * g;
#ifdef KVLAB_DOUBLE
		x[i] = x[i] * decay - rate * m[i] / (sqrt(v[i]) * root + eps);
#else
		x[i] = x[i] * decay - rate * m[i] / (sqrtf(v[i]) * root + eps);
#endif
	}
}
