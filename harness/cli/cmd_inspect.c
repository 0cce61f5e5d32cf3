// SPDX-License-Identifier: MIT
// kvlab inspect: what a file or folder of weights has in it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/hash.h"
#include "harness/cli/command.h"
#include "harness/weights/weights.h"

extern const struct command command_inspect;

static const struct cli_option options[] = {
        {"no-hash", CLI_FLAG, NULL, "do not read the numbers: nothing but the headers is touched"},
        {"values", CLI_FLAG, NULL, "print every value of config.json and of the file itself in full"},
        {0},
};

enum { SHORT = 100, SHORT_ITEMS = 8 };

// Long lists (vocabularies) are counted, not printed.
static void print_values(const char *title, const struct value *object, int in_full)
{
	if (!object || !object->n)
		return;
	printf("%s\n", title);
	for (size_t i = 0; i < object->n; i++) {
		const struct value *value = &object->item[i];
		printf("  %s ", value->key);
		if (!in_full && value->kind == VALUE_ARRAY && value->n > SHORT_ITEMS)
			printf("[%zu items]", value->n);
		else if (!in_full && value->kind == VALUE_TEXT && value->n > SHORT)
			printf("[text of %zu bytes]", value->n);
		else
			value_print(stdout, value);
		putchar('\n');
	}
}

static void print_tensors(const struct weights *weights, int with_hash)
{
	char shape[WEIGHTS_SHAPE_TEXT], hash[HASH_TEXT] = "";
	int widest = 4;
	for (long i = 0; i < weights->n_tensor; i++)
		widest = (int)strlen(weights->tensor[i].name) > widest ? (int)strlen(weights->tensor[i].name) : widest;
	printf("%-*s  %-8s %-16s %12s%s\n", widest, "name", "type", "shape", "bytes", with_hash ? "  hash" : "");
	for (long i = 0; i < weights->n_tensor; i++) {
		const struct weights_tensor *t = &weights->tensor[i];
		if (with_hash)
			hash_hex(hash, t->data, t->bytes);
		printf("%-*s  %-8s %-16s %12zu%s%s\n", widest, t->name, t->type->name,
		        weights_shape(shape, t->n_dim, t->dim), t->bytes, with_hash ? "  " : "", hash);
	}
}

static void inspect(const struct weights *weights, const struct cli_args *args)
{
	unsigned long long numbers = 0, bytes = 0;
	for (long i = 0; i < weights->n_tensor; i++) {
		numbers += (unsigned long long)weights->tensor[i].rows * (unsigned long long)weights->tensor[i].columns;
		bytes += weights->tensor[i].bytes;
	}
	printf("%s: %s, %ld tensors, %llu numbers, %llu bytes\n", weights->path, weights->format, weights->n_tensor,
	        numbers, bytes);
	print_values("config.json", weights->config, cli_flag(args, "values"));
	print_values("metadata", weights->metadata, cli_flag(args, "values"));
	print_tensors(weights, !cli_flag(args, "no-hash"));
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct weights *weights;
	if (cli_parse(&args, &command_inspect, argc, argv, 1, 1, err) ||
	        weights_open(&weights, args.positional[0], err))
		return COMMAND_ERROR;
	inspect(weights, &args);
	weights_close(weights);
	return COMMAND_DONE;
}

const struct command command_inspect = {
        .name = "inspect",
        .summary = "list the tensors and values of a file or folder of weights",
        .usage = "FILE|FOLDER [--no-hash] [--values]",
        .options = options,
        .run = run,
};
