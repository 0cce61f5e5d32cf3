// SPDX-License-Identifier: MIT
// Language modelling over a real text: at every position the next token, all positions scored; loss is nats per token.
// Corpora are listed in harness/text/corpus.h, kinds of tokens and how a corpus is cut into parts in
// harness/text/tokens.h. Bytes and characters come as they stand; n_vocab follows from what is there.
//
// documents: packed. Windows of `length` tokens follow each other without overlap inside their part (the last target of
// one is the first input of the next), across the ends of documents; what does not fill a window at a part's end is
// left out. Training goes through the windows in epochs (n_train: the first so many, which is also how a subset of so
// many tokens is taken), which depend on seed only in their order.
//
// documents: padded. A sequence is one document, cut to `length` inputs, padded with the end token, and the padding
// counts in the loss: the way of paper C's code, whose perplexities cannot be compared with others' (reference C.4).
// Training draws such sequences alone. Validation and test have two slices, documents=padded and documents=packed
// (windows of the same part), so that both perplexities are told; each is spread evenly over its part, as many of the
// one as of the other. `chance` is that of padded sequences.
//
// tinyshakespeare as paper D takes it (tokens: characters, D.5): its first 90 % are for training and the last 10 % for
// validation, and there is no test part. Here that last tenth is halved into validation and test: D's validation loss
// compares with the mean of both.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/task/task.h"
#include "harness/text/tokens.h"

enum documents { PACKED, PADDED };

struct text_task {
	int corpus, length, tokens, min_count, n_vocab_most, documents;
	char path[PATH_TEXT], tokenizer[PATH_TEXT];
};

#define FIELD(f) offsetof(struct text_task, f)
static const struct option options[] = {
        {"corpus", OPTION_CHOICE, FIELD(corpus), "gcide", 0, 0, CORPUS_CHOICES, "which text"},
        {"length", OPTION_INT, FIELD(length), "128", 1, 1 << 20, NULL, "tokens per window"},
        {"path", OPTION_TEXT, FIELD(path), "", 0, PATH_TEXT, NULL,
                "corpus: file: a text, a folder of texts, a token file, or a folder with NAME_train.bin and "
                "NAME_val.bin",
                1},
        {"tokens", OPTION_CHOICE, FIELD(tokens), "bytes", 0, 0, TOKEN_CHOICES, "what the text is cut into", 1},
        {"tokenizer", OPTION_TEXT, FIELD(tokenizer), "", 0, PATH_TEXT, NULL,
                "bpe: folder or file of a tokenizer (itself, or below DATA)", 1},
        {"min_count", OPTION_INT, FIELD(min_count), "2", 1, INT32_MAX, NULL,
                "words: those that the training part has less often are <unk>", 1},
        {"n_vocab_most", OPTION_INT, FIELD(n_vocab_most), "0", 0, INT32_MAX, NULL,
                "words: only so many, with <unk> and <eos>; 0: no limit", 1},
        {"documents", OPTION_CHOICE, FIELD(documents), "packed", 0, 0, "packed|padded",
                "windows across documents, or each document cut and padded to a window", 1},
        {NULL},
};

// What a setting comes to: found once for each.
struct plan {
	struct text_task config;
	const struct tokens *tokens;
	struct task_shape shape;
	struct plan *next;
};
static struct plan *plans;

static const struct plan *plan_of(const struct text_task *config)
{
	const struct plan *plan = plans;
	while (plan && memcmp(&plan->config, config, sizeof(*config)))
		plan = plan->next;
	return plan;
}

static size_t n_window(const struct token_part *part, const struct text_task *c)
{
	return part->n ? (part->n - 1) / (size_t)c->length : 0;
}

// Sequences that are evaluated in each slice of a part.
static size_t n_in_slice(const struct token_part *part, const struct text_task *c)
{
	const size_t n = n_window(part, c);
	return n < part->n_document ? n : part->n_document;
}

static long n_sequence(const struct tokens *tokens, enum token_part_id id, const struct text_task *c)
{
	const struct token_part *part = &tokens->part[id];
	if (c->documents == PACKED)
		return (long)n_window(part, c);
	return (long)(id == PART_TRAIN ? part->n_document : 2 * n_in_slice(part, c));
}

// The share of the most common target.
static double chance_padded(const struct tokens *tokens, const struct text_task *c, int n_vocab)
{
	long *count = calloc((size_t)n_vocab, sizeof(*count)), most = 0, n = 0;
	const size_t length = (size_t)c->length;
	if (!count)
		die_no_memory((size_t)n_vocab * sizeof(*count));
	for (int p = 0; p < N_TOKEN_PART; p++)
		for (size_t d = 0; d < tokens->part[p].n_document; d++) {
			const struct document *document = &tokens->part[p].document[d];
			const size_t there = document->to - document->from - 1, used = there < length ? there : length;
			for (size_t t = 0; t < used; t++)
				count[tokens_at(tokens, &tokens->part[p], document->from + 1 + t)]++;
			count[tokens->end] += (long)(length - used);
			n += (long)length;
		}
	for (int i = 0; i < n_vocab; i++)
		most = count[i] > most ? count[i] : most;
	free(count);
	return n ? (double)most / (double)n : 0;
}

