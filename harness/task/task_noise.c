// SPDX-License-Identifier: MIT
// Noise: uniform tokens, the next one asked for at every position. There is nothing to learn, so it is the floor of
// what a measurement can show, and it gives a vocabulary and a length to what only counts (procedure count).
#include "harness/task/task.h"

struct noise {
	int n_vocab, length;
};

#define FIELD(f) offsetof(struct noise, f)
static const struct option options[] = {
        {"n_vocab", OPTION_INT, FIELD(n_vocab), "256", 2, 1 << 24, NULL, "distinct tokens"},
        {"length", OPTION_INT, FIELD(length), "64", 1, 1 << 20, NULL, "tokens per sequence"},
        {NULL},
};

static struct task_shape shape(const void *config)
{
	const struct noise *c = config;
	return (struct task_shape){
	        .n_vocab = c->n_vocab,
	        .T = c->length,
	        .target_from = 0,
	        .n_target = c->length,
	        .chance = 1.0 / c->n_vocab,
	};
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct noise *c = config;
	struct rng rng = rng_make(seed, purpose, index);
	tokens[0] = (int)rng_below(&rng, (uint32_t)c->n_vocab);
	for (int t = 0; t < c->length; t++) {
		targets[t] = (int)rng_below(&rng, (uint32_t)c->n_vocab);
		if (t + 1 < c->length)
			tokens[t + 1] = targets[t];
	}
}

const struct task task_noise = {
        .name = "noise",
        .summary = "uniform tokens: nothing to learn; a shape for what only counts",
        .version = 1,
        .config_bytes = sizeof(struct noise),
        .options = options,
        .shape = shape,
        .draw = draw,
};
