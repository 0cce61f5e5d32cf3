// SPDX-License-Identifier: MIT
// Fixed settings, and the look-up of everything that a spec names: after matrix_check() only values that depend on
// each other (dims that do not divide) can still be wrong.
#include "harness/spec/match.h"

#include <string.h>

int mapping_check(const struct node *node, const char *what, struct err *err)
{
	if (node->kind == NODE_MAPPING)
		return 0;
	return node_fail(err, node, "'%s' is %s, not a mapping", what, node_kind_text(node));
}

int keys_check(const struct node *mapping, const char *const *known, const char *where, struct err *err)
{
	for (int i = 0; i < mapping->n_child; i++) {
		const char *key = mapping->key[i]->text;
		const char *const *match = known;
		while (*match && strcmp(*match, key) != 0)
			match++;
		if (*match)
			continue;
		const char *near = word_nearest(known, key), *in = where ? " in '" : "", *end = where ? "'" : "";
		if (near)
			return node_fail(err, mapping->key[i], "unknown key '%s'%s%s%s (did you mean '%s'?)", key, in,
			        where ? where : "", end, near);
		return node_fail(err, mapping->key[i], "unknown key '%s'%s%s%s (see experiments/README.md)", key, in,
		        where ? where : "", end);
	}
	return 0;
}

const struct setting *matrix_setting(const struct matrix *m, enum section_id id, const char *key)
{
	for (int i = 0; i < m->n_setting; i++)
		if (m->setting[i].path.section == id && strcmp(m->setting[i].path.key, key) == 0)
			return &m->setting[i];
	return NULL;
}

// Sets one; it replaces an earlier setting of the same option.
static int put_setting(struct matrix *m, const struct path *path, const struct node *key, const struct node *node)
{
	struct setting *before = (struct setting *)matrix_setting(m, path->section, path->key);
	if (!before && m->n_setting == SETTINGS_MOST)
		return node_fail(m->err, key, "more than %d settings", SETTINGS_MOST);
	*(before ? before : &m->setting[m->n_setting++]) = (struct setting){*path, key, node};
	return 0;
}

int matrix_override(struct matrix *m, const char *text, const struct node *node)
{
	struct node *key = arena_alloc(m->arena, sizeof(*key));
	struct path path;
	int n = 0;
	*key = *node;
	key->text = text;
	if (path_read(m, key, "option", &path))
		return -1;
	for (int i = 0; i < m->n_axis; i++)
		if (m->axis[i].path.section != path.section || strcmp(m->axis[i].path.key, path.key) != 0)
			m->axis[n++] = m->axis[i];
	m->n_axis = n;
	sweep_sort(m);
	return put_setting(m, &path, key, node);
}

int matrix_section(struct matrix *m, enum section_id id, const struct node *section)
{
	const char *name = section_name(id, m->procedure);
	if (mapping_check(section, name, m->err))
		return -1;
	for (int i = 0; i < section->n_child; i++) {
		const struct node *key = section->key[i], *value = section->child[i];
		if (value->kind != NODE_SCALAR)
			return node_fail(m->err, value,
			        "'%s' in '%s' is %s, not a single value (axes go under 'sweep')", key->text, name,
			        node_kind_text(value));
		const struct path path = {id, key->text, arena_printf(m->arena, "%s.%s", name, key->text)};
		if (put_setting(m, &path, key, value))
			return -1;
	}
	return 0;
}

// --- choices ------------------------------------------------------------------------------------------------

static int add_candidate(struct matrix *m, enum section_id id, const char *name, const struct node *node)
{
	struct err cause = {0};
	struct candidate *c = &m->candidate[id][m->n_candidate[id]];
	for (int i = 0; i < m->n_candidate[id]; i++)
		if (strcmp(m->candidate[id][i].choice.name, name) == 0)
			return 0;
	if (choice_find(&c->choice, id, name, &cause))
		return node_fail(m->err, node, "%s", cause.message);
	if (m->n_candidate[id] == CHOICES_MOST - 1)
		return node_fail(m->err, node, "more than %d choices of %s", CHOICES_MOST - 1, section_kind(id));
	c->scratch = choice_config(&c->choice, m->arena);
	m->n_candidate[id]++;
	return 0;
}

// What each section may choose: the values of its axis, or the one it is set to, and what match's reference has.
static int find_candidates(struct matrix *m)
{
	for (int i = 0; i < N_SECTION; i++) {
		enum section_id id = (enum section_id)i;
		const char *selector = section_selector(id), *name = section_name(id, m->procedure);
		if (!selector) {
			add_candidate(m, id, section_choice(id, m->procedure), m->root);
			continue;
		}
		const struct axis *axis = matrix_axis(m, id, selector);
		const struct setting *setting = matrix_setting(m, id, selector);
		const struct value *silent = NULL; // a case that leaves the choice to the section
		for (int k = 0; axis && k < axis->n_value; k++)
			if (!axis->value[k].text)
				silent = &axis->value[k];
			else if (add_candidate(m, id, axis->value[k].text, axis->value[k].node))
				return -1;
		if (axis && !silent)
			continue;
		if (silent && !setting)
			return node_fail(m->err, silent->node,
			        "neither this case nor section '%s' has '%s' (give it one)", name, axis->path.text);
		if (!setting && !m->section[id])
			return node_fail(
			        m->err, m->root, "missing section '%s' (write '%s: {%s: ...}')", name, name, selector);
		if (!setting)
			return node_fail(m->err, m->section[id],
			        "missing key '%s' in '%s' ('kvlab list %s' shows what there is)", selector, name,
			        section_kind(id));
		if (add_candidate(m, id, setting->node->text, setting->node))
			return -1;
	}
	for (int i = 0; i < m->match.n_reference; i++) {
		const struct setting *s = &m->match.reference[i];
		const char *selector = section_selector(s->path.section);
		if (selector && strcmp(selector, s->path.key) == 0 &&
		        add_candidate(m, s->path.section, s->node->text, s->node))
			return -1;
	}
	return 0;
}

