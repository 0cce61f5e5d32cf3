// SPDX-License-Identifier: MIT
#include "harness/spec/setup.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/json_string.h"
#include "harness/spec/node.h"
#include "harness/spec/section.h"

enum { KEYS_MOST = 128 };

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Keys of a section in order of name, the selector among them; late options only where they say something.
static int section_keys(const char *key[KEYS_MOST], const struct choice *choice, const void *config)
{
	int n = 0;
	if (section_selector(choice->id))
		key[n++] = section_selector(choice->id);
	for (const struct option *o = choice->options; o && o->key; o++) {
		if (n == KEYS_MOST)
			BUG("%s '%s' has more than %d options", section_kind(choice->id), choice->name, KEYS_MOST);
		if (!o->is_late || !option_is_initial(o, config))
			key[n++] = o->key;
	}
	qsort(key, (size_t)n, sizeof(key[0]), by_text);
	return n;
}

// {"d_ff":128,...,"family":"decoder"}
static void print_section(FILE *out, const struct choice *choice, const void *config)
{
	const char *key[KEYS_MOST], *selector = section_selector(choice->id);
	int n = section_keys(key, choice, config);
	for (int i = 0; i < n; i++) {
		fprintf(out, "%c\"%s\":", i ? ',' : '{', key[i]);
		if (selector && key[i] == selector)
			json_print_string(out, choice->name);
		else
			option_print(out, option_find(choice->options, key[i]), config);
	}
	fputs(n ? "}" : "{}", out);
}

char *setup_json(const struct setup *setup, struct arena *arena)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	if (!out)
		die_no_memory(BUFSIZ);
	const char *name[N_SECTION + 1] = {"procedure"}, *sorted[N_SECTION + 1], *key[KEYS_MOST];
	for (int id = 0; id < N_SECTION; id++)
		name[1 + id] = section_name((enum section_id)id, setup->procedure);
	memcpy(sorted, name, sizeof(name));
	qsort(sorted, N_SECTION + 1, sizeof(sorted[0]), by_text);
	const char *gap = "{";
	for (int i = 0; i <= N_SECTION; i++) {
		int id = -1;
		while (name[1 + id] != sorted[i])
			id++;
		void *config;
		struct choice choice = setup_choice(setup, id < 0 ? SECTION_PROCEDURE : (enum section_id)id, &config);
		if (id >= 0 && section_is_optional((enum section_id)id) && section_keys(key, &choice, config) == 0)
			continue;
		fprintf(out, "%s\"%s\":", gap, sorted[i]);
		gap = ",";
		if (id < 0)
			json_print_string(out, choice.name);
		else
			print_section(out, &choice, config);
	}
	fputc('}', out);
	if (fclose(out))
		die_no_memory(length);
	char *copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

// The scalar under a key, or an error that names it.
static const char *text_of(const struct node *mapping, const char *key, struct err *err)
{
	const struct node *value = node_find(mapping, key);
	if (value && value->kind == NODE_SCALAR)
		return value->text;
	node_fail(err, mapping, "no '%s' here (stored by another version of kvlab?)", key);
	return NULL;
}

// Passes a message without place on with the node's place.
static int fail_at(struct err *err, const struct node *node, const struct err *cause)
{
	return node_fail(err, node, "%s (stored by another version of kvlab?)", cause->message);
}

// section NULL: left out, which an optional one may be.
static int parse_section(struct setup *setup, enum section_id id, const char *name, const struct node *section,
        struct arena *arena, struct err *err)
{
	struct choice choice;
	struct err cause = {0};
	const char *selector = section_selector(id);
	if (choice_find(&choice, id, name, &cause))
		return fail_at(err, section, &cause);
	void *config = choice_config(&choice, arena);
	for (int i = 0; section && i < section->n_child; i++) {
		const char *key = section->key[i]->text;
		if (selector && strcmp(key, selector) == 0)
			continue;
		if (!text_of(section, key, err))
			return -1;
		if (option_set(choice.options, config, key, section->child[i]->text, &cause))
			return fail_at(err, section->child[i], &cause);
	}
	// A default could have changed since: what is missing is not guessed. A late option's own default cannot, a
	// family's default for it could.
	for (const struct option *o = choice.options; o && o->key; o++) {
		if (o->is_late && !(section && node_find(section, o->key)))
			option_init(o, config);
		else if (!text_of(section, o->key, err))
			return -1;
	}
	setup_put(setup, &choice, config);
	return 0;
}

int setup_parse(struct setup *setup, const char *json, struct arena *arena, struct err *err)
{
	struct node *root;
	struct err cause = {0};
	memset(setup, 0, sizeof(*setup));
	if (node_read(&root, "stored point", json, strlen(json), arena, err))
		return -1;
	const char *procedure_name = text_of(root, "procedure", err);
	if (!procedure_name)
		return -1;
	const struct procedure *procedure = procedure_find(procedure_name);
	if (!procedure)
		return node_fail(
		        err, root, "unknown procedure '%s' (stored by another version of kvlab?)", procedure_name);
	int n_section = 1; // "procedure" counts as one
	for (int id = 0; id < N_SECTION; id++) {
		const char *section_key = section_name((enum section_id)id, procedure);
		const char *selector = section_selector((enum section_id)id);
		const char *name = selector ? NULL : section_choice((enum section_id)id, procedure);
		const struct node *section = node_find(root, section_key);
		int is_there = section && section->kind == NODE_MAPPING;
		n_section += is_there;
		if (!is_there && (section || !section_is_optional((enum section_id)id)))
			return node_fail(
			        err, root, "no section '%s' here (stored by another version of kvlab?)", section_key);
		if (selector && !(name = text_of(section, selector, err)))
			return -1;
		if (parse_section(setup, (enum section_id)id, name, section, arena, err))
			return -1;
	}
	if (root->n_child != n_section)
		return node_fail(err, root, "%d sections instead of %d (stored by another version of kvlab?)",
		        root->n_child, n_section);
	enum section_id blamed;
	if (setup_check(setup, &blamed, &cause))
		return fail_at(err, root, &cause);
	return 0;
}

void setup_key(char key[HASH_TEXT], const struct setup *setup, struct arena *arena)
{
	struct arena_mark mark = arena_mark(arena);
	char *text =
	        arena_printf(arena, "%s\ntask=%d\nprocedure=%d\nvariant=%d\nkernels=%d\n", setup_json(setup, arena),
	                setup->task->version, setup->procedure->version, setup->variant->version, KERNELS_VERSION);
	// A task over stored data: another text is another point.
	const unsigned long long content = setup->task->shape(setup->task_config).content_hash;
	if (content)
		text = arena_printf(arena, "%scontent=%016llx\n", text, content);
	const unsigned long long read = setup->procedure->content ? setup->procedure->content(setup) : 0;
	if (read)
		text = arena_printf(arena, "%ssource=%016llx\n", text, read);
	hash_hex(key, text, strlen(text));
	arena_rewind(arena, mark);
}
