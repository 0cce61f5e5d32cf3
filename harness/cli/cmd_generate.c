// SPDX-License-Identifier: MIT
// kvlab generate: a model goes on from a prompt, token by token through the KV cache, shown as it comes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli/subject.h"
#include "harness/run/player.h"
#include "harness/run/sampling.h"

extern const struct command command_generate;

static const struct cli_option options[] = {
        {"n", CLI_INT, "N", "tokens to add (default: 128, fewer where the model's positions end)"},
        {"temperature", CLI_REAL, "T", "divides the logits; 0 takes the most likely token (default 0)"},
        {"top-k", CLI_INT, "K", "draw from the K most likely tokens (default 0: all)"},
        {"top-p", CLI_REAL, "P", "draw from the most likely that have the share P together (default 1: all)"},
        {"seed", CLI_INT, "N", "another seed, another text (default 0)"},
        {"ids", CLI_FLAG, NULL, "print the ids of the new tokens, not the text"},
        {"special", CLI_FLAG, NULL, "\"<|endoftext|>\" in the prompt is that token (default: plain text)"},
        {"new", CLI_FLAG, NULL, "print the new text alone, without the prompt"},
        SUBJECT_OPTIONS,
        {0},
};

enum { N_DEFAULT = 128, ENDS_MOST = 16, STEP_CHUNK = 4 << 20 };

struct generation {
	struct subject *s;
	const struct cli_args *args;
	struct sampling sampling;
	struct token_ids prompt;
	int n;              // new tokens at most
	int end[ENDS_MOST]; // tokens that end the text
	int n_end;
	struct cache cache;
	struct tape tape;
	struct tape_memory work;
	struct player player;
	struct decoder decoder;
};

static void add_end(struct generation *g, int id)
{
	if (id >= 0 && g->n_end < ENDS_MOST)
		g->end[g->n_end++] = id;
}

// The tokenizer's, and those of config.json: a number or several. What begins a text comes after the end of one.
static void find_ends(struct generation *g)
{
	const struct value *config = g->s->p.weights->config, *eos = config ? value_find(config, "eos_token_id") : NULL;
	add_end(g, tokenizer_eos(g->s->tokenizer));
	add_end(g, tokenizer_bos(g->s->tokenizer));
	if (eos && eos->kind == VALUE_INT)
		add_end(g, (int)eos->integer);
	for (size_t i = 0; eos && eos->kind == VALUE_ARRAY && i < eos->n; i++)
		if (eos->item[i].kind == VALUE_INT)
			add_end(g, (int)eos->item[i].integer);
}

static int is_end(const struct generation *g, int id)
{
	for (int i = 0; i < g->n_end; i++)
		if (g->end[i] == id)
			return 1;
	return 0;
}

static int read_prompt(struct generation *g, struct err *err)
{
	const char *text = g->args->positional[1];
	const struct tokenizer *t = g->s->tokenizer;
	const int flags = ENCODE_TEMPLATE | (cli_flag(g->args, "special") ? ENCODE_SPECIAL : 0);
	struct encoder *encoder = encoder_new(t);
	const int rc = encoder_run(encoder, text, strlen(text), flags, &g->prompt, err);
	encoder_free(encoder);
	if (rc)
		return -1;
	const int first = tokenizer_bos(t) >= 0 ? tokenizer_bos(t) : tokenizer_eos(t);
	if (g->prompt.n == 0 && first < 0)
		return err_set(err, "generate: an empty prompt, and the tokenizer has no token that begins a text");
	if (g->prompt.n == 0)
		token_ids_push(&g->prompt, first);
	return 0;
}

static int read_options(struct generation *g, struct err *err)
{
	const struct cli_args *a = g->args;
	const int n_ctx = g->s->p.model.config.n_ctx;
	const long left = n_ctx - (long)g->prompt.n, n = cli_int(a, "n", left < N_DEFAULT ? (int)left : N_DEFAULT);
	g->sampling = (struct sampling){.temperature = cli_real(a, "temperature", 0),
	        .top_k = cli_int(a, "top-k", 0),
	        .top_p = cli_real(a, "top-p", 1),
	        .seed = (uint64_t)cli_int(a, "seed", 0)};
	if (!(g->sampling.top_p > 0 && g->sampling.top_p <= 1))
		return err_set(err, "generate: option '--top-p' needs a share above 0, at most 1");
	if (g->sampling.temperature == 0 && (cli_flag(a, "top-k") || cli_flag(a, "top-p") || cli_flag(a, "seed")))
		return err_set(err, "generate: nothing is drawn at temperature 0 (give --temperature 1)");
	if (left < 1)
		return err_set(err, "generate: a prompt of %zu tokens leaves none of the model's %d positions",
		        g->prompt.n, n_ctx);
	if (n > left)
		return err_set(err,
		        "generate: a prompt of %zu tokens and %ld more are beyond the model's %d positions (say --n "
		        "%ld)",
		        g->prompt.n, n, n_ctx, left);
	g->n = (int)n;
	return 0;
}

