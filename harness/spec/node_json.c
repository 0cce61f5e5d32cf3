// SPDX-License-Identifier: MIT
// The part of a spec that the program only passes on (report, paper_values), as the JSON the store keeps.
#include <math.h>
#include <string.h>

#include "harness/base/json_string.h"
#include "harness/base/number.h"
#include "harness/spec/node.h"

static void print_scalar(FILE *out, const struct node *node)
{
	double value;
	char text[NUMBER_TEXT];
	if (!node->is_plain || number_parse(&value, node->text) || !isfinite(value)) {
		json_print_string(out, node->text);
		return;
	}
	// JSON has no +1, .5 or 007, so the number is written anew.
	number_print(text, value);
	fputs(text, out);
}

void node_print_json(FILE *out, const struct node *node)
{
	if (node->kind == NODE_SCALAR) {
		print_scalar(out, node);
		return;
	}
	fputc(node->kind == NODE_MAPPING ? '{' : '[', out);
	for (int i = 0; i < node->n_child; i++) {
		if (i)
			fputc(',', out);
		if (node->kind == NODE_MAPPING) {
			json_print_string(out, node->key[i]->text);
			fputc(':', out);
		}
		node_print_json(out, node->child[i]);
	}
	fputc(node->kind == NODE_MAPPING ? '}' : ']', out);
}
