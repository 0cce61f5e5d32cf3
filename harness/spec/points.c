// SPDX-License-Identifier: MIT
// From a checked matrix to points: every combination of product axes, zip rows and rows of each list of cases, less
// what is excluded and what comes out the same. The last advances fastest.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "harness/spec/match.h"

struct draft {
	struct matrix *m;
	int n_digit, digit[AXES_MOST], radix[AXES_MOST]; // the odometer
	const struct candidate *chosen[N_SECTION];
	void *config[N_SECTION];
	char *label;
	// Settings that count more than those of the spec: what a reference point has otherwise.
	int n_override;
	const struct setting *override;
};

static const struct value *axis_value(const struct draft *d, int axis)
{
	const struct axis *a = &d->m->axis[axis];
	return &a->value[d->digit[a->digit]];
}

// Sets the odometer up and counts its positions; -1 when they are too many.
static long start(struct draft *d)
{
	struct matrix *m = d->m;
	long n = 1;
	for (int i = 0; i < m->n_axis; i++) {
		if (m->axis[i].digit < d->n_digit)
			continue;
		d->radix[d->n_digit++] = m->axis[i].n_value;
		n *= m->axis[i].n_value;
		if (n > POINTS_MOST)
			return node_fail(m->err, m->sweep, "more than %d points (shorten an axis)", POINTS_MOST);
	}
	return n;
}

static void advance(struct draft *d)
{
	for (int i = d->n_digit - 1; i >= 0; i--) {
		if (++d->digit[i] < d->radix[i])
			return;
		d->digit[i] = 0;
	}
}

// --- one point ----------------------------------------------------------------------------------------------

static int is_choice(const struct path *path)
{
	const char *selector = section_selector(path->section);
	return selector && strcmp(selector, path->key) == 0;
}

static const char *chosen_name(const struct draft *d, enum section_id id)
{
	const char *selector = section_selector(id);
	if (!selector)
		return section_choice(id, d->m->procedure);
	for (int i = 0; i < d->n_override; i++)
		if (d->override[i].path.section == id && strcmp(d->override[i].path.key, selector) == 0)
			return d->override[i].node->text;
	for (int i = 0; i < d->m->n_axis; i++) {
		const struct path *path = &d->m->axis[i].path;
		if (path->section == id && strcmp(path->key, selector) == 0 && axis_value(d, i)->text)
			return axis_value(d, i)->text;
	}
	return matrix_setting(d->m, id, selector)->node->text;
}

static void choose(struct draft *d)
{
	for (int id = 0; id < N_SECTION; id++) {
		const char *name = chosen_name(d, (enum section_id)id);
		const struct candidate *c = d->m->candidate[id];
		while (strcmp(c->choice.name, name) != 0)
			c++;
		d->chosen[id] = c;
		d->config[id] = choice_config(&c->choice, d->m->arena);
	}
}

// Sets one option. 1 set, 0 not an option of what this point has chosen (then it does not apply), -1 refused.
static int apply(struct draft *d, const struct path *path, const char *text, const struct node *node)
{
	const struct option *options = d->chosen[path->section]->choice.options;
	struct err cause = {0};
	if (!option_find(options, path->key))
		return 0;
	if (option_set(options, d->config[path->section], path->key, text, &cause))
		return node_fail(d->m->err, node, "%s", cause.message);
	return 1;
}

// "n_head=4 variant=mha": axes that do not apply to this point are left out.
static int apply_axes(struct draft *d, FILE *label)
{
	const char *gap = "";
	for (int i = 0; i < d->m->n_axis; i++) {
		const struct axis *axis = &d->m->axis[i];
		const struct value *value = axis_value(d, i);
		const struct choice *choice = &d->chosen[axis->path.section]->choice;
		if (!value->text)
			continue;
		if (is_choice(&axis->path)) {
			fprintf(label, "%s%s=%s", gap, axis->label, value->text);
			gap = " ";
			continue;
		}
		int rc = apply(d, &axis->path, value->text, value->node);
		if (rc < 0)
			return -1;
		if (rc == 0)
			continue;
		const struct option *option = option_find(choice->options, axis->path.key);
		fprintf(label, "%s%s=", gap, axis->label);
		if (option->type == OPTION_CHOICE || (option->type == OPTION_REAL && strchr(value->text, '/')))
			fputs(value->text, label); // as in the spec, without quotes, 2/3
		else
			option_print(label, option, d->config[axis->path.section]);
		gap = " ";
	}
	return 0;
}

