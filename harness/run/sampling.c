// SPDX-License-Identifier: MIT
#include "harness/run/sampling.h"

#include <math.h>
#include <stdlib.h>

#include "harness/base/rng.h"

struct candidate {
	double weight; // e^((logit - most) / temperature)
	int id;
};

static int most_likely(const real *logits, int n)
{
	int best = 0;
	for (int j = 1; j < n; j++)
		best = logits[j] > logits[best] ? j : best;
	return best;
}

// The likelier first, of equals the lower id.
static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->weight != y->weight)
		return x->weight < y->weight ? 1 : -1;
	return (x->id > y->id) - (x->id < y->id);
}

// How many of n sorted candidates have together the share p: at least one. *sum: their weights.
static int nucleus(double *sum, const struct candidate *c, int n, double p)
{
	double all = 0;
	for (int i = 0; i < n; i++)
		all += c[i].weight;
	*sum = 0;
	for (int i = 0; i < n; i++) {
		*sum += c[i].weight;
		if (*sum >= p * all)
			return i + 1;
	}
	return n;
}

int sampling_pick(const struct sampling *s, const real *logits, int n, uint64_t index, struct arena *scratch)
{
	const int best = most_likely(logits, n);
	if (s->temperature == 0)
		return best;
	const struct arena_mark mark = arena_mark(scratch);
	struct candidate *c = arena_alloc(scratch, (size_t)n * sizeof(*c));
	for (int j = 0; j < n; j++)
		c[j] = (struct candidate){exp(((double)logits[j] - (double)logits[best]) / s->temperature), j};
	qsort(c, (size_t)n, sizeof(*c), compare);
	double sum;
	const int n_left = nucleus(&sum, c, s->top_k && s->top_k < n ? s->top_k : n, s->top_p);
	struct rng rng = rng_make(s->seed, RNG_GENERATE, index);
	double left = rng_uniform(&rng) * sum;
	int i = 0;
	for (; i < n_left - 1 && left >= c[i].weight; i++)
		left -= c[i].weight;
	const int id = c[i].id;
	arena_rewind(scratch, mark);
	return id;
}
