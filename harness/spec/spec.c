// SPDX-License-Identifier: MIT
// The top level of a spec: reads the file, picks the scale, hands the sections on.
#include "harness/spec/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/spec/match.h"

enum { FILE_MOST = 1 << 20, SEEDS_MOST = 10000 };

static const char *const scale_names[] = {"smoke", "small", "gpu", "paper", NULL};

// --- the file -----------------------------------------------------------------------------------------------

// A whole text file. 0, or -1 with errno set; EFBIG where it is no spec by its size.
static int read_file(char **text, size_t *length, const char *path, struct arena *arena)
{
	FILE *in = fopen(path, "rb");
	if (!in)
		return -1;
	char *buffer = arena_alloc(arena, FILE_MOST + 1);
	*length = fread(buffer, 1, FILE_MOST + 1, in);
	int fault = ferror(in) ? errno : *length > FILE_MOST ? EFBIG : 0;
	fclose(in);
	if (fault) {
		errno = fault;
		return -1;
	}
	buffer[*length] = '\0';
	*text = buffer;
	return 0;
}

static int read_spec(char **text, struct node **root, const char *path, struct arena *arena, struct err *err)
{
	size_t length;
	if (read_file(text, &length, path, arena))
		return err_set(err, "%s: cannot be read: %s ('kvlab list experiment' shows what there is)", path,
		        strerror(errno));
	if (node_read(root, path, *text, length, arena, err))
		return -1;
	if ((*root)->kind != NODE_MAPPING)
		return node_fail(
		        err, *root, "%s where a mapping should be (see experiments/README.md)", node_kind_text(*root));
	return 0;
}

// The .sql file beside the spec, if there is one.
static int read_view(struct spec *spec, struct err *err)
{
	size_t length, stem = strlen(spec->path);
	if (stem > 5 && strcmp(spec->path + stem - 5, ".yaml") == 0)
		stem -= 5;
	char *path = arena_printf(spec->arena, "%.*s.sql", (int)stem, spec->path);
	if (read_file(&spec->view_sql, &length, path, spec->arena) && errno != ENOENT)
		return err_set(err, "%s: cannot be read: %s (it defines the views of '%s')", path, strerror(errno),
		        spec->experiment);
	return 0;
}

// --- plain fields -------------------------------------------------------------------------------------------

static int read_text(
        char **out, const struct node *root, const char *key, int is_required, struct arena *arena, struct err *err)
{
	const struct node *node = node_find(root, key);
	if (!node && !is_required)
		return 0;
	if (!node)
		return node_fail(err, root, "missing key '%s'", key);
	if (node->kind != NODE_SCALAR || node_is_null(node))
		return node_fail(err, node, "'%s' is not a text", key);
	*out = arena_strdup(arena, node->text);
	return 0;
}

// An experiment names a database view and is found by its file's name, so the two must agree.
static int check_experiment(const struct spec *spec, const struct node *root, struct err *err)
{
	const struct node *node = node_find(root, "experiment");
	const char *name = spec->experiment, *file = strrchr(spec->path, '/');
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
	file = file ? file + 1 : spec->path;
	if (name[n] || name[0] < 'a' || name[0] > 'z')
		return node_fail(err, node, "experiment '%s' is not a name (lower-case letters, digits and _)", name);
	if (strncmp(file, name, n) != 0 || (file[n] && strcmp(file + n, ".yaml") != 0))
		return node_fail(err, node,
		        "experiment '%s' is not called like its file '%s' (results are stored under it)", name, file);
	return 0;
}

static char *json_of(const struct node *node, struct arena *arena)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	if (!out)
		die_no_memory(BUFSIZ);
	node_print_json(out, node);
	if (fclose(out))
		die_no_memory(length);
	char *copy = arena_strdup(arena, text);
	free(text);
	return copy;
}

// Published values are rows; report is whatever the report understands.
static int read_passed_on(struct spec *spec, const struct node *root, struct err *err)
{
	static const char *const known[] = {"paper", "table", "row", "column", "value", "source", NULL};
	const struct node *report = node_find(root, "report"), *paper = node_find(root, "paper_values");
	if (report && report->kind == NODE_SCALAR)
		return node_fail(err, report, "'report' is a single value, not a mapping");
	if (paper && paper->kind != NODE_SEQUENCE)
		return node_fail(err, paper, "'paper_values' is %s, not a list", node_kind_text(paper));
	for (int i = 0; paper && i < paper->n_child; i++) {
		const struct node *row = paper->child[i];
		if (mapping_check(row, "paper_values", err) || keys_check(row, known, "paper_values", err))
			return -1;
		if (!node_find(row, "value"))
			return node_fail(err, row, "missing key 'value' in 'paper_values'");
	}
	spec->report_json = report ? json_of(report, spec->arena) : NULL;
	spec->paper_json = paper ? json_of(paper, spec->arena) : NULL;
	return 0;
}

