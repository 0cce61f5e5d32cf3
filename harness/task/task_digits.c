// SPDX-License-Identifier: MIT
// A list of digits mapped to a list as long. Papers C and D (reference C.2, D.2): n symbols uniform on 0..9, one target
// per position, token accuracy over all positions. Target i of x_0 .. x_{n-1}:
//   reverse  x_{n-1-i}                     pure positional selection, by a distance that changes with i
//   sort     the i-th smallest             content of all positions, place of none
//   sub      9 - x_i                       no attention needed
//   swap     x_{(i + n/2) mod n}           second half, then first half: positional, by a fixed distance; n even
//   copy     x_i                           no attention needed
// Meant for encoders (causal: false); a causal model cannot know the early answers of reverse, sort and swap.
#include "harness/task/task.h"

enum map { MAP_REVERSE, MAP_SORT, MAP_SUB, MAP_SWAP, MAP_COPY };
enum { MOST_SYMBOLS = 1024 };

struct digits {
	int map, length, n_symbol;
};

#define FIELD(f) offsetof(struct digits, f)
static const struct option options[] = {
        {"map", OPTION_CHOICE, FIELD(map), "reverse", 0, 0, "reverse|sort|sub|swap|copy",
                "what becomes of the list (papers C and D)"},
        {"length", OPTION_INT, FIELD(length), "64", 2, 1 << 20, NULL, "digits in a list"},
        {"n_symbol", OPTION_INT, FIELD(n_symbol), "10", 2, MOST_SYMBOLS, NULL, "distinct digits"},
        {NULL},
};

static int check(const void *config, struct err *err)
{
	const struct digits *c = config;
	if (c->map == MAP_SWAP && c->length % 2)
		return err_set(err, "map: swap needs halves: an even length, not %d", c->length);
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct digits *c = config;
	return (struct task_shape){
	        .n_vocab = c->n_symbol, .T = c->length, .n_target = c->length, .chance = 1.0 / c->n_symbol};
}

static void sort(int *out, const int *x, const struct digits *c)
{
	int count[MOST_SYMBOLS] = {0};
	for (int i = 0; i < c->length; i++)
		count[x[i]]++;
	for (int symbol = 0, at = 0; symbol < c->n_symbol; symbol++)
		while (count[symbol]-- > 0)
			out[at++] = symbol;
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct digits *c = config;
	const int n = c->length;
	struct rng rng = rng_make(seed, purpose, index);
	for (int i = 0; i < n; i++)
		tokens[i] = (int)rng_below(&rng, (uint32_t)c->n_symbol);
	if (c->map == MAP_SORT) {
		sort(targets, tokens, c);
		return;
	}
	for (int i = 0; i < n; i++) {
		const int of[] = {[MAP_REVERSE] = tokens[n - 1 - i],
		        [MAP_SUB] = c->n_symbol - 1 - tokens[i],
		        [MAP_SWAP] = tokens[(i + n / 2) % n],
		        [MAP_COPY] = tokens[i]};
		targets[i] = of[c->map];
	}
}

const struct task task_digits = {
        .name = "digits",
        .summary = "reverse, sort, subtract, swap or copy a list of digits (papers C and D)",
        .version = 1,
        .config_bytes = sizeof(struct digits),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
};
