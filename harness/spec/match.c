// SPDX-License-Identifier: MIT
#include "harness/spec/match.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "harness/base/number.h"

static const struct {
	const char *name;
	size_t offset;
} metrics[N_MATCH_METRIC] = {
        [MATCH_CACHE_BYTES] = {"cache_bytes", offsetof(struct cost, cache_bytes_per_token)},
        [MATCH_PARAMS] = {"params", offsetof(struct cost, n_param)},
        [MATCH_FLOPS] = {"flops", offsetof(struct cost, flops)},
};

const char *match_metric_name(const struct match *match)
{
	return match->node ? metrics[match->metric].name : NULL;
}

// --- the section --------------------------------------------------------------------------------------------

static int read_metric(struct matrix *m, const struct node *node)
{
	const char *names[N_MATCH_METRIC + 1] = {0};
	for (int i = 0; i < N_MATCH_METRIC; i++) {
		names[i] = metrics[i].name;
		if (node->kind == NODE_SCALAR && strcmp(names[i], node->text) == 0) {
			m->match.metric = (enum match_metric)i;
			return 0;
		}
	}
	const char *near = node->kind == NODE_SCALAR ? word_nearest(names, node->text) : NULL;
	if (near)
		return node_fail(m->err, node, "unknown metric '%s' (did you mean '%s'?)", node->text, near);
	return node_fail(m->err, node, "'metric' is none of cache_bytes, params and flops");
}

static int read_number(struct matrix *m, const struct node *node, const char *key, double *value)
{
	if (node->kind != NODE_SCALAR || !node->is_plain || number_parse(value, node->text) || !isfinite(*value) ||
	        *value < 0)
		return node_fail(m->err, node, "'%s' of match is not a number from 0 on", key);
	return 0;
}

static int read_to(struct matrix *m, const struct node *node)
{
	struct match *match = &m->match;
	match->to = node;
	match->n_reference = 0;
	if (node->kind == NODE_SCALAR) {
		if (node->is_plain && !number_parse(&match->number, node->text) && isfinite(match->number) &&
		        match->number > 0)
			return 0;
		return node_fail(m->err, node,
		        "'to' of match is neither a number above 0 nor a reference ({variant.name: mha})");
	}
	if (mapping_check(node, "to", m->err))
		return -1;
	if (node->n_child == 0)
		return node_fail(m->err, node, "'to' of match is empty (give a number, or settings of the reference)");
	match->reference = arena_zalloc(m->arena, (size_t)node->n_child * sizeof(*match->reference));
	for (int i = 0; i < node->n_child; i++) {
		struct setting *s = &match->reference[match->n_reference++];
		s->key = node->key[i];
		s->node = node->child[i];
		if (path_read(m, s->key, "match path", &s->path))
			return -1;
		if (s->node->kind != NODE_SCALAR)
			return node_fail(m->err, s->node, "'%s' is %s, not a single value", s->path.text,
			        node_kind_text(s->node));
	}
	return 0;
}

static int read_by(struct matrix *m, const struct node *node)
{
	struct match *match = &m->match;
	const int is_mapping = node->kind == NODE_MAPPING;
	match->n_by = is_mapping ? node->n_child : 1;
	if (match->n_by == 0 || node->kind == NODE_SEQUENCE)
		return node_fail(m->err, node, "'by' of match is neither an option (model.d_head) nor one per variant");
	match->by = arena_zalloc(m->arena, (size_t)match->n_by * sizeof(*match->by));
	for (int i = 0; i < match->n_by; i++) {
		struct match_by *by = &match->by[i];
		by->key = is_mapping ? node->key[i] : NULL;
		by->variant = is_mapping ? by->key->text : NULL;
		by->node = is_mapping ? node->child[i] : node;
		if (by->node->kind != NODE_SCALAR)
			return node_fail(m->err, by->node, "'%s' of match is %s, not an option (model.d_head)",
			        by->variant, node_kind_text(by->node));
		if (path_read(m, by->node, "match path", &by->path))
			return -1;
	}
	return 0;
}

int match_read(struct matrix *m, const struct node *node)
{
	static const char *const known[] = {"metric", "to", "by", "within", NULL};
	if (mapping_check(node, "match", m->err) || keys_check(node, known, "match", m->err))
		return -1;
	if (!m->match.node)
		m->match = (struct match){.node = node, .metric = N_MATCH_METRIC, .within = 0.05};
	const struct node *metric = node_find(node, "metric"), *to = node_find(node, "to"), *by = node_find(node, "by"),
	                  *within = node_find(node, "within");
	if ((metric && read_metric(m, metric)) || (to && read_to(m, to)) || (by && read_by(m, by)) ||
	        (within && read_number(m, within, "within", &m->match.within)))
		return -1;
	return 0;
}

