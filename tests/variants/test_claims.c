// SPDX-License-Identifier: MIT
// The banners' claims: with this setting, variant A is the same function as variant B. Both models are built from one
// seed, given the same tokens, and must have the same bits in logits and gradients.
#include <stdio.h>
#include <string.h>

#include "harness/base/number.h"
#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/settings.h"

enum { B = 2, T = SETTINGS_T, V = SETTINGS_VOCAB };

RIG_FIXTURE;

// A value is a number or the name of a field of the dimensions.
static const char *value_text(const char *value, const struct attn_dims *d, char text[NUMBER_TEXT])
{
	const struct {
		const char *name;
		int value;
	} field[] = {{"n_layer", d->n_layer}, {"d_model", d->d_model}, {"n_head", d->n_head},
	        {"n_kv_head", d->n_kv_head}, {"d_head", d->d_head}, {"n_ctx", d->n_ctx}};
	for (size_t i = 0; i < sizeof(field) / sizeof(*field); i++)
		if (!strcmp(value, field[i].name)) {
			snprintf(text, NUMBER_TEXT, "%d", field[i].value);
			return text;
		}
	return value;
}

// "key=value key=value" into a config of the variant; what it does not name keeps its default.
static void *configure(const struct variant *v, const char *setting, const struct attn_dims *dims)
{
	char copy[256], number[NUMBER_TEXT];
	struct err err = {0};
	void *config = arena_zalloc(&rig.memory, v->config_bytes);
	options_init(v->options, config);
	snprintf(copy, sizeof(copy), "%s", setting);
	for (char *rest = copy, *word; (word = strtok_r(rest, " ,", &rest));) {
		char *value = strchr(word, '=');
		if (!value)
			fail_msg("%s claims something of '%s', which is not key=value", v->name, setting);
		*value++ = '\0';
		if (option_set(v->options, config, word, value_text(value, dims, number), &err))
			fail_msg("%s claims something of '%s': %s", v->name, setting, err.message);
	}
	if (v->check && v->check(dims, config, &err)) {
		print_message("# %s with '%s' is refused here: %s\n", v->name, setting, err.message);
		return NULL;
	}
	return config;
}

struct outcome {
	struct model *model;
	real *logits, *dx;
};

static struct outcome run(const struct model_config *config, const struct variant *v, const void *setting,
        const int *tokens, const int *targets)
{
	struct outcome o = {.model = build_model(config, v, setting, test_seed(), &rig.memory)};
	rig_begin(&rig, TAPE_RECORD);
	rig.tape.dropout_step = 3;
	model_clear_gradients(o.model);
	struct tensor *logits = model_forward(&rig.tape, o.model, tokens, B, T, 0, T, NULL);
	o.logits = arena_alloc(&rig.memory, B * T * V * sizeof(real));
	memcpy(o.logits, logits->x, B * T * V * sizeof(real));
	op_cross_entropy(&rig.tape, logits, targets, NULL);
	tape_backward(&rig.tape);
	model_settle_gradients(o.model);
	o.dx = o.model->dx;
	return o;
}

// Gradients tensor by tensor: names may differ, order and shapes may not.
static void assert_same(const char *what, const struct outcome *a, const struct outcome *b)
{
	if (memcmp(a->logits, b->logits, B * T * V * sizeof(real)))
		fail_msg("%s: other logits", what);
	if (a->model->n_number != b->model->n_number || a->model->n_param != b->model->n_param)
		fail_msg("%s: %ld parameters against %ld", what, a->model->n_number, b->model->n_number);
	for (int i = 0; i < a->model->n_param; i++) {
		const struct tensor *x = &a->model->param[i].tensor, *y = &b->model->param[i].tensor;
		if (x->T != y->T || x->C != y->C || memcmp(x->dx, y->dx, (size_t)(x->T * x->C) * sizeof(real)))
			fail_msg("%s: other gradient of '%s'", what, a->model->param[i].name);
	}
}

static void the_equals_claims_hold_bit_for_bit(void **state UNUSED)
{
	for (const struct variant *const *v = variant_list; *v; v++)
		for (const struct equals_claim *claim = (*v)->equals; claim && claim->setting; claim++) {
			const struct variant *other = variant_find(claim->other);
			int n_tried = 0;
			if (!other)
				fail_msg("%s claims to equal '%s', which is not there", (*v)->name, claim->other);
			for (const struct settings_shape *shape = settings_shapes; shape->family; shape++) {
				const struct model_config *config = settings_config(shape, T, &rig.memory);
				const struct attn_dims dims = model_attn_dims(config);
				const void *mine = configure(*v, claim->setting, &dims);
				const void *its = configure(other, claim->other_setting, &dims);
				if (!mine || !its)
					continue;
				n_tried++;
				const int *tokens = rig_tokens(&rig, B * T, V), *targets = rig_tokens(&rig, B * T, V);
				const struct outcome a = run(config, *v, mine, tokens, targets);
				const struct outcome b = run(config, other, its, tokens, targets);
				const char *what = arena_printf(&rig.memory, "%s {%s} against %s {%s} in %s {%s}",
				        (*v)->name, claim->setting, claim->other, claim->other_setting, shape->family,
				        shape->settings);
				assert_same(what, &a, &b);
			}
			if (!n_tried)
				fail_msg("%s: no shape allows the claim '%s'", (*v)->name, claim->setting);
		}
}

// The comparison can fail: another setting is another function.
static void a_false_claim_would_be_seen(void **state UNUSED)
{
	const struct model_config *config = settings_config(&settings_shapes[1], T, &rig.memory);
	const struct attn_dims dims = model_attn_dims(config);
	const struct variant *thin = variant_find("thin_keys"), *mha = variant_find("mha");
	const int *tokens = rig_tokens(&rig, B * T, V), *targets = rig_tokens(&rig, B * T, V);
	const struct outcome a = run(config, thin, configure(thin, "d_select_per_head=2", &dims), tokens, targets);
	const struct outcome b = run(config, mha, configure(mha, "", &dims), tokens, targets);
	assert_memory_not_equal(a.logits, b.logits, B * T * V * sizeof(real));
	const struct outcome c = run(config, thin, configure(thin, "d_select=d_model", &dims), tokens, targets);
	assert_same("thin_keys {d_select=d_model}", &c, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_equals_claims_hold_bit_for_bit),
	        cmocka_unit_test(a_false_claim_would_be_seen),
	};
	return cmocka_run_group_tests_name("claims of variants", tests, setup, teardown);
}
