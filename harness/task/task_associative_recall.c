// SPDX-License-Identifier: MIT
// Associative recall: k1 v1 ... kn vn q, answer the value that stood after key q. The task of paper A's later version
// (reference A.3: 10 symbols, 4 pairs, 2n + 1 tokens). Keys are distinct; values are uniform on the same symbols, with
// repeats, so that a symbol may be key and value at once and only its place tells which: that is what makes it harder
// than `retrieval`, whose keys and values are different tokens. Scored at the last position, over all symbols.
#include "harness/task/task.h"

enum { MOST_SYMBOLS = 4096 };

struct recall {
	int n_symbol, n_pair;
};

#define FIELD(f) offsetof(struct recall, f)
static const struct option options[] = {
        {"n_symbol", OPTION_INT, FIELD(n_symbol), "10", 2, MOST_SYMBOLS, NULL, "distinct tokens"},
        {"n_pair", OPTION_INT, FIELD(n_pair), "4", 1, MOST_SYMBOLS, NULL, "pairs per sequence"},
        {NULL},
};

static int check(const void *config, struct err *err)
{
	const struct recall *c = config;
	if (c->n_pair > c->n_symbol)
		return err_set(err, "%d pairs need as many distinct keys, but n_symbol is %d", c->n_pair, c->n_symbol);
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct recall *c = config;
	return (struct task_shape){.n_vocab = c->n_symbol,
	        .T = 2 * c->n_pair + 1,
	        .target_from = 2 * c->n_pair,
	        .n_target = 1,
	        .chance = 1.0 / c->n_symbol};
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct recall *c = config;
	int key[MOST_SYMBOLS], scratch[MOST_SYMBOLS];
	struct rng rng = rng_make(seed, purpose, index);
	rng_sample(&rng, key, c->n_pair, c->n_symbol, scratch);
	for (int i = 0; i < c->n_pair; i++) {
		tokens[2 * i] = key[i];
		tokens[2 * i + 1] = (int)rng_below(&rng, (uint32_t)c->n_symbol);
	}
	const int asked = (int)rng_below(&rng, (uint32_t)c->n_pair);
	tokens[2 * c->n_pair] = key[asked];
	targets[0] = tokens[2 * asked + 1];
}

const struct task task_associative_recall = {
        .name = "associative_recall",
        .summary = "the value after the asked key, keys and values of the same symbols (paper A, later version)",
        .version = 1,
        .config_bytes = sizeof(struct recall),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
};