// --- paths and values ---------------------------------------------------------------------------------------

static int is_selector(const struct path *path)
{
	const char *selector = section_selector(path->section);
	return selector && strcmp(selector, path->key) == 0;
}

// The key nearest to a wrong one, over all candidates of the section and the selector.
static const char *nearest_key(const struct matrix *m, const struct path *path)
{
	enum { KEYS = 512 };
	const char *known[KEYS + 1];
	int n = 0;
	if (section_selector(path->section))
		known[n++] = section_selector(path->section);
	for (int i = 0; i < m->n_candidate[path->section]; i++)
		for (const struct option *o = m->candidate[path->section][i].choice.options; o && o->key && n < KEYS;
		        o++)
			known[n++] = o->key;
	known[n] = NULL;
	return word_nearest(known, path->key);
}

int path_check(const struct matrix *m, const struct path *path, const struct node *key, const char *what)
{
	if (is_selector(path))
		return 0;
	for (int i = 0; i < m->n_candidate[path->section]; i++)
		if (option_find(m->candidate[path->section][i].choice.options, path->key))
			return 0;
	const char *near = nearest_key(m, path), *section = section_name(path->section, m->procedure);
	const char *chosen = m->candidate[path->section][0].choice.name, *kind = section_kind(path->section);
	if (what && near)
		return node_fail(
		        m->err, key, "%s '%s' does not exist (did you mean '%s.%s'?)", what, path->text, section, near);
	if (what)
		return node_fail(m->err, key, "%s '%s' does not exist ('kvlab list %s %s' shows the options)", what,
		        path->text, kind, chosen);
	if (near)
		return node_fail(
		        m->err, key, "unknown key '%s' in '%s' (did you mean '%s'?)", path->key, section, near);
	return node_fail(m->err, key, "unknown key '%s' in '%s' ('kvlab list %s %s' shows the options)", path->key,
	        section, kind, chosen);
}

int value_check(const struct matrix *m, const struct path *path, const struct value *value)
{
	struct err cause = {0};
	int id = path->section;
	if (is_selector(path)) {
		struct choice choice;
		if (choice_find(&choice, path->section, value->text, &cause))
			return node_fail(m->err, value->node, "%s", cause.message);
		return 0;
	}
	for (int i = 0; i < m->n_candidate[id]; i++) {
		const struct candidate *c = &m->candidate[id][i];
		const struct option *option = option_find(c->choice.options, path->key);
		if (!option)
			continue;
		const int is_text = option->type == OPTION_CHOICE || option->type == OPTION_TEXT;
		if (!is_text && value->node->kind == NODE_SCALAR && !value->node->is_plain)
			return node_fail(m->err, value->node, "%s: '%s' is a text here (drop the quotes)", path->key,
			        value->text);
		if (!option_set(c->choice.options, c->scratch, path->key, value->text, &cause))
			return 0;
	}
	return node_fail(m->err, value->node, "%s", cause.message);
}

static int check_axis(const struct matrix *m, const struct axis *axis)
{
	if (path_check(m, &axis->path, axis->node, "sweep path"))
		return -1;
	for (int k = 0; k < axis->n_value; k++)
		if (axis->value[k].text && value_check(m, &axis->path, &axis->value[k]))
			return -1;
	return 0;
}

// Short names for the labels: the key, "variant" for variant.name, the whole path where a key is swept twice.
static void name_axes(struct matrix *m)
{
	for (int i = 0; i < m->n_axis; i++) {
		const struct path *path = &m->axis[i].path;
		m->axis[i].label = is_selector(path) ? section_kind(path->section) : path->key;
		for (int k = 0; k < m->n_axis; k++)
			if (k != i && !is_selector(path) && strcmp(m->axis[k].path.key, path->key) == 0)
				m->axis[i].label = path->text;
	}
}

int matrix_check(struct matrix *m)
{
	const struct axis *first_zip = NULL;
	if (find_candidates(m))
		return -1;
	for (int i = 0; i < m->n_setting; i++) {
		const struct setting *s = &m->setting[i];
		if (path_check(m, &s->path, s->key, NULL) ||
		        value_check(m, &s->path, &(struct value){s->node->text, s->node}))
			return -1;
	}
	for (int i = 0; i < m->n_axis; i++) {
		const struct axis *axis = &m->axis[i];
		if (check_axis(m, axis))
			return -1;
		if (axis->kind != AXIS_ZIP)
			continue;
		if (!first_zip)
			first_zip = axis;
		if (axis->n_value != first_zip->n_value)
			return node_fail(m->err, axis->node,
			        "'%s' has %d values and '%s' has %d (lists under 'zip' are of one length)",
			        axis->path.text, axis->n_value, first_zip->path.text, first_zip->n_value);
	}
	for (int i = 0; i < m->n_exclude; i++)
		for (int k = 0; k < m->exclude[i].n_condition; k++)
			if (check_axis(m, &m->exclude[i].condition[k]))
				return -1;
	name_axes(m);
	return match_check(m);
}
