// SPDX-License-Identifier: MIT
#include "harness/bench/workload.h"

#include <string.h>

#include "harness/base/progress.h"

enum { SETTINGS = 8, SEED = 1 };

struct setting {
	const char *key, *value;
};
struct row {
	const char *name, *text, *family, *task;
	int batch;
	double weight_decay, target;
	int is_of_sgemm;
	struct setting task_setting[SETTINGS], model_setting[SETTINGS];
};

static const struct row rows[] = {
        {"small", "4 layers, d_model 64, 4 heads, d_ff 128; retrieval of 16 keys, 8 pairs (T 18, 1 scored); batch 64",
                "decoder", "retrieval", 64, 0, 0.7, 0, {{"n_key", "16"}, {"n_pair", "8"}},
                {{"n_layer", "4"}, {"d_model", "64"}, {"n_head", "4"}, {"d_ff", "128"}}},
        {"middle", "4 layers, d_model 256, 4 heads, d_ff 1024; copy-back of lag 8 (T 128, 121 scored); batch 32",
                "decoder", "copy_back", 32, 0, 0.7, 0, {{"length", "129"}},
                {{"n_layer", "4"}, {"d_model", "256"}, {"n_head", "4"}, {"d_ff", "1024"}}},
        {"gpt2",
                "GPT-2 124M: 12 layers, d_model 768, vocabulary 50257; random tokens (T 64, all scored); batch 4; "
                "AdamW",
                "gpt2-124m", "noise", 4, 0.01, 0.85, 1, {{"n_vocab", "50257"}, {"length", "64"}}, {{0}}},
        // On a device, without dropout as the peers' are.
        {"tiny", "a trial of the bench itself: 1 layer, d_model 16; random tokens (T 16)", "decoder", "noise", 4, 0.01,
                0, 0, {{"n_vocab", "32"}, {"length", "16"}},
                {{"n_layer", "1"}, {"d_model", "16"}, {"n_head", "2"}, {"d_ff", "16"}}},
        {"gpt2-124m", "GPT-2 124M; random tokens (T 1024)", "gpt2-124m", "noise", 32, 0.01, 0, 0,
                {{"n_vocab", "50257"}, {"length", "1024"}}, {{"dropout", "0"}}},
        {"gpt2-557m", "paper A's GPT-2 557M; random tokens (T 1024)", "gpt2-557m", "noise", 16, 0.01, 0, 0,
                {{"n_vocab", "50257"}, {"length", "1024"}}, {{"dropout", "0"}}},
        {"llama-3.2-1b", "Llama 3.2 1B; random tokens (T 2048)", "llama-3.2-1b", "noise", 8, 0.01, 0, 0,
                {{"n_vocab", "128256"}, {"length", "2048"}}, {{"dropout", "0"}}},
        {"smollm2",
                "SmolLM2 135M: 30 layers, d_model 576, 9 heads in 3 groups, vocabulary 49152; random tokens (T 64); "
                "batch 1",
                "smollm2-135m", "noise", 1, 0, 0, 0, {{"n_vocab", "49152"}, {"length", "64"}}, {{0}}},
};

static int set_all(const struct option *table, void *config, const struct setting *setting, struct err *err)
{
	for (; setting->key; setting++)
		if (option_set(table, config, setting->key, setting->value, err))
			return -1;
	return 0;
}

// "key=value key=value".
int workload_set_text(const struct option *table, void *config, const char *text, struct arena *arena, struct err *err)
{
	char *rest = arena_strdup(arena, text), *word;
	while ((word = strtok_r(rest, " ", &rest))) {
		char *value = strchr(word, '=');
		if (!value)
			BUG("bench: '%s' is no setting", word);
		*value++ = 0;
		if (option_set(table, config, word, value, err))
			return -1;
	}
	return 0;
}

static int set_family(struct model_config *model, const struct family *family, struct err *err)
{
	for (const struct family_default *d = family ? family->defaults : NULL; d && d->key; d++)
		if (option_set(model_options, model, d->key, d->value, err))
			return -1;
	return 0;
}

int workload_init(struct workload *w, const char *name, const struct workload_variant *variant, struct arena *arena,
        struct err *err)
{
	static const struct workload_variant mha = {"mha", "", ""};
	const struct row *row = NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, name) == 0)
			row = &rows[i];
	if (!row)
		return err_set(err, "bench: option '--model': there is no model '%s' (small, middle or gpt2)", name);
	variant = variant ? variant : &mha;
	*w = (struct workload){.name = row->name,
	        .text = row->text,
	        .batch = row->batch,
	        .target = row->target,
	        .is_of_sgemm = row->is_of_sgemm};
	w->optimizer = (struct optimizer_config){
	        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = row->weight_decay};
	struct setup *s = &w->setup;
	s->family = family_find(row->family);
	s->variant = variant_find(variant->name);
	s->task = task_find(row->task);
	if (!s->family || !s->task)
		BUG("bench: %s or %s is not registered", row->family, row->task);
	if (!s->variant)
		return err_set(err, "bench: there is no variant '%s'", variant->name);
	struct model_config *model = s->model = arena_zalloc(arena, model_config_bytes);
	s->variant_config = arena_zalloc(arena, s->variant->config_bytes + 1);
	s->task_config = arena_zalloc(arena, s->task->config_bytes);
	options_init(s->variant->options, s->variant_config);
	options_init(s->task->options, s->task_config);
	options_init(model_options, model);
	if (set_family(model, s->family->of, err) || set_family(model, s->family, err))
		return -1;
	if (set_all(s->task->options, s->task_config, row->task_setting, err) ||
	        set_all(model_options, model, row->model_setting, err) ||
	        workload_set_text(model_options, model, variant->model_options, arena, err) ||
	        workload_set_text(s->variant->options, s->variant_config, variant->options, arena, err))
		return -1;
	const struct task_shape shape = s->task->shape(s->task_config);
	if (model_config_resolve(model, shape.n_vocab, shape.T, err))
		return -1;
	const struct attn_dims dims = model_attn_dims(model);
	return s->variant->check ? s->variant->check(&dims, s->variant_config, err) : 0;
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

void stepper_profile(struct shares *shares, struct stepper *s, double seconds)
{
	struct profile profile;
	const struct backend *own = s->trainer.tape.backend;
	s->trainer.tape.backend = profile_start(&profile);
	int n = 0;
	stepper_run(s);
	memset(profile.spent_s, 0, sizeof(profile.spent_s));
	const double start = clock_s();
	do {
		stepper_run(s);
		n++;
	} while (clock_s() - start < seconds);
	shares->rest_s = shares->total_s = (clock_s() - start) / n;
	for (int kind = 0; kind < PROFILE_KINDS; kind++) {
		shares->spent_s[kind] = profile.spent_s[kind] / n;
		shares->rest_s -= shares->spent_s[kind];
	}
	s->trainer.tape.backend = own;
}
