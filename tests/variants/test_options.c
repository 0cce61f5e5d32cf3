// SPDX-License-Identifier: MIT
// A thousand random settings of every variant in random models: each is refused with a sentence, or it runs forward
// and backward with finite numbers and counts the same shapes.
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/registry.h"
#include "tests/model/build.h"
#include "tests/num/rig.h"
#include "tests/test.h"
#include "tests/variants/settings.h"

enum { SETTINGS = 1000, B = 2, T = 7, V = SETTINGS_VOCAB, RUN_MOST = 200000 };

RIG_FIXTURE;

// One line, lower case, no full stop, more than a word: "d_select 7 is not divisible by n_head 4".
static void assert_is_sentence(const char *variant, const char *setting, const struct err *err)
{
	const size_t n = strlen(err->message);
	if (!err->is_set || n < 10 || strchr(err->message, '\n') || !strchr(err->message, ' ') ||
	        isupper((unsigned char)err->message[0]) || err->message[n - 1] == '.')
		fail_msg("%s {%s} is refused with '%s', which is no sentence", variant, setting, err->message);
}

static void run(const struct model_config *config, const struct variant *v, const void *setting, const char *what)
{
	const int *tokens = rig_tokens(&rig, B * T, V), *targets = rig_tokens(&rig, B * T, V);
	struct model shapes;
	model_init(&shapes, config, v, setting, &rig.memory);
	rig_begin(&rig, TAPE_COUNT);
	model_forward(&rig.tape, &shapes, NULL, B, T, 0, T, NULL);
	const struct tally counted = rig.tape.forward;
	if (!(isfinite(counted.flops) && counted.flops > 0))
		fail_msg("%s: counts %g FLOPs", what, counted.flops);
	if (shapes.n_number > RUN_MOST)
		return; // accepted, and too large to run here
	struct model *m = build_model(config, v, setting, test_seed(), &rig.memory);
	rig_begin(&rig, TAPE_RECORD);
	model_clear_gradients(m);
	struct tensor *logits = model_forward(&rig.tape, m, tokens, B, T, T - 2, 2, NULL);
	assert_true(logits->B == B && logits->T == 2 && logits->C == V);
	if (!isfinite(op_cross_entropy(&rig.tape, logits, targets, NULL).mean))
		fail_msg("%s: the loss is not finite", what);
	tape_backward(&rig.tape);
	model_settle_gradients(m);
	const struct exec exec = op_exec(&rig.tape);
	if (!isfinite(backend_cpu.sum_squares(&exec, m->dx, m->n_padded)))
		fail_msg("%s: a gradient is not finite", what);
}

static void random_settings_run_or_are_refused_with_a_sentence(void **state UNUSED)
{
	for (const struct variant *const *v = variant_list; *v; v++) {
		int n_refused = 0;
		for (int i = 0; i < SETTINGS; i++) {
			const struct arena_mark mark = arena_mark(&rig.memory);
			struct rng rng = rig_rng(&rig);
			struct err err = {0};
			const struct model_config *config = settings_random_config(&rng, &rig.memory);
			const struct attn_dims dims = model_attn_dims(config);
			void *setting = arena_zalloc(&rig.memory, (*v)->config_bytes);
			settings_draw(setting, *v, &dims, &rng);
			const char *text = settings_text(*v, setting, &rig.memory);
			if ((*v)->check && (*v)->check(&dims, setting, &err)) {
				assert_is_sentence((*v)->name, text, &err);
				n_refused++;
			} else {
				assert_false(err.is_set);
				run(config, *v, setting,
				        arena_printf(&rig.memory,
				                "%s {%s}, n_head %d, n_kv_head %d, d_model %d, d_head %d", (*v)->name,
				                text, dims.n_head, dims.n_kv_head, dims.d_model, dims.d_head));
			}
			arena_rewind(&rig.memory, mark);
		}
		printf("# %s: %d of %d random settings are refused\n", (*v)->name, n_refused, SETTINGS);
		assert_true(n_refused < SETTINGS * 99 / 100);
	}
}

// Tables are complete: a summary, help and defaults within range, names that a spec can hold.
static void tables_are_complete(void **state UNUSED)
{
	for (const struct variant *const *v = variant_list; *v; v++) {
		assert_true((*v)->name[0] && strlen((*v)->summary) > 10);
		assert_true((*v)->params && (*v)->streams && (*v)->forward && (*v)->options);
		assert_ptr_equal(variant_find((*v)->name), *v);
		void *config = arena_zalloc(&rig.memory, (*v)->config_bytes);
		options_init((*v)->options, config); // aborts when a default is out of range
		for (const struct option *o = (*v)->options; o->key; o++) {
			assert_true(o->help && strlen(o->help) > 5);
			assert_true(o->offset < (*v)->config_bytes);
			for (const char *c = o->key; *c; c++)
				assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(random_settings_run_or_are_refused_with_a_sentence),
	        cmocka_unit_test(tables_are_complete),
	};
	return cmocka_run_group_tests_name("options of variants", tests, setup, teardown);
}
