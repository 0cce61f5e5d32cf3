// SPDX-License-Identifier: MIT
// Compress a trained model and win back what that costs (paper B, reference B.1, B.2.5, B.2.8): a base model is
// converted to the point's variant (section `variant`, how: the options from `factor` on), measured against the base on
// test text, fine-tuned where steps > 0, and measured again. Section `model` is the base's shape; the task is running
// text (text, documents: packed). All is measured through what the `cache` section stores.
//
// Metrics have the split of what they are of: `base`, `converted` (not tuned), `tuned` (steps > 0), `dense` (rank_kept:
// false: tuned, before it is cut again) with loss, loss_error, perplexity, and against the base kl (base || it), excess
// (of the loss, by the same tokens), both with errors, and agreement (same most likely token). What the run ends with
// is also `test`, so that the views of language models apply. `validation` is the curve: the loss before tuning (step
// 0) and at about log-spaced steps; n_tuned_token at the same steps.
//
// rank_kept: true trains the factors. false does as the authors' code: the product of the factors is one dense matrix,
// trained without a rank constraint; `tuned` is what is left after it is cut to the same rank again, `dense` what it
// was before, whose cache is not small.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/progress.h"
#include "harness/model/convert.h"
#include "harness/run/base_model.h"
#include "harness/run/perplexity.h"
#include "harness/run/trainer.h"

enum { NAMES_TEXT = 128 };

struct recover {
	struct base_config base;
	struct attn_conversion how;
	int n_calibration, n_train;
	int steps, batch, warmup, schedule, rank_kept;
	double lr, lr_floor, beta2, weight_decay, clip;
	char train_only[NAMES_TEXT];
	int n_validation, n_test, stride;
};

#define FIELD(f) offsetof(struct recover, f)
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
        {NULL},
};

// The conversion to whole keys whose matrix is the product of the variant's factors: its rank is the variant's own.
static struct attn_conversion dense_conversion(const struct setup *setup)
{
	const struct recover *c = setup->procedure_config;
	struct attn_conversion how = c->how;
	static const struct {
		const char *key;
		size_t at;
	} shared[] = {{"d_select", offsetof(struct attn_conversion, d_select)},
	        {"per", offsetof(struct attn_conversion, per)}};
	for (size_t i = 0; i < sizeof(shared) / sizeof(*shared); i++) {
		const struct option *o =
		        setup->variant->options ? option_find(setup->variant->options, shared[i].key) : NULL;
		if (o && !setup->variant->is_plain)
			memcpy((char *)&how + shared[i].at, (const char *)setup->variant_config + o->offset,
			        sizeof(int));
	}
	return how;
}

static int check(const struct setup *setup, struct err *err)
{
	const struct recover *c = setup->procedure_config;
	const struct task_shape shape = setup->task->shape(setup->task_config);
	const struct task_data data = {
	        .task = setup->task, .config = setup->task_config, .n_train = c->n_train, .batch = c->batch};
	const struct model_config *model = setup->model;
	const struct model_conversion conversion = {
	        .variant = setup->variant, .config = setup->variant_config, .how = c->how};
	if (!shape.is_partitioned || shape.n_slice > 1 || shape.target_from || shape.n_target != shape.T)
		return err_set(err, "recover needs running text (task: {name: text, documents: packed})");
	if (shape.T > model->n_ctx)
		return err_set(err, "sequences of the task are longer than n_ctx %d", model->n_ctx);
	if (model_convert_check(model, &conversion, err))
		return -1;
	if (c->warmup > c->steps)
		return err_set(err, "a warm-up of %d steps does not fit into steps %d", c->warmup, c->steps);
	if (c->lr_floor > c->lr)
		return err_set(err, "lr_floor %g is above lr %g", c->lr_floor, c->lr);
	if (!c->rank_kept && (setup->variant->is_plain || !c->steps))
		return err_set(err, "rank_kept: false needs steps, and a variant that has a rank");
	if (!c->rank_kept && c->how.ranks != RANKS_UNIFORM)
		return err_set(err, "rank_kept: false makes matrices of one rank: set ranks to uniform");
	if (c->stride > shape.T)
		return err_set(err, "stride %d is longer than the windows of %d tokens", c->stride, shape.T);
	if (c->n_validation > shape.n_validation || c->n_test > shape.n_test || c->n_calibration > shape.n_train)
		return err_set(err, "the text has %ld validation, %ld test and %ld training sequences: make %s smaller",
		        shape.n_validation, shape.n_test, shape.n_train,
		        c->n_validation > shape.n_validation ? "n_validation"
		        : c->n_test > shape.n_test           ? "n_test"
		                                             : "n_calibration");
	if (task_data_check(&data, err) || trainer_check_cache(setup, err))
		return -1;
	return base_model_check(setup, &c->base, err);
}

