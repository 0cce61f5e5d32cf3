// SPDX-License-Identifier: MIT
#include "harness/run/recovery.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/hash.h"
#include "harness/base/progress.h"
#include "harness/run/perplexity.h"
#include "harness/run/trainer.h"

// The conversion to whole keys whose matrix is the product of the variant's factors: its rank is the variant's own.
static struct attn_conversion dense_conversion(const struct setup *setup, const struct recovery_config *c)
{
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

static int check_text(const struct setup *setup, const struct recovery_config *c, struct err *err)
{
	const struct task_shape shape = setup->task->shape(setup->task_config);
	const struct task_data data = {
	        .task = setup->task, .config = setup->task_config, .n_train = c->n_train, .batch = c->batch};
	const struct model_config *model = setup->model;
	if (!shape.is_partitioned || shape.n_slice > 1 || shape.target_from || shape.n_target != shape.T)
		return err_set(err, "recover needs running text (task: {name: text, documents: packed})");
	if (shape.T > model->n_ctx)
		return err_set(err, "sequences of the task are longer than n_ctx %d", model->n_ctx);
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
	return task_data_check(&data, err) || trainer_check_cache(setup, err) ? -1 : 0;
}

int recovery_check(const struct setup *setup, const struct recovery_config *c, struct err *err)
{
	const struct model_conversion conversion = {
	        .variant = setup->variant, .config = setup->variant_config, .how = c->how};
	if (place_check(&c->place, err) || model_convert_check(setup->model, &conversion, err))
		return -1;
	if (setup->task)
		return check_text(setup, c, err);
	if (c->steps || c->how.whiten || c->how.ranks != RANKS_UNIFORM)
		return err_set(err, "without a text nothing can be tuned, whitened or shared out between layers");
	return 0;
}

static double memory_of(const struct setup *setup, const struct recovery_config *c, int recomputes)
{
	struct model_config model = model_convert_config(setup->model, &c->how);
	struct setup made = *setup;
	made.model = &model;
	if (!setup->task) // converted, and nothing else
		return 0;
	// Tuning holds most; without it, gradients of the calibration text do, or two models that are measured.
	const int T = setup->task->shape(setup->task_config).T,
	          batch = c->steps ? c->batch : perplexity_batch(model.n_vocab, T, c->stride ? c->stride : T);
	const double weights = c->steps ? 6 : c->how.ranks == RANKS_FISHER ? 3 : 2;
	const struct step_cost step = trainer_count(&made, batch, recomputes);
	const double bytes = weights * step.n_param * sizeof(real) + 2 * step.tensor_bytes + step.saved_bytes;
	return place_is_apart(&c->place) ? bytes + step.scratch_bytes : bytes;
}

struct place_bytes recovery_bytes(const struct setup *setup, const struct recovery_config *c)
{
	return (struct place_bytes){memory_of(setup, c, 0), memory_of(setup, c, 1)};
}

// --- running ---------------------------------------------------------------------------------------------------------

struct work {
	const struct recovery *recovery;
	const struct setup *setup;
	const struct recovery_config *config;
	struct run_log *log;
	struct model *base;
	const struct backend *backend;
	struct model there; // the base where it is measured, if that is apart
	struct task_shape shape;
	int *test, *calibration; // running ids: n_test T + 1 of the test part, n_calibration T of the training part
	long n_test, n_calibration;
	int n_thread, recomputes;
	struct arena memory, apart; // apart: of the backend's memory
	struct err *err;
};

static int is_apart(const struct work *r)
{
	return r->backend->memory != NULL;
}

// Sequences 0..n-1 of a purpose one behind the other: they are consecutive windows, so this is the text itself.
static int *running_text(struct work *r, enum rng_purpose purpose, int n)
{
	const int T = r->shape.T;
	int *ids = arena_alloc(&r->memory, ((size_t)n * (size_t)T + 1) * sizeof(int));
	int *targets = arena_alloc(&r->memory, (size_t)T * sizeof(int));
	for (int i = 0; i < n; i++)
		r->setup->task->draw(r->setup->task_config, 0, purpose, (uint64_t)i, ids + (ptrdiff_t)i * T, targets);
	ids[(ptrdiff_t)n * T] = targets[T - 1];
	return ids;
}

static int stopped(const struct work *r, double done)
{
	return r->log->tick && r->log->tick(r->log->context, done);
}

static int measure(
        struct work *r, struct model *model, const char *split, const struct cache_config *cache, struct perplexity *p)
{
	if (!r->test)
		return 0;
	const struct arena_mark mark = arena_mark(&r->apart);
	struct model placed, *base = is_apart(r) ? &r->there : r->base;
	if (model == r->base) {
		model = base;
	} else if (model->home != r->backend) {
		model_upload(&placed, model, r->backend, 0, &r->memory, &r->apart);
		model = &placed;
	}
	const struct perplexity_config how = {.context = r->shape.T,
	        .stride = r->config->stride ? r->config->stride : r->shape.T,
	        .n_thread = r->n_thread,
	        .cache = cache,
	        .reference = model == base ? NULL : base};
	const int status = perplexity_measure(p, model, r->test, r->n_test, &how, r->err);
	arena_rewind(&r->apart, mark);
	if (status)
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
static void report_final(struct work *r, const struct perplexity *p)
{
	run_log_metric(r->log, "loss", "test", -1, p->loss.mean);
	run_log_metric(r->log, "perplexity", "test", -1, p->perplexity.mean);
	run_log_metric(r->log, "accuracy", "test", -1, p->accuracy);
	run_log_metric(r->log, "n_target", "test", -1, (double)p->n_token);
	if (isfinite(p->loss.standard_error))
		run_log_metric(r->log, "loss_error", "test", -1, p->loss.standard_error);
}

static void report_cache(struct work *r, const struct model *model, const char *split, const struct cache_config *types)
{
	const struct cache_bytes bytes = cache_count(types, model->variant, &model->dims, model->variant_config);
	run_log_metric(r->log, "cache_bytes_per_token", split, -1, bytes.per_token);
	run_log_metric(r->log, "key_bytes_per_token", split, -1, bytes.key_per_token);
	run_log_metric(r->log, "n_param", split, -1, (double)model->n_number);
}

static int convert(struct work *r, struct model *out, const struct model *in, const struct variant *variant,
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

static void report_curve(struct work *r, struct trainer *t, long step)
{
	const struct evaluation e = trainer_evaluate(t, RNG_VALIDATION, r->config->n_validation, NULL);
	run_log_metric(r->log, "loss", "validation", step, e.loss.mean);
	run_log_metric(
	        r->log, "n_tuned_token", "validation", step, (double)step * r->config->batch * (double)r->shape.T);
}

// --- tuning --------------------------------------------------------------------------------------------------------

// What a checkpoint has beside weights and moments.
struct tuning_state {
	long step, next; // done; the next one whose loss is a point of the curve
};

struct tuning {
	struct trainer trainer;
	struct tuning_state state;
	char identity[3 * HASH_TEXT + 64];
};

// The setup, the seed, the program, and the numbers that it began with: a model's folder can come to hold another.
static void identify(struct tuning *t, const struct work *r)
{
	enum { NUMBERS = 1024 }; // of each parameter
	char key[HASH_TEXT];
	uint64_t begin = 0;
	struct arena scratch;
	arena_init(&scratch, 1 << 16);
	setup_key(key, r->setup, &scratch);
	arena_release(&scratch);
	for (int i = 0; i < r->base->n_param; i++) {
		const struct tensor *p = &r->base->param[i].tensor;
		const size_t n = (size_t)p->T * (size_t)p->C;
		const uint64_t part[2] = {begin, hash_u64(p->x, (n < NUMBERS ? n : NUMBERS) * sizeof(real))};
		begin = hash_u64(part, sizeof(part));
	}
	snprintf(t->identity, sizeof(t->identity), "%s/%llu/%016llx/%.32s", key, (unsigned long long)r->recovery->seed,
	        (unsigned long long)begin, r->log->build);
}

enum { N_BLOCK = 4 };
static void blocks(struct tuning *t, struct checkpoint_block block[N_BLOCK])
{
	struct model *m = &t->trainer.model;
	block[0] = (struct checkpoint_block){&t->state, sizeof(t->state)};
	block[1] = (struct checkpoint_block){m->x, (size_t)m->n_padded * sizeof(real), m->home};
	block[2] = (struct checkpoint_block){t->trainer.optimizer.m, (size_t)m->n_trained * sizeof(real), m->home};
	block[3] = (struct checkpoint_block){t->trainer.optimizer.v, (size_t)m->n_trained * sizeof(real), m->home};
}

static int save(struct tuning *t, struct work *r)
{
	struct checkpoint_block block[N_BLOCK];
	if (!r->log->checkpoint_path)
		return 0;
	r->log->checkpointed_s = clock_s();
	blocks(t, block);
	return checkpoint_write(r->log->checkpoint_path, t->identity, r->log, block, N_BLOCK, r->err);
}

// From the checkpoint, with the metrics of before, or from the start. 0, or -1 failed.
static int begin(struct tuning *t, struct work *r)
{
	struct checkpoint_block block[N_BLOCK];
	identify(t, r);
	blocks(t, block);
	r->log->checkpointed_s = clock_s();
	const int got = r->log->checkpoint_path
	                        ? checkpoint_read(r->log->checkpoint_path, t->identity, r->log, block, N_BLOCK, r->err)
	                        : 0;
	if (got)
		return got < 0 ? -1 : 0;
	t->state = (struct tuning_state){0, 1};
	run_log_metric(r->log, "n_param_tuned", "count", -1, (double)t->trainer.model.n_trained);
	report_curve(r, &t->trainer, 0);
	return 0;
}

// 0, 1 diverged, 2 stopped, -1 failed.
static int steps(struct tuning *t, struct work *r)
{
	const struct recovery_config *c = r->config;
	struct tuning_state *s = &t->state;
	double ticked_s = 0;
	while (s->step < c->steps) {
		const struct loss loss = trainer_step(&t->trainer, ++s->step);
		if (!isfinite(loss.mean)) {
			run_log_metric(r->log, "loss", "train", s->step, loss.mean);
			return 1;
		}
		if (s->step == s->next || s->step == c->steps)
			report_curve(r, &t->trainer, s->step);
		if (s->step == s->next)
			s->next += s->next / 2 + 1;
		const double now = clock_s();
		if (now - ticked_s >= 0.5) {
			ticked_s = now;
			if (stopped(r, (double)s->step / c->steps))
				return save(t, r) ? -1 : 2;
		}
		if (now - r->log->checkpointed_s >= r->log->checkpoint_every_s && save(t, r))
			return -1;
	}
	return 0;
}

// Tunes a copy of `start`. 0, 1 diverged, 2 stopped, -1 failed; the trainer is to be released after 0 and 1.
static int tune(struct work *r, struct tuning *t, const struct model *start)
{
	const struct recovery_config *c = r->config;
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
	struct cache_config whole; // what is cut again afterwards has no cache of the spec's
	options_init(cache_options, &whole);
	setup.model = &config;
	setup.variant = start->variant;
	setup.variant_config = (void *)start->variant_config;
	if (!c->rank_kept)
		setup.cache = &whole;
	if (trainer_init_on(&t->trainer, r->backend, &setup, &optimizer, c->batch, r->recovery->seed, r->n_thread,
	            start, *c->train_only ? c->train_only : NULL, r->err))
		return -1;
	t->trainer.model.recomputes = r->recomputes;
	t->trainer.data.n_train = c->n_train;
	const int status = begin(t, r) ? -1 : steps(t, r);
	if (status < 0 || status == 2)
		trainer_release(&t->trainer);
	return status;
}

// A trained model in this process's memory.
static struct model *at_hand(struct work *r, struct model *trained)
{
	if (!is_apart(r))
		return trained;
	struct model *here = arena_alloc(&r->memory, sizeof(*here));
	model_fetch(here, trained, &r->memory);
	return here;
}

static int keep(struct work *r, struct model *result)
{
	return r->recovery->keep ? r->recovery->keep(r->recovery->keep_context, result, r->err) : 0;
}

static int tune_and_measure(struct work *r, const struct model *converted, struct perplexity *p)
{
	const struct cache_config *types = trainer_has_cache(r->setup) ? r->setup->cache : NULL;
	const struct attn_conversion how = r->config->how, to_dense = dense_conversion(r->setup, r->config);
	struct model dense, cut;
	struct tuning t;
	const struct model *start = converted;
	if (!r->config->rank_kept) {
		if (convert(r, &dense, r->base, r->base->variant, r->base->variant_config, to_dense))
			return -1;
		start = &dense;
	}
	int status = tune(r, &t, start);
	if (is_apart(r))
		run_log_metric(r->log, "recompute", "device", -1, r->recomputes);
	if (status == 2 || status < 0)
		return status;
	if (status == 0 && r->config->rank_kept) {
		status = measure(r, &t.trainer.model, "tuned", types, p);
		if (!status)
			status = keep(r, at_hand(r, &t.trainer.model));
	} else if (status == 0) {
		status = measure(r, &t.trainer.model, "dense", NULL, p);
		if (!status)
			status = convert(r, &cut, at_hand(r, &t.trainer.model), r->setup->variant,
			        r->setup->variant_config, how);
		if (!status)
			status = measure(r, &cut, "tuned", types, p);
		if (!status)
			status = keep(r, &cut);
	}
	trainer_release(&t.trainer);
	return status;
}

static int convert_and_tune(struct work *r)
{
	const struct cache_config *types = trainer_has_cache(r->setup) ? r->setup->cache : NULL;
	struct perplexity p;
	struct model converted;
	if (measure(r, r->base, "base", NULL, &p))
		return -1;
	report_cache(r, r->base, "base", NULL);
	const double began_s = clock_s();
	if (convert(r, &converted, r->base, r->setup->variant, r->setup->variant_config, r->config->how))
		return -1;
	run_log_metric(r->log, "convert_s", "time", -1, clock_s() - began_s);
	report_cache(r, &converted, "count", r->setup->cache);
	if (measure(r, &converted, "converted", types, &p))
		return -1;
	const int status = r->config->steps ? tune_and_measure(r, &converted, &p) : keep(r, &converted);
	if (!status && r->test)
		report_final(r, &p);
	return status;
}

int recovery_run(const struct recovery *recovery, struct err *err)
{
	const struct recovery_config *c = recovery->config;
	const struct task *task = recovery->setup->task;
	const struct place_bytes need = recovery_bytes(recovery->setup, c);
	int recomputes;
	const struct backend *backend = place_open(&c->place, &need, &recomputes, err);
	if (!backend)
		return -1;
	if (backend->ranks)
		return err_set(err, "procedure recover has one rank (KVLAB_RANKS is for procedure train)");
	struct work r = {.backend = backend,
	        .recovery = recovery,
	        .setup = recovery->setup,
	        .config = c,
	        .log = recovery->log,
	        .base = recovery->base,
	        .n_thread = recovery->n_thread,
	        .recomputes = recomputes,
	        .err = err};
	arena_init(&r.memory, 1 << 20);
	if (task) {
		r.shape = task->shape(recovery->setup->task_config);
		r.n_test = (long)c->n_test * r.shape.T + 1;
		r.n_calibration = (long)c->n_calibration * r.shape.T;
		r.test = running_text(&r, RNG_TEST, c->n_test);
		r.calibration = running_text(&r, RNG_TRAIN, c->n_calibration);
	}
	arena_init_from(&r.apart, 1 << 20, r.backend->memory);
	if (is_apart(&r))
		model_upload(&r.there, r.base, r.backend, 0, &r.memory, &r.apart);
	const int status = convert_and_tune(&r);
	arena_release(&r.apart);
	arena_release(&r.memory);
	return status;
}
