// SPDX-License-Identifier: MIT
// Needle in filler: key-value pairs hidden at random places of a long filler, one key asked at the end. Our own small
// form of the needle-in-a-haystack test of long contexts (issue 3); no paper's figures belong to it.
//   filler ... k v ... filler ... SEP q       length tokens, the answer is the v after key q, scored at the last
// Tokens: keys 0..n_key-1, values n_key..n_key+n_value-1, SEP, then n_filler filler symbols, each place uniform. Keys
// are distinct in a sequence, values uniform. The places between start and SEP are cut into (length - 2) / 2 slots of
// two; each needle fills a slot of its own. Slices are depths: the asked needle of slice s is uniform in the slots
// s/n_depth to (s+1)/n_depth of the whole, 0 being the start (farthest from the question); the others are uniform in
// the rest.
#include <stdio.h>

#include "harness/task/task.h"

enum { MOST_NEEDLES = 64 };

struct needle {
	int length, n_needle, n_key, n_value, n_filler, n_depth;
};

#define FIELD(f) offsetof(struct needle, f)
static const struct option options[] = {
        {"length", OPTION_INT, FIELD(length), "64", 4, 1 << 20, NULL, "tokens, with SEP and the asked key"},
        {"n_needle", OPTION_INT, FIELD(n_needle), "1", 1, MOST_NEEDLES, NULL, "pairs in the filler, one is asked for"},
        {"n_key", OPTION_INT, FIELD(n_key), "16", 1, 1 << 16, NULL, "distinct keys"},
        {"n_value", OPTION_INT, FIELD(n_value), "16", 2, 1 << 16, NULL, "distinct values"},
        {"n_filler", OPTION_INT, FIELD(n_filler), "16", 1, 1 << 16, NULL, "distinct filler symbols; 1: all the same"},
        {"n_depth", OPTION_INT, FIELD(n_depth), "4", 1, 64, NULL, "equal parts of the length, reported apart"},
        {NULL},
};

static int slots(const struct needle *c)
{
	return (c->length - 2) / 2;
}

static int check(const void *config, struct err *err)
{
	const struct needle *c = config;
	if (c->n_needle > c->n_key)
		return err_set(err, "%d needles need as many distinct keys, but n_key is %d", c->n_needle, c->n_key);
	if (c->n_needle > slots(c))
		return err_set(err, "%d needles do not fit into a length of %d (two tokens each, two for the question)",
		        c->n_needle, c->length);
	if (c->n_depth > slots(c))
		return err_set(err, "a length of %d has no %d depths (at most %d)", c->length, c->n_depth, slots(c));
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct needle *c = config;
	return (struct task_shape){.n_vocab = c->n_key + c->n_value + 1 + c->n_filler,
	        .T = c->length,
	        .target_from = c->length - 1,
	        .n_target = 1,
	        .chance = 1.0 / c->n_value,
	        .n_slice = c->n_depth};
}

// A number below n that is none of the n_taken in `taken`.
static int fresh(struct rng *rng, int n, const int *taken, int n_taken)
{
	for (;;) {
		const int x = (int)rng_below(rng, (uint32_t)n);
		int i = 0;
		while (i < n_taken && taken[i] != x)
			i++;
		if (i == n_taken)
			return x;
	}
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct needle *c = config;
	const int separator = c->n_key + c->n_value, depth = (int)(index % (uint64_t)c->n_depth);
	struct rng rng = rng_make(seed, purpose, index);
	for (int t = 0; t < c->length; t++)
		tokens[t] = separator + 1 + (int)rng_below(&rng, (uint32_t)c->n_filler);
	int slot[MOST_NEEDLES], key[MOST_NEEDLES];
	for (int i = 0; i < c->n_needle; i++) { // the first is asked for
		const long from = (long)depth * slots(c) / c->n_depth, to = (depth + 1L) * slots(c) / c->n_depth;
		slot[i] = i ? fresh(&rng, slots(c), slot, i) : (int)(from + rng_below(&rng, (uint32_t)(to - from)));
		key[i] = fresh(&rng, c->n_key, key, i);
		tokens[2 * slot[i]] = key[i];
		tokens[2 * slot[i] + 1] = c->n_key + (int)rng_below(&rng, (uint32_t)c->n_value);
	}
	tokens[c->length - 2] = separator;
	tokens[c->length - 1] = key[0];
	targets[0] = tokens[2 * slot[0] + 1];
}

static void slice_name(const void *config, int slice, char *text, size_t size)
{
	const struct needle *c = config;
	snprintf(text, size, "depth=%.4g", (double)slice / c->n_depth);
}

const struct task task_needle = {
        .name = "needle",
        .summary = "a key-value pair hidden in filler, asked for at the end; accuracy by depth",
        .version = 1,
        .config_bytes = sizeof(struct needle),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
        .slice_name = slice_name,
};