// Text is shown as soon as its characters are whole.
static int show(struct generation *g, int id, int is_shown, struct err *err)
{
	const char *text;
	size_t n;
	if (decoder_next(&g->decoder, id, &text, &n, err))
		return -1;
	if (is_shown && n) {
		fwrite(text, 1, n, stdout);
		fflush(stdout);
	}
	return 0;
}

static int show_prompt(struct generation *g, struct err *err)
{
	const int is_shown = !cli_flag(g->args, "new") && !cli_flag(g->args, "ids");
	for (size_t i = 0; i < g->prompt.n; i++)
		if (show(g, g->prompt.id[i], is_shown, err))
			return -1;
	return 0;
}

// The token after n more.
static int next_token(struct generation *g, const int *tokens, int n, int *id, struct err *err)
{
	const struct tensor *logits;
	if (g->cache.length) {
		logits = player_step(&g->player, &g->tape, &g->s->model, &g->cache, tokens);
	} else {
		tape_restart(&g->tape, TAPE_RUN);
		logits = model_forward(&g->tape, &g->s->model, tokens, 1, n, n - 1, 1, &g->cache);
	}
	const real *x = tensor_on_host(&g->tape, logits);
	// The vocabulary may be padded with ids that are no tokens.
	const int n_vocab = tokenizer_n_vocab(g->s->tokenizer);
	for (int j = 0; j < n_vocab; j++)
		if (!isfinite(x[j]))
			return err_set(err, "%s: logits are not finite after %d tokens (a damaged model?)",
			        g->s->p.weights->path, g->cache.length);
	*id = sampling_pick(&g->sampling, x, n_vocab, (uint64_t)g->cache.length, &g->work.step);
	return 0;
}

static int generate(struct generation *g, struct err *err)
{
	const int with_ids = cli_flag(g->args, "ids");
	const int *tokens = g->prompt.id;
	int n_token = (int)g->prompt.n, id;
	if (show_prompt(g, err))
		return -1;
	for (int i = 0; i < g->n; i++, tokens = &id, n_token = 1) {
		if (next_token(g, tokens, n_token, &id, err))
			return -1;
		if (is_end(g, id))
			break;
		if (with_ids) {
			printf(i ? " %d" : "%d", id);
			fflush(stdout);
		} else if (show(g, id, 1, err)) {
			return -1;
		}
		if (ferror(stdout)) // nobody reads it: main says so
			return 0;
	}
	size_t n;
	const char *rest = decoder_end(&g->decoder, &n);
	if (!with_ids)
		fwrite(rest, 1, n, stdout);
	// What is piped is the text and nothing else.
	if (with_ids || isatty(fileno(stdout)))
		putchar('\n');
	return 0;
}

static int run_all(struct generation *g, struct err *err)
{
	struct subject *s = g->s;
	const struct model *m = &s->p.model;
	if (read_prompt(g, err) || read_options(g, err))
		return -1;
	if (cache_init_in(&g->cache, &s->cache, m->variant, &m->dims, m->variant_config, 1, (int)g->prompt.n + g->n,
	            &s->arena, s->backend->memory ? &s->memory : &s->arena, err))
		return -1;
	find_ends(g);
	tape_open(&g->tape, &g->work, s->backend, s->n_thread, STEP_CHUNK);
	decoder_init(&g->decoder, s->tokenizer, DECODE_NO_SPECIAL);
	const int rc = generate(g, err);
	decoder_release(&g->decoder);
	player_release(&g->player);
	tape_close(&g->work);
	return rc;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct subject s;
	if (cli_parse(&args, &command_generate, argc, argv, 2, 2, err) ||
	        subject_open(&s, args.positional[0], &args, err))
		return COMMAND_ERROR;
	struct generation g = {.s = &s, .args = &args};
	const int rc = run_all(&g, err);
	free(g.prompt.id);
	subject_close(&s);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_generate = {
        .name = "generate",
        .summary = "Go on from a prompt, through the KV cache; text is shown as it comes",
        .usage = "MODEL PROMPT [--n N] [--temperature T] [--top-k K] [--top-p P] [--seed N] [--cache k=q8,v=q8]",
        .options = options,
        .run = run,
};
