// SPDX-License-Identifier: MIT
// Language modelling over the bytes of a real text: at every position the next byte, n_vocab 256, all positions scored.
// Loss is nats per byte. The text is cut by position into 90 % training, 5 % validation and 5 % test; windows of
// `length` bytes follow each other without overlap inside their part (the last target of one is the first input of the
// next), and what does not fill a window at a part's end is left out. Training goes through the windows in epochs
// (n_train: the first so many), which depend on seed only in their order. Corpora (harness/text/corpus.h):
//   gcide            the GNU version of Webster's dictionary, Debian's dict-gcide
//   tinyshakespeare  the 1.1 MB of papers' small character models (reference D.5), under DATA
#include "harness/task/task.h"
#include "harness/text/corpus.h"

struct text {
	int corpus, length;
};

#define FIELD(f) offsetof(struct text, f)
static const struct option options[] = {
        {"corpus", OPTION_CHOICE, FIELD(corpus), "gcide", 0, 0, CORPUS_CHOICES, "which text"},
        {"length", OPTION_INT, FIELD(length), "128", 1, 1 << 20, NULL, "bytes per window"},
        {NULL},
};

struct part {
	long from, n_window;
};

static struct part part_of(const struct corpus *corpus, const struct text *c, enum rng_purpose purpose)
{
	const long n = corpus->n, validation = n / 20 * 18, test = n / 20 * 19; // twentieths of the bytes
	const long from = purpose == RNG_TRAIN ? 0 : purpose == RNG_VALIDATION ? validation : test;
	const long to = purpose == RNG_TRAIN ? validation : purpose == RNG_VALIDATION ? test : n;
	return (struct part){from, to > from ? (to - from - 1) / c->length : 0};
}

static int check(const void *config, struct err *err)
{
	const struct text *c = config;
	const struct corpus *corpus;
	if (corpus_load(&corpus, (enum corpus_id)c->corpus, err))
		return -1;
	if (!part_of(corpus, c, RNG_VALIDATION).n_window)
		return err_set(err, "5 %% of the %ld bytes of corpus '%s' hold no window of %d: make length smaller",
		        corpus->n, corpus->name, c->length);
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct text *c = config;
	const struct corpus *corpus;
	struct err err = {0};
	struct task_shape shape = {.n_vocab = 256, .T = c->length, .n_target = c->length, .is_partitioned = 1};
	if (corpus_load(&corpus, (enum corpus_id)c->corpus, &err))
		return shape; // check() has refused it: nothing is drawn
	shape.n_train = part_of(corpus, c, RNG_TRAIN).n_window;
	shape.n_validation = part_of(corpus, c, RNG_VALIDATION).n_window;
	shape.n_test = part_of(corpus, c, RNG_TEST).n_window;
	shape.content_hash = corpus->hash;
	shape.chance = corpus->most_common;
	return shape;
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	(void)seed;
	const struct text *c = config;
	const struct corpus *corpus;
	struct err err = {0};
	if (corpus_load(&corpus, (enum corpus_id)c->corpus, &err))
		BUG("%s", err.message);
	const struct part part = part_of(corpus, c, purpose);
	const unsigned char *window = corpus->bytes + part.from + (long)(index % (uint64_t)part.n_window) * c->length;
	for (int t = 0; t < c->length; t++) {
		tokens[t] = window[t];
		targets[t] = window[t + 1];
	}
}

const struct task task_text = {
        .name = "text",
        .summary = "the next byte of a real text",
        .version = 1,
        .config_bytes = sizeof(struct text),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
};