static int estimate(const struct setup *setup, struct cost *cost, struct err *err)
{
	(void)err;
	const struct recover *c = setup->procedure_config;
	struct model_config model = model_convert_config(setup->model, &c->how);
	const struct attn_dims dims = model_attn_dims(&model);
	const struct task_shape shape = setup->task->shape(setup->task_config);
	struct setup made = *setup;
	made.model = &model;
	const struct step_cost step = trainer_count(&made, c->batch);
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
	cost->memory_bytes = (c->steps ? 6.0 : 2.0) * step.n_param * sizeof(real) + 2 * step.tensor_bytes;
	cost->cache_bytes_per_token =
	        cache_bytes_per_token(setup->cache, setup->variant, &dims, setup->variant_config, shape.T);
	return 0;
}

// --- running ---------------------------------------------------------------------------------------------------------

struct recovery {
	const struct setup *setup;
	const struct recover *config;
	struct run_log *log;
	struct task_shape shape;
	struct pretrained base;
	int *test, *calibration; // running ids: n_test T + 1 of the test part, n_calibration T of the training part
	long n_test, n_calibration;
	uint64_t seed;
	int n_thread;
	struct arena memory;
	struct err *err;
};

// Sequences 0..n-1 of a purpose one behind the other: they are consecutive windows, so this is the text itself.
static int *running_text(struct recovery *r, enum rng_purpose purpose, int n)
{
	const int T = r->shape.T;
	int *ids = arena_alloc(&r->memory, ((size_t)n * (size_t)T + 1) * sizeof(int));
	int *targets = arena_alloc(&r->memory, (size_t)T * sizeof(int));
	for (int i = 0; i < n; i++)
		r->setup->task->draw(r->setup->task_config, 0, purpose, (uint64_t)i, ids + (ptrdiff_t)i * T, targets);
	ids[(ptrdiff_t)n * T] = targets[T - 1];
	return ids;
}

static int stopped(const struct recovery *r, double done)
{
	return r->log->tick && r->log->tick(r->log->context, done);
}

static int measure(struct recovery *r, struct model *model, const char *split, const struct cache_config *cache,
        struct perplexity *p)
{
	const struct perplexity_config how = {.context = r->shape.T,
	        .stride = r->config->stride ? r->config->stride : r->shape.T,
	        .n_thread = r->n_thread,
	        .cache = cache,
	        .reference = model == &r->base.model ? NULL : &r->base.model};
	if (perplexity_measure(p, model, r->test, r->n_test, &how, r->err))
		return -1;
	run_log_metric(r->log, "loss", split, -1, p->loss.mean);
	run_log_metric(r->log, "perplexity", split, -1, p->perplexity.mean);
	if (isfinite(p->loss.standard_error))
		run_log_metric(r->log, "loss_error", split, -1, p->loss.standard_error);
	if (!how.reference) {
		run_log_metric(r->log, "n_block", split, -1, (double)p->n_block);
		return 0;
	}
	run_log_metric(r->log, "kl", split, -1, p->kl.mean);
	run_log_metric(r->log, "excess", split, -1, p->excess.mean);
	run_log_metric(r->log, "agreement", split, -1, p->agreement);
	if (isfinite(p->kl.standard_error))
		run_log_metric(r->log, "kl_error", split, -1, p->kl.standard_error);
	if (isfinite(p->excess.standard_error))
		run_log_metric(r->log, "excess_error", split, -1, p->excess.standard_error);
	return 0;
}