static int build(struct draft *d, const char *experiment)
{
	struct matrix *m = d->m;
	choose(d);
	for (int i = 0; i < m->n_setting; i++)
		if (apply(d, &m->setting[i].path, m->setting[i].node->text, m->setting[i].node) < 0)
			return -1;
	char *text = NULL;
	size_t length = 0;
	FILE *label = open_memstream(&text, &length);
	if (!label)
		die_no_memory(BUFSIZ);
	int rc = apply_axes(d, label);
	if (fclose(label))
		die_no_memory(length);
	d->label = arena_strdup(m->arena, length ? text : experiment);
	free(text);
	return rc;
}

// --- excludes -----------------------------------------------------------------------------------------------

static int condition_holds(const struct draft *d, const struct axis *condition)
{
	const struct candidate *c = d->chosen[condition->path.section];
	const struct option *option = option_find(c->choice.options, condition->path.key);
	for (int i = 0; i < condition->n_value; i++) {
		struct err refused = {0}; // a value of another choice's option cannot match here
		const char *text = condition->value[i].text;
		if (is_choice(&condition->path) && strcmp(c->choice.name, text) == 0)
			return 1;
		if (!is_choice(&condition->path) && option &&
		        !option_set(c->choice.options, c->scratch, condition->path.key, text, &refused) &&
		        option_equal(option, c->scratch, d->config[condition->path.section]))
			return 1;
	}
	return 0;
}

static const struct exclude *excluded_by(const struct draft *d)
{
	for (int i = 0; i < d->m->n_exclude; i++) {
		const struct exclude *exclude = &d->m->exclude[i];
		int n = 0;
		while (n < exclude->n_condition && condition_holds(d, &exclude->condition[n]))
			n++;
		if (n == exclude->n_condition)
			return exclude;
	}
	return NULL;
}

// --- checks -------------------------------------------------------------------------------------------------

// Where text has the word, or a number past its end.
static size_t word_at(const char *text, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = text; (at = strstr(at, word)); at++) {
		int before = at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '_');
		int after = isalnum((unsigned char)at[length]) || at[length] == '_';
		if (!before && !after)
			return (size_t)(at - text);
	}
	return strlen(text) + 1;
}

// Where the user would look: the swept value that the message names first, else the setting that it names first, else
// a swept value of the section whose check failed, else that section.
static const struct node *place_of(const struct draft *d, const char *message, enum section_id blamed)
{
	const struct matrix *m = d->m;
	const struct node *named = NULL;
	size_t first = strlen(message), at;
	for (int i = 0; i < m->n_axis; i++)
		if (axis_value(d, i)->text && (at = word_at(message, m->axis[i].path.key)) < first) {
			first = at;
			named = axis_value(d, i)->node;
		}
	if (named)
		return named;
	for (int i = 0; i < m->n_setting; i++)
		if ((at = word_at(message, m->setting[i].path.key)) < first) {
			first = at;
			named = m->setting[i].node;
		}
	if (named)
		return named;
	for (int i = 0; i < m->n_axis; i++)
		if (m->axis[i].path.section == blamed)
			return axis_value(d, i)->node;
	return m->section[blamed] ? m->section[blamed] : m->root;
}

static void put(const struct draft *d, struct setup *setup)
{
	memset(setup, 0, sizeof(*setup));
	for (int id = 0; id < N_SECTION; id++)
		setup_put(setup, &d->chosen[id]->choice, d->config[id]);
}

// The metric of the point that this one is to be matched to.
static int reference(const struct draft *d, double *target)
{
	struct matrix *m = d->m;
	struct draft other = *d;
	struct setup setup;
	struct err cause = {0};
	*target = m->match.number;
	if (m->match.n_reference == 0)
		return 0;
	other.override = m->match.reference;
	other.n_override = m->match.n_reference;
	if (build(&other, ""))
		return -1;
	for (int i = 0; i < other.n_override; i++) {
		const struct setting *s = &other.override[i];
		const struct choice *choice = &other.chosen[s->path.section]->choice;
		const int rc = is_choice(&s->path) ? 1 : apply(&other, &s->path, s->node->text, s->node);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return node_fail(m->err, s->key, "%s '%s' of the reference has no option '%s'",
			        section_kind(choice->id), choice->name, s->path.key);
	}
	put(&other, &setup);
	if (match_measure(&m->match, &setup, target, &cause))
		return node_fail(m->err, m->match.to, "point '%s': its reference: %s", d->label, cause.message);
	return 0;
}

static int match(struct draft *d, struct spec_point *point)
{
	struct match_result result;
	double target;
	if (reference(d, &target) || match_solve(d->m, &point->setup, d->label, target, &result))
		return -1;
	point->match_target = result.target;
	point->match_reached = result.reached;
	d->label = arena_printf(d->m->arena, "%s%s%s=%d", d->m->n_axis ? d->label : "", d->m->n_axis ? " " : "",
	        result.option->key, result.value);
	return 0;
}