// --- seeds --------------------------------------------------------------------------------------------------

static int has_seed(const struct spec *spec, uint64_t seed)
{
	for (int i = 0; i < spec->n_seed; i++)
		if (spec->seed[i] == seed)
			return 1;
	return 0;
}

static int read_seeds(struct matrix *m, struct spec *spec, const struct node *node, int n_seed)
{
	struct value *value;
	int n;
	if (!node)
		return node_fail(m->err, m->root, "missing key 'seeds' (write 'seeds: [42, 43, 44]')");
	if (n_seed > SEEDS_MOST)
		return node_fail(m->err, node, "%d seeds are asked for (at most %d)", n_seed, SEEDS_MOST);
	if (values_read(m, node, "seeds", &n, &value))
		return -1;
	spec->seed = arena_alloc(m->arena, (size_t)(n + n_seed) * sizeof(*spec->seed));
	for (int i = 0; i < n; i++) {
		char *end;
		errno = 0;
		uint64_t seed = strtoull(value[i].text, &end, 10);
		// SQLite keeps 63 bits of a positive integer.
		if (strspn(value[i].text, "0123456789") == 0 || *end || errno || seed > INT64_MAX)
			return node_fail(m->err, value[i].node, "seed '%s' is not a whole number from 0 to 2^63-1",
			        value[i].text);
		if (has_seed(spec, seed))
			return node_fail(m->err, value[i].node, "seed %" PRIu64 " is given twice", seed);
		spec->seed[spec->n_seed++] = seed;
	}
	for (uint64_t next = spec->seed[n - 1] + 1; spec->n_seed < n_seed; next++)
		if (!has_seed(spec, next & INT64_MAX))
			spec->seed[spec->n_seed++] = next & INT64_MAX;
	if (n_seed)
		spec->n_seed = n_seed;
	return 0;
}

// --- sections and scales ------------------------------------------------------------------------------------

static int read_sections(struct matrix *m, const struct node *from)
{
	for (int id = 0; id < N_SECTION; id++) {
		const struct node *section = node_find(from, section_name((enum section_id)id, m->procedure));
		if (section && matrix_section(m, (enum section_id)id, section))
			return -1;
	}
	const struct node *sweep = node_find(from, "sweep"), *match = node_find(from, "match");
	if (sweep && sweep_read(m, sweep))
		return -1;
	return match ? match_read(m, match) : 0;
}

// A scale's plain value of a swept option would be overridden unseen.
static int refuse_hidden(struct matrix *m, const struct node *scale)
{
	for (int id = 0; id < N_SECTION; id++) {
		const char *name = section_name((enum section_id)id, m->procedure);
		const struct node *section = node_find(scale, name);
		for (int i = 0; section && i < section->n_child; i++) {
			const struct node *key = section->key[i];
			if (matrix_axis(m, (enum section_id)id, key->text))
				return node_fail(m->err, key,
				        "'%s' is swept, so this value is not used (give the scale a sweep of '%s.%s')",
				        key->text, name, key->text);
		}
	}
	return 0;
}

// The mapping of overrides for this scale; NULL in *found where the spec has no scales at all.
static int find_scale(struct matrix *m, const struct node *root, const char *scale, const struct node **found)
{
	const struct node *scales = node_find(root, "scales");
	const char *known[] = {
	        "model", "variant", "task", "cache", m->procedure->section, "sweep", "match", "seeds", NULL};
	*found = NULL;
	if (!scales)
		return 0;
	if (mapping_check(scales, "scales", m->err) || keys_check(scales, scale_names, "scales", m->err))
		return -1;
	for (int i = 0; i < scales->n_child; i++) {
		const struct node *one = scales->child[i];
		if (mapping_check(one, scales->key[i]->text, m->err) ||
		        keys_check(one, known, scales->key[i]->text, m->err))
			return -1;
	}
	*found = node_find(scales, scale);
	if (!*found)
		return node_fail(m->err, scales, "no scale '%s' in this spec (add '%s: {}' for the spec as it stands)",
		        scale, scale);
	return 0;
}

