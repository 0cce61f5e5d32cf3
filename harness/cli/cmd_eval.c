// SPDX-License-Identifier: MIT
// kvlab eval: how well a model predicts a text, and how far it is from a reference model.
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/json.h"
#include "harness/base/number.h"
#include "harness/base/progress.h"
#include "harness/cli/subject.h"
#include "harness/run/perplexity.h"
#include "harness/text/encode.h"
#include "harness/text/tokens.h"

extern const struct command command_eval;

static const struct cli_option options[] = {
        {"context", CLI_INT, "N", "tokens of a window (default: the model's positions, 1024 at most)"},
        {"stride", CLI_INT, "N", "tokens from window to window, of which the last N are scored (default: context)"},
        {"reference", CLI_TEXT, "MODEL", "a model of the same vocabulary, to say how far from it this one is"},
        {"batch", CLI_INT, "N", "windows at a time (default: by their size); no result changes"},
        {"tokens", CLI_INT, "N", "only the first N tokens of the text"},
        {"json", CLI_FLAG, NULL, "print one JSON object"},
        SUBJECT_OPTIONS,
        {0},
};

enum { CONTEXT_MOST = 1024 };

struct given_text {
	const char *name;
	struct token_ids ids;
	size_t n_byte;   // that the ids decode to
	size_t n_prefix; // ids before them that the tokenizer puts before any text
};

// A corpus by name: its test part.
static int read_corpus(struct given_text *text, enum corpus_id id, const struct subject *s, struct err *err)
{
	const struct tokens_setting setting = {
	        .corpus = id, .kind = TOKENS_BPE, .path = "", .tokenizer = s->tokenizer_path};
	struct tokens tokens;
	if (tokens_open(&tokens, &setting, err))
		return -1;
	const struct token_part *part = &tokens.part[PART_TEST];
	token_ids_reserve(&text->ids, part->n);
	for (size_t i = 0; i < part->n; i++)
		token_ids_push(&text->ids, tokens_at(&tokens, part, i));
	tokens_close(&tokens);
	return 0;
}

// What the tokenizer puts before every text (Llama's <|begin_of_text|>), then the text. A name is a corpus, anything
// else a path.
static int read_text(struct given_text *text, const struct subject *s, int n_most, struct err *err)
{
	static const struct option corpora[] = {{"corpus", OPTION_CHOICE, 0, "file", 0, 0, CORPUS_CHOICES, ""}, {NULL}};
	struct err no_name = {0};
	int corpus;
	struct encoder *encoder = encoder_new(s->tokenizer);
	int rc = encoder_run(encoder, "", 0, ENCODE_TEMPLATE, &text->ids, err);
	encoder_free(encoder);
	text->n_prefix = text->ids.n;
	if (!rc && option_set(corpora, &corpus, "corpus", text->name, &no_name) == 0 && corpus != CORPUS_FILE)
		rc = read_corpus(text, (enum corpus_id)corpus, s, err);
	else if (!rc)
		rc = encode_path(&text->ids, text->name, s->tokenizer, err);
	if (rc)
		return -1;
	text->ids.n = text->ids.n < (size_t)n_most ? text->ids.n : (size_t)n_most;
	char *bytes;
	rc = tokenizer_decode(s->tokenizer, text->ids.id, text->ids.n, DECODE_NO_SPECIAL, &bytes, &text->n_byte, err);
	free(rc ? NULL : bytes);
	return rc;
}

// --- what is printed -----------------------------------------------------------------------------------------------

static void print_member(const char *name, double value)
{
	char text[NUMBER_TEXT] = "null"; // NaN and infinity are no JSON
	if (isfinite(value))
		number_print(text, value);
	printf(", \"%s\": %s", name, text);
}

static void print_text_member(const char *name, const char *value)
{
	printf(", \"%s\": ", name);
	json_print_text(stdout, value, strlen(value));
}

static void print_json(const struct perplexity *r, const struct perplexity_config *config,
        const struct given_text *text, const struct cli_args *args)
{
	printf("{\"model\": ");
	json_print_text(stdout, args->positional[0], strlen(args->positional[0]));
	print_text_member("text", text->name);
	print_member("context", config->context);
	print_member("stride", config->stride);
	print_text_member("k_dtype", dtype_name[config->cache->k_dtype]);
	print_text_member("v_dtype", dtype_name[config->cache->v_dtype]);
	print_member("n_byte", (double)text->n_byte);
	print_member("n_text_token", (double)text->ids.n);
	print_member("n_token", (double)r->n_token);
	print_member("n_window", (double)r->n_window);
	print_member("n_block", (double)r->n_block);
	print_member("loss", r->loss.mean);
	print_member("loss_error", r->loss.standard_error);
	print_member("perplexity", r->perplexity.mean);
	print_member("perplexity_error", r->perplexity.standard_error);
	print_member("bits_per_byte", r->bits_per_byte);
	print_member("accuracy", r->accuracy);
	if (config->reference) {
		print_text_member("reference", cli_text(args, "reference", NULL));
		print_member("reference_loss", r->reference_loss);
		print_member("kl", r->kl.mean);
		print_member("kl_error", r->kl.standard_error);
		print_member("agreement", r->agreement);
	}
	puts("}");
}

