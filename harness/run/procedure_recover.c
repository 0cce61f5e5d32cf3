// SPDX-License-Identifier: MIT
// Compress a trained model and win back what that costs (paper B, reference B.1, B.2.5, B.2.8): a base model is
// converted to the point's variant (section `variant`, how: the options from `factor` on), measured against the base on
// test text, fine-tuned where steps > 0, and measured again. Section `model` is the base's shape; the task is running
// text (text, documents: packed). All is measured through what the `cache` section stores.
// Metrics and rank_kept: recovery.h.
#include "harness/run/recovery.h"
#include "harness/run/source_model.h"
#include "harness/run/trainer.h"

#define FIELD(f) offsetof(struct recovery_config, f)
static const struct option options[] = {
        {"source", OPTION_TEXT, FIELD(base.source), "", 0, PATH_TEXT, NULL,
                "folder or file of the model to begin with; empty: one that is trained here once and kept"},
        {"base_folder", OPTION_TEXT, FIELD(base.folder), "results/models", 0, PATH_TEXT, NULL, "where it is kept"},
        {"base_seed", OPTION_INT, FIELD(base.seed), "1", 0, 1 << 30, NULL, "of its weights and batches"},
        {"base_steps", OPTION_INT, FIELD(base.steps), "1000", 1, 1 << 30, NULL, "its training steps"},
        {"base_batch", OPTION_INT, FIELD(base.batch), "32", 1, 1 << 20, NULL, "its sequences per step"},
        {"base_warmup", OPTION_INT, FIELD(base.warmup), "50", 0, 1 << 30, NULL, "its steps of linear rise"},
        {"base_lr", OPTION_REAL, FIELD(base.lr), "0.002", 0, 10, NULL,
                "its highest learning rate (AdamW, cosine to a tenth)"},
        CONVERSION_OPTIONS(FIELD(how)),
        {"share", OPTION_REAL, FIELD(share), "0", 0, 1, NULL,
                "d_select, told as a share of the width of the keys that n_kv_head leaves (2/3); 0: not told so", 1},
        {"kv_share", OPTION_REAL, FIELD(kv_share), "0", 0, 1, NULL,
                "n_kv_head, told as a share of the model's; 0: not told so", 1},
        {"n_calibration", OPTION_INT, FIELD(n_calibration), "64", 1, 1 << 20, NULL,
                "training sequences of the calibration text (whiten, ranks: energy and fisher)"},
        {"steps", OPTION_INT, FIELD(steps), "0", 0, 1 << 30, NULL, "fine-tuning steps; 0: none"},
        {"n_train", OPTION_INT, FIELD(n_train), "0", 0, 1 << 30, NULL,
                "training sequences that are tuned on, used again each epoch; 0: all of the text"},
        {"train_only", OPTION_TEXT, FIELD(train_only), "", 0, NAMES_TEXT, NULL,
                "parameters that are tuned, 'w_q b_q w_latent w_up': names as in a saved model, without the layer; "
                "empty: all"},
        {"rank_kept", OPTION_BOOL, FIELD(rank_kept), "true", 0, 1, NULL,
                "tune the factors; false: their dense product, which is cut again afterwards"},
        {"lr", OPTION_REAL, FIELD(lr), "5e-05", 0, 10, NULL, "highest learning rate of tuning"},
        {"lr_floor", OPTION_REAL, FIELD(lr_floor), "5e-06", 0, 10, NULL, "learning rate at its last step"},
        {"schedule", OPTION_CHOICE, FIELD(schedule), "cosine", 0, 0, "constant|linear|cosine", "after the warm-up"},
        {"warmup", OPTION_INT, FIELD(warmup), "0", 0, 1 << 30, NULL, "steps of linear rise"},
        {"batch", OPTION_INT, FIELD(batch), "16", 1, 1 << 20, NULL, "sequences per step"},
        {"beta2", OPTION_REAL, FIELD(beta2), "0.999", 0, 0.999999, NULL, "AdamW: decay of the second moment"},
        {"weight_decay", OPTION_REAL, FIELD(weight_decay), "0.01", 0, 10, NULL, "decoupled, on matrices"},
        {"clip", OPTION_REAL, FIELD(clip), "1", 0, 1e9, NULL, "largest global norm of the gradient; 0: none"},
        {"n_validation", OPTION_INT, FIELD(n_validation), "128", 1, 1 << 24, NULL, "validation sequences of the curve"},
        {"n_test", OPTION_INT, FIELD(n_test), "256", 2, 1 << 24, NULL, "sequences of test text, one behind the other"},
        {"stride", OPTION_INT, FIELD(stride), "0", 0, 1 << 20, NULL,
                "tokens between windows of the task's length on the test text; 0: windows do not overlap"},
        PLACE_OPTIONS(FIELD(place)),
        {NULL},
};