// --- what it names ------------------------------------------------------------------------------------------

// An option that can be searched: integer, not swept, there.
static int check_by(struct matrix *m, const struct match_by *by)
{
	const struct option *option = NULL;
	struct choice choice;
	struct err cause = {0};
	const enum section_id id = by->path.section;
	if (by->variant && choice_find(&choice, SECTION_VARIANT, by->variant, &cause))
		return node_fail(m->err, by->key, "%s", cause.message);
	if (matrix_axis(m, id, by->path.key))
		return node_fail(m->err, by->node,
		        "'%s' is swept, so match cannot solve for it (drop the axis, or match by another option)",
		        by->path.text);
	// A variant of the mapping may be one that this scale leaves out: its own options count.
	if (by->variant && id == SECTION_VARIANT) {
		option = option_find(choice.options, by->path.key);
		if (!option)
			return node_fail(m->err, by->node,
			        "variant '%s' has no option '%s' ('kvlab list variant %s' shows its options)",
			        by->variant, by->path.key, by->variant);
	} else if (path_check(m, &by->path, by->node, "match path")) {
		return -1;
	}
	for (int i = 0; !option && i < m->n_candidate[id]; i++)
		option = option_find(m->candidate[id][i].choice.options, by->path.key);
	if (!option || option->type != OPTION_INT)
		return node_fail(
		        m->err, by->node, "'%s' is no integer option (match searches whole numbers)", by->path.text);
	return 0;
}

int match_check(struct matrix *m)
{
	const struct match *match = &m->match;
	if (!match->node)
		return 0;
	const char *missing = match->metric == N_MATCH_METRIC ? "metric" : !match->to ? "to" : !match->by ? "by" : NULL;
	if (missing)
		return node_fail(
		        m->err, match->node, "missing key '%s' in 'match' ({metric, to, by, within})", missing);
	for (int i = 0; i < match->n_by; i++)
		if (check_by(m, &match->by[i]))
			return -1;
	for (int i = 0; i < match->n_reference; i++) {
		const struct setting *s = &match->reference[i];
		if (path_check(m, &s->path, s->key, "match path") ||
		        value_check(m, &s->path, &(struct value){s->node->text, s->node}))
			return -1;
	}
	return 0;
}

// --- measuring ----------------------------------------------------------------------------------------------

// A copy to derive things in. Memory from the arena.
static struct setup setup_copy(const struct setup *setup, struct arena *arena)
{
	struct setup copy = {0};
	for (int id = 0; id < N_SECTION; id++) {
		void *config;
		struct choice choice = setup_choice(setup, (enum section_id)id, &config);
		void *own = arena_alloc(arena, choice.config_bytes + 1); // + 1: a section may have no options
		memcpy(own, config, choice.config_bytes);
		setup_put(&copy, &choice, own);
	}
	return copy;
}

static int setup_cost(const struct match *match, struct setup *setup, double *value, struct err *cause)
{
	enum section_id blamed;
	struct cost cost = {0};
	if (setup_check(setup, &blamed, cause) || setup->procedure->estimate(setup, &cost, cause))
		return -1;
	*value = *(const double *)((const char *)&cost + metrics[match->metric].offset);
	return 0;
}

int match_measure(const struct match *match, const struct setup *setup, double *value, struct err *cause)
{
	struct arena memory;
	arena_init(&memory, 1 << 12);
	struct setup copy = setup_copy(setup, &memory);
	int rc = setup_cost(match, &copy, value, cause);
	arena_release(&memory);
	return rc;
}

// --- solving ------------------------------------------------------------------------------------------------

// The search of one option, all others as they are. Values that some check refuses are passed over.
struct search {
	const struct match *match;
	const struct setup *setup;
	const struct option *option;
	enum section_id section;
	struct arena memory; // of one try
	struct err cause;    // the last refusal
};
struct probe {
	long value; // -1: none
	double reached;
};
enum { REFUSED_MOST = 1 << 16 }; // in a row: whatever lies beyond is not looked for

