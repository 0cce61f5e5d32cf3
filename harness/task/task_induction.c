// SPDX-License-Identifier: MIT
// Induction: what followed an earlier occurrence of a token follows it again. Reference A.3 (length 32, 10 symbols).
// Two forms, of x_0 .. x_{n-1}:
//   last   Tokens are uniform, the last one repeats one of x_0 .. x_{n-3}, each place equally likely; x_{n-2} is
//          uniform on the other symbols. Scored at the last position: the answer is what followed the latest earlier
//          occurrence. It is never the asked symbol itself, so guessing is 1 / (n_symbol - 1).
//   pair   The one of A3's code: a symbol A stands at a place p of the first third and at q, uniform on
//          p + 2 .. n - 2, and nowhere else; B, uniform on all symbols, stands at p + 1 (should B be A, A stands there
//          too). Scored at q + 1: the answer is B. What is read at q + 1 is an unrelated symbol, so the model must
//          look back one place before it can look for A.
#include "harness/task/task.h"

enum form { FORM_LAST, FORM_PAIR };

struct induction {
	int form, length, n_symbol;
};

#define FIELD(f) offsetof(struct induction, f)
static const struct option options[] = {
        {"form", OPTION_CHOICE, FIELD(form), "last", 0, 0, "last|pair",
                "asked by the last token, or (paper A's later version) after a pair's second A"},
        {"length", OPTION_INT, FIELD(length), "32", 6, 1 << 20, NULL, "tokens"},
        {"n_symbol", OPTION_INT, FIELD(n_symbol), "10", 2, 1 << 20, NULL, "distinct tokens"},
        {NULL},
};

static struct task_shape shape(const void *config)
{
	const struct induction *c = config;
	if (c->form == FORM_PAIR) // q + 1 is 3 at least
		return (struct task_shape){.n_vocab = c->n_symbol,
		        .T = c->length,
		        .target_from = 3,
		        .n_target = c->length - 3,
		        .chance = 1.0 / c->n_symbol};
	return (struct task_shape){.n_vocab = c->n_symbol,
	        .T = c->length,
	        .target_from = c->length - 1,
	        .n_target = 1,
	        .chance = 1.0 / (c->n_symbol - 1)};
}

// A symbol other than `not`, uniform.
static int other(struct rng *rng, int n_symbol, int not )
{
	const int symbol = (int)rng_below(rng, (uint32_t)(n_symbol - 1));
	return symbol + (symbol >= not );
}

static void draw_last(const struct induction *c, struct rng *rng, int *x, int *targets)
{
	const int n = c->length;
	for (int i = 0; i < n - 2; i++)
		x[i] = (int)rng_below(rng, (uint32_t)c->n_symbol);
	const int asked = x[rng_below(rng, (uint32_t)(n - 2))];
	x[n - 2] = other(rng, c->n_symbol, asked);
	x[n - 1] = asked;
	int latest = n - 3;
	while (x[latest] != asked)
		latest--;
	targets[0] = x[latest + 1];
}

static void draw_pair(const struct induction *c, struct rng *rng, int *x, int *targets)
{
	const int n = c->length;
	const int a = (int)rng_below(rng, (uint32_t)c->n_symbol), b = (int)rng_below(rng, (uint32_t)c->n_symbol);
	const int p = (int)rng_below(rng, (uint32_t)(n / 3)), q = p + 2 + (int)rng_below(rng, (uint32_t)(n - 3 - p));
	for (int i = 0; i < n; i++)
		x[i] = i == p || i == q ? a : i == p + 1 ? b : other(rng, c->n_symbol, a);
	for (int i = 3; i < n; i++)
		targets[i - 3] = i == q + 1 ? b : -1;
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	const struct induction *c = config;
	struct rng rng = rng_make(seed, purpose, index);
	(c->form == FORM_PAIR ? draw_pair : draw_last)(c, &rng, tokens, targets);
}

const struct task task_induction = {
        .name = "induction",
        .summary = "what followed the earlier occurrence of a token (paper A, later version)",
        .version = 1,
        .config_bytes = sizeof(struct induction),
        .options = options,
        .shape = shape,
        .draw = draw,
};