static int find_procedure(struct matrix *m, const struct node *root)
{
	struct choice choice;
	struct err cause = {0};
	const struct node *node = node_find(root, "procedure");
	if (!node)
		return node_fail(m->err, root, "missing key 'procedure' ('kvlab list procedure' shows what there is)");
	if (node->kind != NODE_SCALAR)
		return node_fail(m->err, node, "'procedure' is not a text");
	if (choice_find(&choice, SECTION_PROCEDURE, node->text, &cause))
		return node_fail(m->err, node, "%s", cause.message);
	m->procedure = choice.what;
	return 0;
}

static int override_all(struct matrix *m, const struct spec_override *override, int n)
{
	for (int i = 0; i < n; i++) {
		struct node *node = arena_zalloc(m->arena, sizeof(*node));
		*node = (struct node){
		        .kind = NODE_SCALAR, .path = override[i].place, .text = override[i].value, .is_plain = 1};
		if (matrix_override(m, override[i].path, node))
			return -1;
	}
	return 0;
}

static int resolve(
        struct spec *spec, struct matrix *m, int n_seed, const struct spec_override *override, int n_override)
{
	const struct node *root = m->root, *scale, *seeds = node_find(root, "seeds");
	if (find_procedure(m, root))
		return -1;
	const char *known[] = {"experiment", "question", "paper", "procedure", "model", "variant", "task", "cache",
	        m->procedure->section, "sweep", "match", "seeds", "scales", "paper_values", "report", NULL};
	if (keys_check(root, known, NULL, m->err) ||
	        read_text(&spec->experiment, root, "experiment", 1, m->arena, m->err) ||
	        read_text(&spec->question, root, "question", 1, m->arena, m->err) ||
	        read_text(&spec->paper, root, "paper", 0, m->arena, m->err) || check_experiment(spec, root, m->err) ||
	        read_passed_on(spec, root, m->err))
		return -1;
	for (int id = 0; id < N_SECTION; id++)
		m->section[id] = node_find(root, section_name((enum section_id)id, m->procedure));
	if (read_sections(m, root) || find_scale(m, root, spec->scale, &scale))
		return -1;
	if (scale && (read_sections(m, scale) || refuse_hidden(m, scale)))
		return -1;
	if (scale && node_find(scale, "seeds"))
		seeds = node_find(scale, "seeds");
	if (read_seeds(m, spec, seeds, n_seed) || override_all(m, override, n_override) || matrix_check(m) ||
	        points_build(m, spec))
		return -1;
	spec->match_metric = match_metric_name(&m->match);
	return read_view(spec, m->err);
}

int spec_load(struct spec *spec, const char *path, const char *scale, int n_seed, struct arena *arena, struct err *err)
{
	return spec_load_with(spec, path, scale, n_seed, NULL, 0, arena, err);
}

int spec_load_with(struct spec *spec, const char *path, const char *scale, int n_seed,
        const struct spec_override *override, int n, struct arena *arena, struct err *err)
{
	memset(spec, 0, sizeof(*spec));
	const char *const *known = scale_names;
	while (*known && strcmp(*known, scale) != 0)
		known++;
	if (!*known) {
		const char *near = word_nearest(scale_names, scale);
		return near ? err_set(err, "unknown scale '%s' (did you mean '%s'?)", scale, near)
		            : err_set(err, "unknown scale '%s' (smoke, small, gpu or paper)", scale);
	}
	struct node *root;
	if (read_spec(&spec->text, &root, path, arena, err))
		return -1;
	struct matrix *m = arena_zalloc(arena, sizeof(*m));
	m->arena = arena;
	m->err = err;
	m->root = root;
	spec->arena = arena;
	spec->path = arena_strdup(arena, path);
	spec->scale = arena_strdup(arena, scale);
	return resolve(spec, m, n_seed, override, n);
}

int spec_procedure(const struct procedure **procedure, const char *path, struct arena *arena, struct err *err)
{
	struct node *root;
	char *text;
	struct matrix *m = arena_zalloc(arena, sizeof(*m));
	if (read_spec(&text, &root, path, arena, err))
		return -1;
	m->err = err;
	if (find_procedure(m, root))
		return -1;
	*procedure = m->procedure;
	return 0;
}

int spec_question(char **question, const char *path, struct arena *arena, struct err *err)
{
	char *text;
	struct node *root;
	*question = NULL;
	if (read_spec(&text, &root, path, arena, err))
		return -1;
	return read_text(question, root, "question", 1, arena, err);
}