static int check_parts(const struct tokens *tokens, const struct text_task *c, struct err *err)
{
	static const char *const name[N_TOKEN_PART] = {"training", "validation", "test"};
	if (c->documents == PADDED && tokens->end < 0)
		return err_set(err, "documents: the tokenizer '%s' names no end token to pad with: leave them packed",
		        c->tokenizer);
	for (int p = 0; p < N_TOKEN_PART; p++) {
		const struct token_part *part = &tokens->part[p];
		if (!n_window(part, c))
			return err_set(err,
			        "length: the %s part of corpus '%s', %zu tokens, holds no window of %d: make length "
			        "smaller",
			        name[p], tokens->name, part->n, c->length);
		if (c->documents == PADDED && !part->n_document)
			return err_set(err,
			        "documents: the %s part of corpus '%s' holds no whole document: leave them packed",
			        name[p], tokens->name);
	}
	return 0;
}

static int check(const void *config, struct err *err)
{
	const struct text_task *c = config;
	const int is_words = c->tokens == TOKENS_WORDS, is_bpe = c->tokens == TOKENS_BPE;
	const struct tokens_setting setting = {(enum corpus_id)c->corpus, (enum token_kind)c->tokens,
	        is_words ? c->min_count : 0, is_words ? c->n_vocab_most : 0, c->documents == PADDED, c->path,
	        is_bpe ? c->tokenizer : ""};
	const struct tokens *tokens;
	if (plan_of(c))
		return 0;
	if (is_words && c->n_vocab_most && c->n_vocab_most < 3)
		return err_set(
		        err, "n_vocab_most: %d leaves no word beside <unk> and <eos> (0: no limit)", c->n_vocab_most);
	if (tokens_load(&tokens, &setting, err) || check_parts(tokens, c, err))
		return -1;
	struct plan *plan = malloc(sizeof(*plan));
	if (!plan)
		die_no_memory(sizeof(*plan));
	*plan = (struct plan){.config = *c, .tokens = tokens, .next = plans};
	plan->shape = (struct task_shape){.n_vocab = tokens->n_vocab,
	        .T = c->length,
	        .n_target = c->length,
	        .is_partitioned = 1,
	        .chance = tokens->most_common,
	        .n_train = n_sequence(tokens, PART_TRAIN, c),
	        .n_validation = n_sequence(tokens, PART_VALIDATION, c),
	        .n_test = n_sequence(tokens, PART_TEST, c),
	        .content_hash = tokens->hash};
	if (c->documents == PADDED) {
		plan->shape.n_slice = 2;
		if (tokens->end >= tokens->n_vocab)
			plan->shape.n_vocab = tokens->end + 1;
		plan->shape.chance = chance_padded(tokens, c, plan->shape.n_vocab);
	}
	plans = plan;
	return 0;
}

static struct task_shape shape(const void *config)
{
	const struct text_task *c = config;
	struct err err = {0};
	if (check(c, &err)) // it has refused the setting before: nothing is drawn
		return (struct task_shape){.n_vocab = 256, .T = c->length, .n_target = c->length, .is_partitioned = 1};
	return plan_of(c)->shape;
}

static void draw_window(
        const struct plan *plan, const struct token_part *part, size_t number, int *tokens, int *targets)
{
	const size_t from = number * (size_t)plan->config.length;
	for (int t = 0; t < plan->config.length; t++) {
		tokens[t] = tokens_at(plan->tokens, part, from + (size_t)t);
		targets[t] = tokens_at(plan->tokens, part, from + (size_t)t + 1);
	}
}

static void draw_document(
        const struct plan *plan, const struct token_part *part, size_t number, int *tokens, int *targets)
{
	const struct document *document = &part->document[number];
	const size_t n = document->to - document->from;
	for (size_t t = 0; t <= (size_t)plan->config.length; t++) {
		const int token = t < n ? tokens_at(plan->tokens, part, document->from + t) : plan->tokens->end;
		if (t < (size_t)plan->config.length)
			tokens[t] = token;
		if (t)
			targets[t - 1] = token;
	}
}

static void draw(const void *config, uint64_t seed, enum rng_purpose purpose, uint64_t index, int *tokens, int *targets)
{
	(void)seed;
	const struct text_task *c = config;
	const struct plan *plan = plan_of(c);
	if (!plan)
		BUG("sequences are drawn of a text that check() has not seen");
	const struct token_part *part = &plan->tokens->part[purpose == RNG_TRAIN        ? PART_TRAIN
	                                                    : purpose == RNG_VALIDATION ? PART_VALIDATION
	                                                                                : PART_TEST];
	if (c->documents == PACKED) {
		draw_window(plan, part, index % n_window(part, c), tokens, targets);
	} else if (purpose == RNG_TRAIN) {
		draw_document(plan, part, index % part->n_document, tokens, targets);
	} else {
		const size_t n = n_in_slice(part, c), k = index / 2 % n;
		if (index % 2 == PADDED)
			draw_document(plan, part, k * part->n_document / n, tokens, targets);
		else
			draw_window(plan, part, k * n_window(part, c) / n, tokens, targets);
	}
}

static void slice_name(const void *config, int slice, char *text, size_t size)
{
	(void)config;
	snprintf(text, size, "documents=%s", slice == PADDED ? "padded" : "packed");
}

const struct task task_text = {
        .name = "text",
        .summary = "the next token of a real text",
        .version = 1,
        .config_bytes = sizeof(struct text_task),
        .options = options,
        .check = check,
        .shape = shape,
        .draw = draw,
        .slice_name = slice_name,
};
