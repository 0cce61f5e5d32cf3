// SPDX-License-Identifier: MIT
// A YAML (or JSON, which is YAML) text as a tree whose every node knows its place. node.c is the only file that
// knows the YAML library. Duplicate keys, anchors, tags and further documents are refused here, once for all.
#ifndef KVLAB_SPEC_NODE_H
#define KVLAB_SPEC_NODE_H
#include <stddef.h>
#include <stdio.h>

#include "harness/base/arena.h"
#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

enum node_kind { NODE_SCALAR, NODE_SEQUENCE, NODE_MAPPING };

struct node {
	enum node_kind kind;
	const char *path;           // of the file, as the user named it
	int line, column;           // from 1; line 0: the whole is meant
	const char *text;           // scalar: its value
	int is_plain;               // scalar: written without quotes and not as a block
	int n_child;                // sequence and mapping
	struct node **key, **child; // key: mapping only, scalars
};

// Reads one document. `path` is what messages call it. The tree lives in the arena. 0, or -1 with
// `path:line:col: message`.
int node_read(
        struct node **root, const char *path, const char *text, size_t length, struct arena *arena, struct err *err);
// Records `path:line:col: ` and the message; always -1.
int node_fail(struct err *err, const struct node *node, const char *format, ...) __attribute__((format(printf, 3, 4)));
// The value under a key of a mapping, or NULL.
struct node *node_find(const struct node *mapping, const char *key);
// Whether the node is a plain null, ~ or nothing.
int node_is_null(const struct node *node);
// "a mapping", "a list" or "a single value": for messages.
const char *node_kind_text(const struct node *node);
// Writes the tree as JSON: plain decimal numbers stay numbers, every other scalar becomes a string.
void node_print_json(FILE *out, const struct node *node);

// "libfyaml 0.7.12".
const char *node_library(void);

#ifdef __cplusplus
}
#endif
#endif