static int resolve(struct setup *setup, struct err *err)
{
	return recovery_resolve(setup, setup->procedure_config, err);
}

static int check(const struct setup *setup, struct err *err)
{
	const struct recovery_config *c = setup->procedure_config;
	return recovery_check(setup, c, err) || base_model_check(setup, &c->base, err) ? -1 : 0;
}

static uint64_t content(const struct setup *setup)
{
	const struct recovery_config *c = setup->procedure_config;
	return *c->base.source ? source_model_hash(c->base.source) : 0;
}

static int estimate(const struct setup *setup, struct cost *cost, struct err *err)
{
	(void)err;
	const struct recovery_config *c = setup->procedure_config;
	struct model_config model = model_convert_config(setup->model, &c->how);
	const struct attn_dims dims = model_attn_dims(&model);
	const struct task_shape shape = setup->task->shape(setup->task_config);
	struct setup made = *setup;
	made.model = &model;
	const struct place_bytes need = recovery_bytes(setup, c);
	cost->recomputes = place_recomputes(&c->place, &need);
	const struct step_cost step = trainer_count(&made, c->batch, cost->recomputes);
	const double sequence = step.forward.flops / c->batch;
	int n_curve = 1;
	for (long s = 1; s <= c->steps; s += s / 2 + 1)
		n_curve++;
	// The base is measured beside what is measured. Its training is counted nowhere: one run of a grid pays for
	// all.
	cost->n_param = (double)step.n_param;
	cost->flops =
	        c->steps * (step.forward.flops + step.backward.flops) +
	        sequence * (c->n_calibration + 4.0 * c->n_test + (c->steps ? n_curve * (double)c->n_validation : 0));
	// On a device the base, what it becomes and checkpoints stay here.
	const double bytes = place_needs(&need, cost->recomputes);
	cost->device_bytes = place_is_apart(&c->place) ? bytes : 0;
	cost->memory_bytes = place_is_apart(&c->place) ? 9.0 * step.n_param * sizeof(real) : bytes;
	cost->cache_bytes_per_token =
	        cache_bytes_per_token(setup->cache, setup->variant, &dims, setup->variant_config, shape.T);
	return 0;
}

static int admit(const struct setup *setup, struct err *err)
{
	const struct recovery_config *c = setup->procedure_config;
	const struct place_bytes need = recovery_bytes(setup, c);
	return place_admit(&c->place, &need, err);
}

static int run(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log, struct err *err)
{
	const struct recovery_config *c = setup->procedure_config;
	struct pretrained base;
	struct arena memory;
	arena_init(&memory, 1 << 20);
	int status = base_model_open(&base, setup, &c->base, &c->place, n_thread, log, &memory, err);
	if (!status) {
		const struct recovery recovery = {.setup = setup,
		        .config = c,
		        .base = &base.model,
		        .seed = seed,
		        .n_thread = n_thread,
		        .log = log};
		status = recovery_run(&recovery, err);
		if (status == 0 || status == 1)
			run_log_metric(log, "diverged", "train", -1, status);
		pretrained_close(&base);
	}
	arena_release(&memory);
	return status;
}

const struct procedure procedure_recover = {
        .name = "recover",
        .summary = "compress a trained model, measure it against the original, win back what it lost by fine-tuning",
        .section = "recover",
        .version = 1,
        .config_bytes = sizeof(struct recovery_config),
        .options = options,
        .resolve = resolve,
        .check = check,
        .content = content,
        .estimate = estimate,
        .admit = admit,
        .run = run,
};
