// SPDX-License-Identifier: MIT
#include "harness/spec/node.h"

#include <libfyaml.h>
#include <stdarg.h>
#include <string.h>

enum { DEPTH_MOST = 32 }; // nesting deeper than this is an accident or an attack

struct reader {
	struct fy_parser *parser;
	struct fy_diag *diag;
	const char *path;
	struct arena *arena;
	struct err *err;
	int line, column; // of the latest event that has a place: an empty value has none of its own
};

int node_fail(struct err *err, const struct node *node, const char *format, ...)
{
	char message[sizeof(err->message)];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (node->line == 0)
		return err_set(err, "%s: %s", node->path, message);
	return err_set(err, "%s:%d:%d: %s", node->path, node->line, node->column, message);
}

// The parser's own complaint as our one line.
static int fail_syntax(struct reader *r)
{
	void *iterator = NULL;
	struct fy_diag_error *first = fy_diag_errors_iterate(r->diag, &iterator);
	if (!first)
		return err_set(r->err, "%s:1:1: not valid YAML", r->path);
	int line = first->line > 0 ? first->line : 1, column = first->column > 0 ? first->column : 1;
	return err_set(r->err, "%s:%d:%d: not valid YAML: %s", r->path, line, column, first->msg);
}

// YAML is UTF-8 without control characters; the parser lets some through without a place.
static int check_bytes(const char *path, const char *text, size_t length, struct err *err)
{
	int line = 1, column = 1;
	for (size_t i = 0; i < length;) {
		unsigned char c = (unsigned char)text[i];
		int more = c < 0x80                ? 0
		           : c >= 0xc2 && c < 0xe0 ? 1
		           : c >= 0xe0 && c < 0xf0 ? 2
		           : c >= 0xf0 && c < 0xf5 ? 3
		                                   : -1;
		int is_bad =
		        more < 0 || (size_t)more >= length - i || (c < 0x20 && !strchr("\t\n\r", c)) || !c || c == 0x7f;
		for (int k = 1; !is_bad && k <= more; k++)
			is_bad = ((unsigned char)text[i + (size_t)k] & 0xc0) != 0x80;
		if (is_bad)
			return err_set(err, "%s:%d:%d: byte 0x%02x is not UTF-8 text (is this a YAML file?)", path,
			        line, column, c);
		column = c == '\n' ? 1 : column + 1;
		line += c == '\n';
		i += (size_t)more + 1;
	}
	return 0;
}

static struct node *node_new(struct reader *r, enum node_kind kind, struct fy_event *event)
{
	struct node *node = arena_zalloc(r->arena, sizeof(*node));
	const struct fy_mark *mark = fy_event_start_mark(event);
	node->kind = kind;
	node->path = r->path;
	if (mark) {
		r->line = mark->line + 1;
		r->column = mark->column + 1;
	}
	node->line = r->line;
	node->column = r->column;
	return node;
}

// Doubles the room of a list when it is full.
static void list_push(struct arena *arena, struct node ***list, int n, struct node *node)
{
	if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
		struct node **wider = arena_alloc(arena, (size_t)(n < 4 ? 4 : 2 * n) * sizeof(*wider));
		if (n)
			memcpy(wider, *list, (size_t)n * sizeof(*wider));
		*list = wider;
	}
	(*list)[n] = node;
}

static int read_scalar(struct reader *r, struct node *node, struct fy_event *event)
{
	struct fy_token *token = event->scalar.value;
	size_t length = 0;
	const char *text = token ? fy_token_get_text(token, &length) : "";
	if (text && memchr(text, '\0', length))
		return node_fail(r->err, node, "a value holds a zero byte");
	char *copy = arena_alloc(r->arena, length + 1);
	if (length)
		memcpy(copy, text, length);
	copy[length] = '\0';
	node->text = copy;
	node->is_plain = !token || fy_scalar_token_get_style(token) == FYSS_PLAIN;
	if (event->scalar.anchor || event->scalar.tag)
		return node_fail(
		        r->err, node, "anchors and tags are not part of the spec format (write the value out)");
	return 0;
}

static int read_value(struct reader *r, struct node **out, struct fy_event *event, int depth);

// The next event's node; *out is NULL at the end of the collection around it.
static int read_next(struct reader *r, struct node **out, int depth)
{
	*out = NULL;
	struct fy_event *event = fy_parser_parse(r->parser);
	if (!event)
		return fail_syntax(r);
	int rc = 0;
	if (event->type != FYET_MAPPING_END && event->type != FYET_SEQUENCE_END)
		rc = read_value(r, out, event, depth);
	fy_parser_event_free(r->parser, event);
	return rc;
}

