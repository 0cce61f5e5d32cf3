// SPDX-License-Identifier: MIT
// kvlab tokenize: text to the ids of a model's tokens, and ids to text.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/base/utf8.h"
#include "harness/cli/command.h"
#include "harness/text/file.h"
#include "harness/text/tokenizer.h"

extern const struct command command_tokenize;

static const struct cli_option options[] = {
        {"decode", CLI_FLAG, NULL, "the reverse: TEXT holds ids, between them white space or commas"},
        {"count", CLI_FLAG, NULL, "print how many ids there are, not the ids (with --decode: how many bytes)"},
        {"special", CLI_FLAG, NULL, "\"<|endoftext|>\" in the text is that token (default: text like any other)"},
        {"no-special", CLI_FLAG, NULL, "with --decode: print nothing for such tokens"},
        {"template", CLI_FLAG, NULL, "put around the text what the tokenizer asks for, as Llama's <|begin_of_text|>"},
        {"exact", CLI_FLAG, NULL, "leave the text as it is (NeoX and Qwen2 bring it into normal form C first)"},
        {"family", CLI_TEXT, "NAME", "how vocabulary and merges split text, where no configuration says it"},
        {0},
};

static int encode(
        const struct tokenizer *tokenizer, const struct cli_args *args, const char *text, size_t n, struct err *err)
{
	const int flags = (cli_flag(args, "special") ? ENCODE_SPECIAL : 0) |
	                  (cli_flag(args, "template") ? ENCODE_TEMPLATE : 0) |
	                  (cli_flag(args, "exact") ? ENCODE_EXACT : 0);
	struct token_ids ids = {0};
	struct encoder *encoder = encoder_new(tokenizer);
	const int rc = encoder_run(encoder, text, n, flags, &ids, err);
	if (rc == 0 && cli_flag(args, "count"))
		printf("%zu\n", ids.n);
	else if (rc == 0) {
		for (size_t i = 0; i < ids.n; i++)
			printf(i ? " %d" : "%d", ids.id[i]);
		putchar('\n');
	}
	encoder_free(encoder);
	free(ids.id);
	return rc;
}

static int is_between(char c)
{
	return isspace((unsigned char)c) || c == ',';
}

// The id at *at, which is moved behind it. 0, 1 at the end, -1 with a message.
static int next_id(const char **at, const char *end, const char *path, size_t number, long long *id, struct err *err)
{
	char quoted[QUOTE_TEXT];
	while (*at < end && is_between(**at))
		++*at;
	if (*at == end)
		return 1;
	const char *word = *at;
	char *after;
	*id = strtoll(word, &after, 10);
	*at = after;
	if (isdigit((unsigned char)*word) && (after == end || is_between(*after)))
		return 0;
	for (*at = word; *at < end && !is_between(**at);)
		++*at;
	return err_set(err, "%s: place %zu: '%s' is no id (see --decode)", path, number,
	        text_quote(quoted, word, (size_t)(*at - word)));
}

static int decode(
        const struct tokenizer *tokenizer, const struct cli_args *args, const char *text, size_t n, struct err *err)
{
	const char *at = text, *end = text + n, *bytes;
	const int flags = cli_flag(args, "no-special") ? DECODE_NO_SPECIAL : 0;
	struct decoder decoder;
	struct token_ids ids = {0};
	size_t n_byte = 0, length;
	long long id;
	int rc;
	// Nothing is printed before every id is known to be one.
	for (size_t number = 1; (rc = next_id(&at, end, args->positional[1], number, &id, err)) == 0; number++) {
		if (!tokenizer_text(tokenizer, id, &length)) {
			rc = err_set(err, "%s: place %zu: no token has the id %lld (the largest is %d)",
			        args->positional[1], number, id, tokenizer_n_vocab(tokenizer) - 1);
			break;
		}
		token_ids_push(&ids, (int32_t)id);
	}
	decoder_init(&decoder, tokenizer, flags);
	for (size_t i = 0; rc > 0 && i <= ids.n; i++) {
		if (i == ids.n)
			bytes = decoder_end(&decoder, &length);
		else if (decoder_next(&decoder, ids.id[i], &bytes, &length, err))
			rc = -1;
		if (rc > 0 && !cli_flag(args, "count"))
			fwrite(bytes, 1, length, stdout);
		n_byte += length;
	}
	if (rc > 0 && cli_flag(args, "count"))
		printf("%zu\n", n_byte);
	decoder_release(&decoder);
	free(ids.id);
	return rc > 0 ? 0 : -1;
}

// Options that mean nothing in the direction taken are mistakes.
static int check_direction(const struct cli_args *args, struct err *err)
{
	static const char *const of_encode[] = {"special", "template", "exact"};
	const int is_decode = cli_flag(args, "decode");
	if (!is_decode && cli_flag(args, "no-special"))
		return err_set(err, "tokenize: option '--no-special' goes with --decode");
	for (size_t i = 0; i < sizeof(of_encode) / sizeof(of_encode[0]); i++)
		if (is_decode && cli_flag(args, of_encode[i]))
			return err_set(err, "tokenize: option '--%s' does not go with --decode", of_encode[i]);
	return 0;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct tokenizer *tokenizer;
	char *text;
	size_t n;
	if (cli_parse(&args, &command_tokenize, argc, argv, 2, 2, err) || check_direction(&args, err))
		return COMMAND_ERROR;
	if (tokenizer_open(&tokenizer, args.positional[0], cli_text(&args, "family", NULL), err))
		return COMMAND_ERROR;
	int rc = file_read(&text, &n, args.positional[1], err);
	if (rc == 0) {
		rc = cli_flag(&args, "decode") ? decode(tokenizer, &args, text, n, err)
		                               : encode(tokenizer, &args, text, n, err);
		free(text);
	}
	tokenizer_free(tokenizer);
	return rc ? COMMAND_ERROR : COMMAND_DONE;
}

const struct command command_tokenize = {
        .name = "tokenize",
        .summary = "print the ids of a text's tokens, or the text of ids",
        .usage = "MODEL TEXT [--decode] [--count] [--special] [--exact] [--family NAME]",
        .options = options,
        .run = run,
};
