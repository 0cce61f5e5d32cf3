// SPDX-License-Identifier: MIT
#include "harness/bench/workload.h"

#include <string.h>

enum { SETTINGS = 8, SEED = 1 };

struct setting {
	const char *key, *value;
};
struct row {
	const char *name, *text, *task;
	int batch;
	struct setting task_setting[SETTINGS], model_setting[SETTINGS];
};

static const struct row rows[] = {
        {"small", "4 layers, d_model 64, 4 heads, d_ff 128; retrieval of 16 keys, 8 pairs (T 18, 1 scored); batch 64",
                "retrieval", 64, {{"n_key", "16"}, {"n_pair", "8"}},
                {{"n_layer", "4"}, {"d_model", "64"}, {"n_head", "4"}, {"d_ff", "128"}}},
        {"middle", "4 layers, d_model 256, 4 heads, d_ff 1024; copy-back of lag 8 (T 128, 121 scored); batch 32",
                "copy_back", 32, {{"length", "129"}},
                {{"n_layer", "4"}, {"d_model", "256"}, {"n_head", "4"}, {"d_ff", "1024"}}},
};

static int set_all(const struct option *table, void *config, const struct setting *setting, struct err *err)
{
	for (; setting->key; setting++)
		if (option_set(table, config, setting->key, setting->value, err))
			return -1;
	return 0;
}

int workload_init(struct workload *w, const char *name, struct arena *arena, struct err *err)
{
	const struct row *row = NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, name) == 0)
			row = &rows[i];
	if (!row)
		return err_set(err, "bench: option '--model': there is no model '%s' (small or middle)", name);
	*w = (struct workload){.name = row->name, .text = row->text, .batch = row->batch};
	w->optimizer = (struct optimizer_config){.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
	struct setup *s = &w->setup;
	s->family = family_find("decoder");
	s->variant = variant_find("mha");
	s->task = task_find(row->task);
	if (!s->family || !s->variant || !s->task)
		BUG("bench: decoder, mha or %s is not registered", row->task);
	struct model_config *model = s->model = arena_zalloc(arena, model_config_bytes);
	s->variant_config = arena_zalloc(arena, s->variant->config_bytes + 1);
	s->task_config = arena_zalloc(arena, s->task->config_bytes);
	options_init(s->variant->options, s->variant_config);
	options_init(s->task->options, s->task_config);
	options_init(model_options, model);
	for (const struct family_default *d = s->family->defaults; d->key; d++)
		if (option_set(model_options, model, d->key, d->value, err))
			return -1;
	if (set_all(s->task->options, s->task_config, row->task_setting, err) ||
	        set_all(model_options, model, row->model_setting, err))
		return -1;
	const struct task_shape shape = s->task->shape(s->task_config);
	return model_config_resolve(model, shape.n_vocab, shape.T, err);
}

void stepper_init(struct stepper *s, const struct workload *w, int n_thread)
{
	trainer_init(&s->trainer, &w->setup, &w->optimizer, w->batch, SEED, n_thread);
	s->step = 0;
}

void stepper_run(void *stepper)
{
	struct stepper *s = stepper;
	trainer_step(&s->trainer, ++s->step);
}
