// SPDX-License-Identifier: MIT
// Copy-back: y_t = x_{t - lag}. Paper B, experiment 1 (reference B.2.1): `lag` uniform symbols repeated to `length`;
// inputs are tokens 0..length-2, targets tokens 1..length-1, scored on inputs lag-1..length-2, where the answer is
// known. The target of input i is token i + 1 = token i + 1 - lag: pure positional selection.
#include "harness/task/task.h"

struct copy_back {
	int length, n_symbol, lag;
};

#define FIELD(f) offsetof(struct copy_back, f)
static const struct option options[] = {
        {"length", OPTION_INT, FIELD(length), "64", 2, 1 << 20, NULL,
                "tokens of the repeated sequence (inputs: one less)"},
        {"n_symbol", OPTION_INT, FIELD(n_symbol), "16", 2, 1 << 20, NULL, "distinct tokens"},
        {"lag", OPTION_INT, FIELD(lag), "8", 1, 1 << 20, NULL, "period of the repetition"},
        {NULL},
};

static int check(const void *config, struct err *err)
{
	const struct copy_back *c = config;
	if (c->lag >= c->length)
		return err_set(err, "lag %d leaves nothing to copy in a length of %d", c->lag, c->length);
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct copy_back *c = config;
	return (struct task_shape){.n_vocab = c->n_symbol,
	        .T = c->length - 1,
	        .target_from = c->lag - 1,
	        .n_target = c->length - c->lag,
	        .chance = 1.0 / c->n_symbol};
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct copy_back *c = config;
	struct rng rng = rng_make(seed, purpose, index);
	for (int t = 0; t < c->length - 1; t++)
		tokens[t] = t < c->lag ? (int)rng_below(&rng, (uint32_t)c->n_symbol) : tokens[t - c->lag];
	for (int i = 0; i < c->length - c->lag; i++)
		targets[i] = tokens[i];
}

const struct task task_copy_back = {
        .name = "copy_back",
        .summary = "repeat the symbol of `lag` steps ago (paper B, experiment 1)",
        .version = 1,
        .config_bytes = sizeof(struct copy_back),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
};