// What the run ends with, under the names that language models' views read.
static void report_final(struct recovery *r, const struct perplexity *p)
{
	run_log_metric(r->log, "loss", "test", -1, p->loss.mean);
	run_log_metric(r->log, "perplexity", "test", -1, p->perplexity.mean);
	run_log_metric(r->log, "accuracy", "test", -1, p->accuracy);
	run_log_metric(r->log, "n_target", "test", -1, (double)p->n_token);
	if (isfinite(p->loss.standard_error))
		run_log_metric(r->log, "loss_error", "test", -1, p->loss.standard_error);
}

static void report_cache(
        struct recovery *r, const struct model *model, const char *split, const struct cache_config *types)
{
	const struct cache_bytes bytes = cache_count(types, model->variant, &model->dims, model->variant_config);
	run_log_metric(r->log, "cache_bytes_per_token", split, -1, bytes.per_token);
	run_log_metric(r->log, "key_bytes_per_token", split, -1, bytes.key_per_token);
	run_log_metric(r->log, "n_param", split, -1, (double)model->n_number);
}

static int convert(struct recovery *r, struct model *out, const struct model *in, const struct variant *variant,
        const void *variant_config, struct attn_conversion how)
{
	struct calibration calibration;
	struct model_conversion conversion = {
	        .variant = variant, .config = variant_config, .how = how, .n_thread = r->n_thread};
	if (how.whiten || how.ranks != RANKS_UNIFORM) {
		if (model_calibrate(&calibration, in, r->calibration, r->n_calibration, r->shape.T, r->n_thread,
		            &r->memory, r->err))
			return -1;
		if (how.ranks == RANKS_FISHER && model_fisher(&calibration, in, r->calibration, r->n_calibration,
		                                         r->shape.T, r->n_thread, &r->memory, r->err))
			return -1;
		conversion.calibration = &calibration;
	}
	return model_convert(out, in, &conversion, &r->memory, r->err);
}

static void report_curve(struct recovery *r, struct trainer *t, long step)
{
	const struct evaluation e = trainer_evaluate(t, RNG_VALIDATION, r->config->n_validation, NULL);
	run_log_metric(r->log, "loss", "validation", step, e.loss.mean);
	run_log_metric(
	        r->log, "n_tuned_token", "validation", step, (double)step * r->config->batch * (double)r->shape.T);
}

// Tunes a copy of `start`. 0, 1 diverged, 2 stopped, -1 failed; the trainer is to be released after 0 and 1.
static int tune(struct recovery *r, struct trainer *t, const struct model *start)
{
	const struct recover *c = r->config;
	const struct optimizer_config optimizer = {.lr = c->lr,
	        .lr_floor = c->lr_floor,
	        .beta1 = 0.9,
	        .beta2 = c->beta2,
	        .eps = 1e-8,
	        .weight_decay = c->weight_decay,
	        .clip = c->clip,
	        .schedule = c->schedule,
	        .warmup = c->warmup,
	        .steps = c->steps};
	struct setup setup = *r->setup; // of what is tuned: `start` may have other heads and ranks than the spec says
	struct model_config config = start->config;
	setup.model = &config;
	setup.variant = start->variant;
	setup.variant_config = (void *)start->variant_config;
	if (trainer_init_from(t, &setup, &optimizer, c->batch, r->seed, r->n_thread, start,
	            *c->train_only ? c->train_only : NULL, r->err))
		return -1;
	t->data.n_train = c->n_train;
	run_log_metric(r->log, "n_param_tuned", "count", -1, (double)t->model.n_trained);
	report_curve(r, t, 0);
	double ticked_s = 0;
	long next = 1;
	for (long step = 1; step <= c->steps; step++) {
		const struct loss loss = trainer_step(t, step);
		if (!isfinite(loss.mean)) {
			run_log_metric(r->log, "loss", "train", step, loss.mean);
			return 1;
		}
		if (step == next || step == c->steps) {
			report_curve(r, t, step);
			next += next / 2 + 1;
		}
		const double now = clock_s();
		if (now - ticked_s < 0.5)
			continue;
		ticked_s = now;
		if (stopped(r, (double)step / c->steps)) {
			trainer_release(t);
			return 2;
		}
	}
	return 0;
}