static void print_estimate(const char *name, struct estimate e, const char *unit)
{
	printf("%-22s %.6g", name, e.mean);
	if (!isnan(e.standard_error))
		printf(" +- %.2g", e.standard_error);
	printf("%s\n", unit);
}

static void print_table(
        const struct perplexity *r, const struct perplexity_config *config, const struct given_text *text)
{
	print_estimate("perplexity", r->perplexity, "");
	print_estimate("loss", r->loss, " nats a token");
	printf("%-22s %.6g\n", "bits per byte", r->bits_per_byte);
	printf("%-22s %.4g of the tokens were the most likely one\n", "accuracy", r->accuracy);
	if (config->reference) {
		printf("%-22s %.6g\n", "reference perplexity", exp(r->reference_loss));
		print_estimate("KL(reference || model)", r->kl, " nats a token");
		printf("%-22s %.4g of the tokens have the same most likely one\n", "top-1 agreement", r->agreement);
	}
	printf("%-22s %ld of %zu tokens (%zu bytes) in %ld windows of %d, stride %d; cached keys %s, values %s\n",
	        "scored", r->n_token, text->ids.n, text->n_byte, r->n_window, config->context, config->stride,
	        dtype_name[config->cache->k_dtype], dtype_name[config->cache->v_dtype]);
	if (r->n_block > 1)
		printf("%-22s standard errors over %ld blocks of consecutive windows\n", "+-", r->n_block);
}

// --- the work ------------------------------------------------------------------------------------------------------

static void show_progress(void *context, long done, long total)
{
	(void)total;
	progress_update(context, (double)done, NULL);
}

static int measure(struct subject *s, struct model *reference, const struct given_text *text,
        const struct cli_args *args, struct err *err)
{
	const int n_ctx = s->p.model.config.n_ctx;
	const int context = cli_int(args, "context", n_ctx < CONTEXT_MOST ? n_ctx : CONTEXT_MOST);
	struct progress progress;
	struct perplexity result;
	const struct perplexity_config config = {.context = context,
	        .stride = cli_int(args, "stride", context),
	        .batch = cli_int(args, "batch", 0),
	        .n_thread = s->n_thread,
	        .cache = &s->cache,
	        .reference = reference,
	        .n_byte = (double)text->n_byte,
	        .n_prefix = (long)text->n_prefix,
	        .tick = show_progress,
	        .tick_context = &progress};
	progress_init(&progress, "tokens", (double)text->ids.n, 0);
	if (perplexity_measure(&result, &s->model, text->ids.id, (long)text->ids.n, &config, err))
		return -1;
	progress_end(&progress, (double)text->ids.n, NULL);
	if (cli_flag(args, "json"))
		print_json(&result, &config, text, args);
	else
		print_table(&result, &config, text);
	return 0;
}

static int eval(struct subject *s, const struct cli_args *args, struct err *err)
{
	struct given_text text = {.name = args->positional[1]};
	struct pretrained reference;
	const char *path = cli_text(args, "reference", NULL);
	int rc = read_text(&text, s, cli_int(args, "tokens", INT_MAX), err);
	if (rc == 0 && path)
		rc = model_load(&reference, path, PRETRAINED_TO_READ, &s->arena, err);
	if (rc == 0) {
		struct model placed;
		if (path)
			rc = subject_place(&placed, &reference.model, s->backend, &s->arena, &s->memory, err);
		if (rc == 0)
			rc = measure(s, path ? &placed : NULL, &text, args, err);
		if (path)
			pretrained_close(&reference);
	}
	free(text.ids.id);
	return rc;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct subject s;
	if (cli_parse(&args, &command_eval, argc, argv, 2, 2, err) || subject_open(&s, args.positional[0], &args, err))
		return COMMAND_ERROR;
	const int rc = eval(&s, &args, err);
	subject_close(&s);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_eval = {
        .name = "eval",
        .summary = "Measure a model's perplexity on a text, and its distance from a reference model",
        .usage = "MODEL TEXT [--context N] [--stride N] [--reference MODEL] [--cache k=q8,v=q8] [--json]",
        .options = options,
        .run = run,
};