static int try_value(struct search *s, struct probe *probe)
{
	char text[NUMBER_TEXT];
	void *config;
	arena_reset(&s->memory);
	struct setup copy = setup_copy(s->setup, &s->memory);
	const struct choice choice = setup_choice(&copy, s->section, &config);
	snprintf(text, sizeof(text), "%ld", probe->value);
	err_clear(&s->cause);
	int rc = option_set(choice.options, config, s->option->key, text, &s->cause) ||
	         setup_cost(s->match, &copy, &probe->reached, &s->cause);
	return rc ? -1 : 0;
}

// The first value of from..to that nothing refuses.
static struct probe first_accepted(struct search *s, long from, long to)
{
	struct probe probe = {.value = from};
	for (; probe.value <= to && probe.value - from < REFUSED_MOST; probe.value++)
		if (try_value(s, &probe) == 0)
			return probe;
	return (struct probe){.value = -1};
}

// The neighbours of target: below has less, above as much or more (value -1 where there is none). Doubling, then
// halving: the metric grows with the option, or at least does not fall.
static void bracket(struct search *s, double target, struct probe *below, struct probe *above)
{
	const long least = s->option->least < 1 ? 1 : (long)s->option->least, most = (long)s->option->most;
	long top = most + 1; // values from here on are not below target
	*below = *above = (struct probe){.value = -1};
	for (long from = least; from <= most;) {
		struct probe p = first_accepted(s, from, most);
		if (p.value < 0 || p.reached >= target) {
			*above = p;
			top = from;
			break;
		}
		*below = p;
		from = 2 * p.value;
	}
	while (below->value >= 0 && top - below->value > 1) {
		const long middle = below->value + (top - below->value) / 2;
		struct probe p = first_accepted(s, middle, top - 1);
		if (p.value >= 0 && p.reached < target) {
			*below = p;
			continue;
		}
		if (p.value >= 0)
			*above = p;
		top = middle;
	}
}

static const struct match_by *find_by(const struct match *match, const char *variant)
{
	for (int i = 0; i < match->n_by; i++)
		if (!match->by[i].variant || strcmp(match->by[i].variant, variant) == 0)
			return &match->by[i];
	return NULL;
}

static double gap(const struct probe *p, double target)
{
	return p->value < 0 ? INFINITY : fabs(p->reached - target) / target;
}

static void print_probe(char text[96], const struct search *s, const struct probe *p)
{
	char reached[NUMBER_TEXT];
	text[0] = '\0';
	if (p->value < 0)
		return;
	number_print(reached, p->reached);
	snprintf(text, 96, ", %s %ld gives %s", s->option->key, p->value, reached);
}

int match_solve(
        const struct matrix *m, struct setup *setup, const char *label, double target, struct match_result *result)
{
	const struct match *match = &m->match;
	const struct match_by *by = find_by(match, setup->variant->name);
	void *config;
	char text[NUMBER_TEXT], lower[96], upper[96];
	if (!by)
		return node_fail(m->err, match->node,
		        "'by' of match has no option for variant '%s' (add '%s: section.option')", setup->variant->name,
		        setup->variant->name);
	const struct choice choice = setup_choice(setup, by->path.section, &config);
	struct search search = {
	        .match = match,
	        .setup = setup,
	        .option = option_find(choice.options, by->path.key),
	        .section = by->path.section,
	};
	if (!search.option)
		return node_fail(m->err, by->node,
		        "point '%s': %s '%s' has no option '%s' (give 'by' an option for each variant)", label,
		        section_kind(choice.id), choice.name, by->path.key);
	struct probe below, above;
	arena_init(&search.memory, 1 << 12);
	bracket(&search, target, &below, &above);
	arena_release(&search.memory);
	number_print(text, target);
	if (below.value < 0 && above.value < 0)
		return node_fail(m->err, by->node, "point '%s': no %s is accepted: %s", label, by->path.key,
		        search.cause.message);
	const struct probe *best = gap(&below, target) <= gap(&above, target) ? &below : &above;
	if (gap(best, target) > match->within) {
		print_probe(lower, &search, &below);
		print_probe(upper, &search, &above);
		return node_fail(m->err, by->node,
		        "point '%s': no %s comes within %g %% of %s %s%s%s (widen 'within', or match by another "
		        "option)",
		        label, by->path.key, 100 * match->within, metrics[match->metric].name, text, lower, upper);
	}
	*result = (struct match_result){target, best->reached, search.option, by->path.section, (int)best->value};
	snprintf(text, sizeof(text), "%ld", best->value);
	struct err cause = {0};
	if (option_set(choice.options, config, search.option->key, text, &cause))
		BUG("match: %s", cause.message);
	return 0;
}