static int tune_and_measure(struct recovery *r, const struct model *converted, struct perplexity *p)
{
	const struct cache_config *types = trainer_has_cache(r->setup) ? r->setup->cache : NULL;
	const struct attn_conversion how = r->config->how, to_dense = dense_conversion(r->setup);
	struct model dense, cut;
	struct trainer t;
	const struct model *start = converted;
	if (!r->config->rank_kept) {
		if (convert(r, &dense, &r->base.model, r->base.model.variant, r->base.model.variant_config, to_dense))
			return -1;
		start = &dense;
	}
	int status = tune(r, &t, start);
	if (status == 2 || status < 0)
		return status;
	if (status == 0 && r->config->rank_kept) {
		status = measure(r, &t.model, "tuned", types, p);
	} else if (status == 0) {
		status = measure(r, &t.model, "dense", NULL, p);
		if (!status)
			status = convert(r, &cut, &t.model, r->setup->variant, r->setup->variant_config, how);
		if (!status)
			status = measure(r, &cut, "tuned", types, p);
	}
	trainer_release(&t);
	return status;
}

static int recover(struct recovery *r)
{
	const struct cache_config *types = trainer_has_cache(r->setup) ? r->setup->cache : NULL;
	struct perplexity p;
	struct model converted;
	if (measure(r, &r->base.model, "base", NULL, &p))
		return -1;
	report_cache(r, &r->base.model, "base", NULL);
	const double began_s = clock_s();
	if (convert(r, &converted, &r->base.model, r->setup->variant, r->setup->variant_config, r->config->how))
		return -1;
	run_log_metric(r->log, "convert_s", "time", -1, clock_s() - began_s);
	report_cache(r, &converted, "count", r->setup->cache);
	if (measure(r, &converted, "converted", types, &p))
		return -1;
	if (r->config->steps) {
		const int status = tune_and_measure(r, &converted, &p);
		if (status)
			return status;
	}
	report_final(r, &p);
	return 0;
}

static int run(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log, struct err *err)
{
	const struct recover *c = setup->procedure_config;
	struct recovery r = {.setup = setup,
	        .config = c,
	        .log = log,
	        .shape = setup->task->shape(setup->task_config),
	        .seed = seed,
	        .n_thread = n_thread,
	        .err = err};
	arena_init(&r.memory, 1 << 20);
	int status = base_model_open(&r.base, setup, &c->base, n_thread, log, &r.memory, err);
	if (!status) {
		r.n_test = (long)c->n_test * r.shape.T + 1;
		r.n_calibration = (long)c->n_calibration * r.shape.T;
		r.test = running_text(&r, RNG_TEST, c->n_test);
		r.calibration = running_text(&r, RNG_TRAIN, c->n_calibration);
		status = recover(&r);
		if (status == 0 || status == 1)
			run_log_metric(log, "diverged", "train", -1, status);
		pretrained_close(&r.base);
	}
	arena_release(&r.memory);
	return status;
}

const struct procedure procedure_recover = {
        .name = "recover",
        .summary = "compress a trained model, measure it against the original, win back what it lost by fine-tuning",
        .section = "recover",
        .version = 1,
        .config_bytes = sizeof(struct recover),
        .options = options,
        .check = check,
        .estimate = estimate,
        .run = run,
};