static int read_mapping(struct reader *r, struct node *mapping, int depth)
{
	for (;;) {
		struct node *key, *child;
		if (read_next(r, &key, depth + 1))
			return -1;
		if (!key)
			return 0;
		if (key->kind != NODE_SCALAR)
			return node_fail(r->err, key, "%s as a key (a key is a single word)", node_kind_text(key));
		const struct node *before = node_find(mapping, key->text);
		if (before)
			return node_fail(
			        r->err, key, "duplicate key '%s' (first given on line %d)", key->text, before->line);
		if (read_next(r, &child, depth + 1))
			return -1;
		list_push(r->arena, &mapping->key, mapping->n_child, key);
		list_push(r->arena, &mapping->child, mapping->n_child, child);
		mapping->n_child++;
	}
}

static int read_sequence(struct reader *r, struct node *sequence, int depth)
{
	for (;;) {
		struct node *child;
		if (read_next(r, &child, depth + 1))
			return -1;
		if (!child)
			return 0;
		list_push(r->arena, &sequence->child, sequence->n_child++, child);
	}
}

static int read_value(struct reader *r, struct node **out, struct fy_event *event, int depth)
{
	enum node_kind kind = event->type == FYET_MAPPING_START    ? NODE_MAPPING
	                      : event->type == FYET_SEQUENCE_START ? NODE_SEQUENCE
	                                                           : NODE_SCALAR;
	struct node *node = node_new(r, kind, event);
	*out = node;
	if (depth > DEPTH_MOST)
		return node_fail(r->err, node, "nested deeper than %d levels", DEPTH_MOST);
	if (event->type == FYET_ALIAS)
		return node_fail(r->err, node, "aliases are not part of the spec format (write the value out)");
	if (kind == NODE_SCALAR)
		return read_scalar(r, node, event);
	int has_anchor = kind == NODE_MAPPING ? event->mapping_start.anchor || event->mapping_start.tag
	                                      : event->sequence_start.anchor || event->sequence_start.tag;
	if (has_anchor)
		return node_fail(
		        r->err, node, "anchors and tags are not part of the spec format (write the value out)");
	return kind == NODE_MAPPING ? read_mapping(r, node, depth) : read_sequence(r, node, depth);
}

static int read_document(struct reader *r, struct node **root)
{
	int n_document = 0;
	for (;;) {
		struct fy_event *event = fy_parser_parse(r->parser);
		if (!event)
			return fail_syntax(r);
		enum fy_event_type type = event->type;
		int rc = 0;
		if (type == FYET_DOCUMENT_START && ++n_document > 1)
			rc = node_fail(
			        r->err, node_new(r, NODE_SCALAR, event), "a second document begins (one spec a file)");
		else if (type == FYET_MAPPING_START || type == FYET_SEQUENCE_START || type == FYET_SCALAR ||
		         type == FYET_ALIAS)
			rc = read_value(r, root, event, 0);
		fy_parser_event_free(r->parser, event);
		if (rc || type == FYET_STREAM_END)
			return rc;
	}
}

int node_read(
        struct node **root, const char *path, const char *text, size_t length, struct arena *arena, struct err *err)
{
	*root = NULL;
	path = arena_strdup(arena, path);
	if (check_bytes(path, text, length, err))
		return -1;
	struct fy_diag_cfg diag_cfg;
	fy_diag_cfg_default(&diag_cfg);
	struct fy_diag *diag = fy_diag_create(&diag_cfg);
	if (!diag)
		die_no_memory(sizeof(diag_cfg));
	fy_diag_set_collect_errors(diag, true);
	struct fy_parse_cfg cfg = {
	        .flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
	        .diag = diag,
	};
	struct fy_parser *parser = fy_parser_create(&cfg);
	if (!parser || fy_parser_set_string(parser, text, length))
		die_no_memory(length);
	struct reader reader = {parser, diag, path, arena, err, 1, 1};
	int rc = read_document(&reader, root);
	if (!rc && !*root)
		rc = err_set(err, "%s:1:1: nothing in it (a spec is a mapping; see experiments/README.md)", path);
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return rc;
}

struct node *node_find(const struct node *mapping, const char *key)
{
	for (int i = 0; i < mapping->n_child; i++)
		if (strcmp(mapping->key[i]->text, key) == 0)
			return mapping->child[i];
	return NULL;
}

int node_is_null(const struct node *node)
{
	return node->kind == NODE_SCALAR && node->is_plain &&
	       (!node->text[0] || !strcmp(node->text, "~") || !strcmp(node->text, "null"));
}

const char *node_kind_text(const struct node *node)
{
	static const char *const text[] = {"a single value", "a list", "a mapping"};
	return text[node->kind];
}

const char *node_library(void)
{
	static char text[64];
	snprintf(text, sizeof(text), "libfyaml %s", fy_library_version());
	return text;
}
