// SPDX-License-Identifier: MIT
// Multi-query associative recall after Zoology (Arora et al. 2023; the definition alone, this code is ours):
//   k1 v1 ... kP vP  then `length` - 2P places with every key once more; the target at a key's second place is its
//   value.
// Tokens: 0 is filler, keys are 1..n_vocab/2-1, values n_vocab/2..n_vocab-1; keys are distinct in a sequence, and so
// are values. Questions stand at even distances: the key drawn i-th stands at 2P + 2g_i, the gaps g of 0..(length -
// 2P)/2 - 1 drawn one after the other without repeats with weights (g + 1)^(power_a - 1), so that most questions come
// soon after the pairs and some late. All other places are filler: token 0, or (filler: random) uniform on all tokens.
// All questions are scored, nothing else is.
//
// Slices: n_pair_least, twice that, ... n_pair pairs, times lengths length_least, twice that, ... length; combinations
// with 4 pairs > length are left out, and sequence `index` is of slice index % n_slice. A shorter sequence is padded at
// its end with token 0, which is not scored: a causal model answers as if it were not there; one that is not causal
// sees it, always the fixed token, and so sees where the sequence ends.
#include <math.h>
#include <stdio.h>

#include "harness/task/task.h"

enum { MOST_LENGTH = 8192, MOST_VOCAB = 16384, MOST_SLICES = 160 };

struct mqar {
	int n_vocab, n_pair, n_pair_least, length, length_least, filler;
	double power_a;
};

#define FIELD(f) offsetof(struct mqar, f)
static const struct option options[] = {
        {"n_vocab", OPTION_INT, FIELD(n_vocab), "256", 4, MOST_VOCAB, NULL, "tokens: filler, keys, values"},
        {"n_pair", OPTION_INT, FIELD(n_pair), "8", 1, MOST_LENGTH / 4, NULL, "most pairs per sequence"},
        {"n_pair_least", OPTION_INT, FIELD(n_pair_least), "0", 0, MOST_LENGTH / 4, NULL,
                "least pairs, doubling up to n_pair; 0: n_pair alone"},
        {"length", OPTION_INT, FIELD(length), "64", 4, MOST_LENGTH, NULL, "most tokens per sequence"},
        {"length_least", OPTION_INT, FIELD(length_least), "0", 0, MOST_LENGTH, NULL,
                "least tokens, doubling up to length; 0: length alone"},
        {"power_a", OPTION_REAL, FIELD(power_a), "0.01", 0.0001, 10, NULL,
                "exponent of the gaps' power law, plus one: 1 is uniform, less is sooner"},
        {"filler", OPTION_CHOICE, FIELD(filler), "fixed", 0, 0, "fixed|random",
                "what stands between the questions: token 0, or any token"},
        {NULL},
};

struct slice {
	int n_pair, length;
};

// least, twice that, ... up to most: 1 when it arrives there.
static int doubles_to(int least, int most)
{
	while (least < most)
		least *= 2;
	return least == most;
}

static int slices(const struct mqar *c, struct slice table[MOST_SLICES])
{
	const int pair_from = c->n_pair_least ? c->n_pair_least : c->n_pair,
	          length_from = c->length_least ? c->length_least : c->length;
	int n = 0;
	for (int length = length_from; length <= c->length; length *= 2)
		for (int n_pair = pair_from; n_pair <= c->n_pair && 4 * n_pair <= length; n_pair *= 2)
			table[n++] = (struct slice){n_pair, length};
	return n;
}

static int check(const void *config, struct err *err)
{
	const struct mqar *c = config;
	if (c->n_pair_least && !doubles_to(c->n_pair_least, c->n_pair))
		return err_set(err, "n_pair_least %d does not double up to n_pair %d", c->n_pair_least, c->n_pair);
	if (c->length_least && !doubles_to(c->length_least, c->length))
		return err_set(err, "length_least %d does not double up to length %d", c->length_least, c->length);
	if (c->length % 2 || c->length_least % 2)
		return err_set(err, "questions stand at even places: make length and length_least even");
	if (4 * c->n_pair > c->length)
		return err_set(err, "%d pairs and their questions need a length of %d, not %d", c->n_pair,
		        4 * c->n_pair, c->length);
	if (c->n_pair > c->n_vocab / 2 - 1)
		return err_set(err, "%d pairs need as many distinct keys, but n_vocab %d has %d", c->n_pair, c->n_vocab,
		        c->n_vocab / 2 - 1);
	if (c->length_least && c->length_least < 4 * (c->n_pair_least ? c->n_pair_least : c->n_pair))
		return err_set(
		        err, "the least length %d has no room for the least pairs: four tokens each", c->length_least);
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct mqar *c = config;
	struct slice table[MOST_SLICES];
	const int first = 2 * (c->n_pair_least ? c->n_pair_least : c->n_pair);
	return (struct task_shape){.n_vocab = c->n_vocab,
	        .T = c->length,
	        .target_from = first,
	        .n_target = c->length - first,
	        .chance = 1.0 / (c->n_vocab - c->n_vocab / 2),
	        .n_slice = slices(c, table)};
}

// n of the gaps 0..n_gap-1, one after the other in proportion to the weights of those left.
static void draw_gaps(struct rng *rng, int *gap, int n, int n_gap, double power_a)
{
	double weight[MOST_LENGTH / 2], total = 0;
	for (int g = 0; g < n_gap; g++)
		total += weight[g] = pow(g + 1, power_a - 1);
	for (int i = 0; i < n; i++) {
		double left = rng_uniform(rng) * total;
		int g = -1, last = -1; // last: what rounding of the total falls back on
		while (++g < n_gap)
			if (weight[g] > 0) {
				last = g;
				if ((left -= weight[g]) < 0)
					break;
			}
		gap[i] = last;
		total -= weight[last];
		weight[last] = 0;
	}
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct mqar *c = config;
	struct slice table[MOST_SLICES];
	const struct slice s = table[index % (uint64_t)slices(c, table)];
	const int n = s.n_pair, half = c->n_vocab / 2, first = 2 * (c->n_pair_least ? c->n_pair_least : c->n_pair);
	int key[MOST_LENGTH / 4], value[MOST_LENGTH / 4], gap[MOST_LENGTH / 4], scratch[MOST_VOCAB / 2 + 1];
	struct rng rng = rng_make(seed, purpose, index);
	rng_sample(&rng, key, n, half - 1, scratch);
	rng_sample(&rng, value, n, c->n_vocab - half, scratch);
	draw_gaps(&rng, gap, n, (s.length - 2 * n) / 2, c->power_a);
	for (int t = 0; t < c->length; t++)
		tokens[t] = c->filler && t < s.length ? (int)rng_below(&rng, (uint32_t)c->n_vocab) : 0;
	for (int t = 0; t < c->length - first; t++)
		targets[t] = -1;
	for (int i = 0; i < n; i++) {
		const int asked_at = 2 * n + 2 * gap[i];
		tokens[2 * i] = tokens[asked_at] = 1 + key[i];
		tokens[2 * i + 1] = targets[asked_at - first] = half + value[i];
	}
}

static void slice_name(const void *config, int slice, char *text, size_t size)
{
	struct slice table[MOST_SLICES];
	slices(config, table);
	snprintf(text, size, "n_pair=%d length=%d", table[slice].n_pair, table[slice].length);
}

const struct task task_mqar = {
        .name = "mqar",
        .summary =
                "multi-query associative recall (Zoology): every key asked for once more; accuracy by pairs and length",
        .version = 1,
        .config_bytes = sizeof(struct mqar),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
        .slice_name = slice_name,
};