// A copy of a section's config.
static void *config_copy(const struct draft *d, int id)
{
	const size_t bytes = d->chosen[id]->choice.config_bytes;
	void *copy = arena_alloc(d->m->arena, bytes + 1); // + 1: a section may have no options
	return memcpy(copy, d->config[id], bytes);
}

// "share=2/3 d_select=85": adds what the procedure has made of what was told in relation to the model.
static void label_resolved(struct draft *d, void *const before[N_SECTION])
{
	char *text = NULL;
	size_t length = 0;
	FILE *label = open_memstream(&text, &length);
	if (!label)
		die_no_memory(BUFSIZ);
	fputs(d->label, label);
	for (int id = SECTION_VARIANT; id < N_SECTION; id++)
		for (const struct option *o = d->chosen[id]->choice.options; o && o->key; o++)
			if (!option_equal(o, before[id], d->config[id]) && !option_is_initial(o, d->config[id])) {
				fprintf(label, " %s=", o->key);
				option_print(label, o, d->config[id]);
			}
	if (fclose(label))
		die_no_memory(length);
	d->label = arena_strdup(d->m->arena, text);
	free(text);
}

static int finish(struct draft *d, struct spec_point *point)
{
	struct err cause = {0};
	enum section_id blamed;
	void *before[N_SECTION];
	memset(point, 0, sizeof(*point));
	put(d, &point->setup);
	if (d->m->match.node && match(d, point))
		return -1;
	for (int id = 0; id < N_SECTION; id++)
		before[id] = config_copy(d, id);
	if (setup_check(&point->setup, &blamed, &cause)) {
		const struct node *place = place_of(d, cause.message, blamed);
		if (d->m->n_axis == 0)
			return node_fail(d->m->err, place, "%s", cause.message);
		return node_fail(d->m->err, place, "point '%s': %s", d->label, cause.message);
	}
	if (d->m->n_axis && point->setup.procedure->resolve)
		label_resolved(d, before);
	point->json = setup_json(&point->setup, d->m->arena);
	setup_key(point->key, &point->setup, d->m->arena);
	point->label = d->label;
	return 0;
}

// --- all of them --------------------------------------------------------------------------------------------

static void add_skip(struct spec *spec, char *label, char *reason)
{
	spec->skip[spec->n_skip++] = (struct spec_skip){label, reason};
}

static int by_key(const void *a, const void *b)
{
	const struct spec_point *x = *(const struct spec_point *const *)a, *y = *(const struct spec_point *const *)b;
	int order = strcmp(x->key, y->key);
	return order ? order : (x > y) - (x < y);
}

// Keeps the first of the points with one key. A twin that even reads the same (an axis did not apply to it) goes
// unmentioned; any other is recorded.
static void drop_twins(struct spec *spec)
{
	int n = 0;
	struct spec_point **sorted = arena_alloc(spec->arena, (size_t)spec->n_point * sizeof(*sorted));
	char **twin = arena_zalloc(spec->arena, (size_t)spec->n_point * sizeof(*twin)); // label of the first, or NULL
	for (int i = 0; i < spec->n_point; i++)
		sorted[i] = &spec->point[i];
	qsort(sorted, (size_t)spec->n_point, sizeof(*sorted), by_key);
	for (int i = 1; i < spec->n_point; i++) {
		const struct spec_point *before = sorted[i - 1];
		char *first = twin[before - spec->point];
		if (strcmp(sorted[i]->key, before->key) == 0)
			twin[sorted[i] - spec->point] = first ? first : before->label;
	}
	for (int i = 0; i < spec->n_point; i++) {
		struct spec_point point = spec->point[i];
		if (!twin[i])
			spec->point[n++] = point;
		else if (strcmp(twin[i], point.label) != 0)
			add_skip(spec, point.label, arena_printf(spec->arena, "the same point as '%s'", twin[i]));
	}
	spec->n_point = n;
}

int points_build(struct matrix *m, struct spec *spec)
{
	struct draft draft = {.m = m};
	long n = start(&draft);
	if (n < 0)
		return -1;
	spec->point = arena_alloc(m->arena, (size_t)n * sizeof(*spec->point));
	spec->skip = arena_alloc(m->arena, (size_t)n * sizeof(*spec->skip));
	for (long i = 0; i < n; i++, advance(&draft)) {
		if (build(&draft, spec->experiment))
			return -1;
		const struct exclude *exclude = excluded_by(&draft);
		if (exclude)
			add_skip(spec, draft.label, arena_strdup(m->arena, exclude->reason));
		else if (finish(&draft, &spec->point[spec->n_point++]))
			return -1;
	}
	if (spec->n_point == 0)
		return node_fail(m->err, m->sweep, "every point is excluded (loosen an exclude)");
	drop_twins(spec);
	return 0;
}
