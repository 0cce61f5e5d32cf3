// SPDX-License-Identifier: MIT
// What the files of a family cannot say of a model: another variant, options of the model, tensors without a name
// there. It stands under "kvlab" in config.json, and the tensors are called "kvlab." and the parameter's name:
//     "kvlab": {"variant": {"name": "factored_keys", "d_select": 64, ...}, "model": {"n_kv_head": 2}}
// Attention is then all under its own names, since a family's tensor may hold several of plain attention's parameters.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/pretrained/internal.h"
#include "harness/registry.h"

static const char *const section = "kvlab";
const char *const own_architecture = "KvlabModel";

int own_is_there(const struct value *object)
{
	return value_find(object, section) != NULL;
}

// --- reading -------------------------------------------------------------------------------------------------------

// Sets options from an object's values; `skip` is no option.
static int read_options(
        const struct option *table, void *config, const struct value *object, const char *skip, struct err *err)
{
	for (size_t i = 0; i < object->n; i++) {
		const struct value *v = &object->item[i];
		struct err cause = {0};
		char word[WORD];
		if (skip && !strcmp(v->key, skip))
			continue;
		value_word(word, v);
		if (option_set(table, config, v->key, word, &cause))
			return err_set(err, "%s: %s", object->place, cause.message);
	}
	return 0;
}

// An object within the section; *out NULL where there is none.
static int find_part(const struct value **out, const struct value *object, const char *name, struct err *err)
{
	const struct value *own = NULL;
	*out = NULL;
	if (value_object(object, section, VALUE_OPTIONAL, &own, err))
		return -1;
	return own ? value_object(own, name, VALUE_OPTIONAL, out, err) : 0;
}

int own_read_model(struct model_config *config, const struct value *object, struct err *err)
{
	const struct value *part;
	if (find_part(&part, object, "model", err))
		return -1;
	return part ? read_options(model_options, config, part, NULL, err) : 0;
}

int own_read_variant(
        const struct variant **variant, void **config, const struct value *object, struct arena *arena, struct err *err)
{
	const struct value *part;
	const char *name;
	*variant = NULL;
	if (find_part(&part, object, "variant", err))
		return -1;
	if (!part)
		return 0;
	if (value_text(part, "name", VALUE_REQUIRED, &name, err))
		return -1;
	*variant = variant_find(name);
	if (!*variant)
		return err_set(err, "%s: there is no variant '%s'", part->place, name);
	*config = arena_zalloc(arena, (*variant)->config_bytes);
	options_init((*variant)->options, *config);
	return read_options((*variant)->options, *config, part, "name", err);
}

int own_check_variant(const struct variant *variant, const struct attn_dims *dims, const void *config,
        const char *place, struct err *err)
{
	struct err cause = {0};
	if (variant->check && variant->check(dims, config, &cause))
		return err_set(err, "%s: %s: %s", place, section, cause.message);
	return 0;
}

// --- writing -------------------------------------------------------------------------------------------------------

int own_is_needed(const struct model *m, const struct model_config *said)
{
	struct param_shape shape[VARIANT_PARAMS];
	const int n = m->variant->params(&m->dims, m->variant_config, shape);
	for (int i = QKV_PARAMS; i < n; i++)
		if (shape[i].rows)
			return 1;
	for (const struct option *o = model_options; o->key; o++)
		if (model_option_differs(o, &m->config, said))
			return 1;
	return !m->variant->is_plain;
}

void own_print(FILE *out, const struct model *m, const struct model_config *said)
{
	fprintf(out, ",\n  \"%s\": {\n    \"variant\": {\n      \"name\": \"%s\"", section, m->variant->name);
	for (const struct option *o = m->variant->options; o->key; o++) {
		fprintf(out, ",\n      \"%s\": ", o->key);
		option_print(out, o, m->variant_config);
	}
	fputs("\n    }", out);
	int n = 0;
	for (const struct option *o = model_options; o->key; o++) {
		if (!model_option_differs(o, &m->config, said))
			continue;
		fprintf(out, "%s\n      \"%s\": ", n++ ? "," : ",\n    \"model\": {", o->key);
		option_print(out, o, &m->config);
	}
	fputs(n ? "\n    }\n  }" : "\n  }", out);
}

// --- tensors -------------------------------------------------------------------------------------------------------

// The parameter that a row is of; layer 0's stands for all layers.
static const struct model_param *param_of(const struct model *m, const struct family_tensor *row)
{
	char name[64];
	snprintf(name, sizeof(name), "%s%s", strstr(row->name, "%d") ? "layer.0." : "", row->param);
	return model_find(m, name);
}

const struct family_tensor *own_tensors(const struct model *m, const struct family_tensor *theirs, struct arena *arena)
{
	size_t n = 0;
	for (const struct family_tensor *row = theirs; row->param; row++)
		n++;
	struct family_tensor *table = arena_zalloc(arena, (n + (size_t)m->n_param + 1) * sizeof(*table)), *end = table;
	char *has_place = arena_zalloc(arena, (size_t)m->n_param);
	for (const struct family_tensor *row = theirs; row->param; row++) {
		const struct model_param *p = param_of(m, row);
		if (p && p->is_attention)
			continue;
		*end++ = *row;
		if (p)
			has_place[p - m->param] = 1;
	}
	for (int i = 0; i < m->n_param; i++) {
		const char *name = m->param[i].name, *inner = strncmp(name, "layer.0.", 8) ? NULL : name + 8;
		if (has_place[i] || (!strncmp(name, "layer.", 6) && !inner))
			continue;
		*end++ = (struct family_tensor){
		        inner ? inner : name, inner ? arena_printf(arena, "%s.layer.%%d.%s", section, inner)
		                                    : arena_printf(arena, "%s.%s", section, name)};
	}
	return table;
}
