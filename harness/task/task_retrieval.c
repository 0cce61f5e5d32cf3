// SPDX-License-Identifier: MIT
// Key-value retrieval: k1 v1 ... kP vP SEP q, answer the value that stood after key q. Paper B, experiment 2
// (reference B.2.2: 16 keys, 16 values, 8 pairs), generalised in the number of keys N, of values and of pairs.
// Tokens: keys 0..n_key-1, values n_key..n_key+n_value-1, then SEP. Keys are distinct within a sequence, values are
// uniform with repeats, q is one of the sequence's keys. Scored at the last position, over the whole vocabulary.
#include "harness/task/task.h"

enum { MOST_KEYS = 4096 };

struct retrieval {
	int n_key, n_value, n_pair;
};

#define FIELD(f) offsetof(struct retrieval, f)
static const struct option options[] = {
        {"n_key", OPTION_INT, FIELD(n_key), "16", 2, MOST_KEYS, NULL, "distinct keys N"},
        {"n_value", OPTION_INT, FIELD(n_value), "16", 2, 1 << 20, NULL, "distinct values"},
        {"n_pair", OPTION_INT, FIELD(n_pair), "0", 0, MOST_KEYS, NULL,
                "pairs per sequence; 0: the smaller of 8 and n_key"},
        {NULL},
};

static int pairs(const struct retrieval *c)
{
	return c->n_pair ? c->n_pair : c->n_key < 8 ? c->n_key : 8;
}

static int check(const void *config, struct err *err)
{
	const struct retrieval *c = config;
	if (c->n_pair > c->n_key)
		return err_set(err, "%d pairs need as many distinct keys, but n_key is %d", c->n_pair, c->n_key);
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct retrieval *c = config;
	const int T = 2 * pairs(c) + 2;
	return (struct task_shape){.n_vocab = c->n_key + c->n_value + 1,
	        .T = T,
	        .target_from = T - 1,
	        .n_target = 1,
	        .chance = 1.0 / c->n_value};
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct retrieval *c = config;
	const int n = pairs(c);
	int key[MOST_KEYS], scratch[MOST_KEYS];
	struct rng rng = rng_make(seed, purpose, index);
	rng_sample(&rng, key, n, c->n_key, scratch);
	for (int i = 0; i < n; i++) {
		tokens[2 * i] = key[i];
		tokens[2 * i + 1] = c->n_key + (int)rng_below(&rng, (uint32_t)c->n_value);
	}
	const int asked = (int)rng_below(&rng, (uint32_t)n);
	tokens[2 * n] = c->n_key + c->n_value;
	tokens[2 * n + 1] = key[asked];
	targets[0] = tokens[2 * asked + 1];
}

const struct task task_retrieval = {
        .name = "retrieval",
        .summary = "the value that stood after the asked key (paper B, experiment 2, any N)",
        .version = 1,
        .config_bytes = sizeof(struct retrieval),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
};
