// SPDX-License-Identifier: MIT
// Train from scratch on a task, evaluate on validation at intervals, report test accuracy of the best weights.
//
// The checkpoint of best validation accuracy (select: loss: of least validation loss, as language models want it) is
// the one that is tested, so nothing is chosen on what is reported. A loss that is not finite ends the run as
// `diverged`: a result, with everything measured so far.
//
// Tasks with slices (kinds of sequences: lengths, numbers of pairs, depths) also report accuracy and loss of each on
// the tested weights. Their metrics' split is the purpose, a space and the slice's name: `test n_pair=8 length=64`. SQL
// filters with `split like 'test %'` and reads a number out of it with
// `cast(substr(split, instr(split, 'n_pair=') + 7) as integer)`.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/base/hash.h"
#include "harness/base/progress.h"
#include "harness/run/place.h"
#include "harness/run/run.h"
#include "harness/run/trainer.h"

struct train {
	int optimizer, schedule, batch, steps, warmup, eval_every, n_validation, n_test, stop_evals;
	double lr, lr_floor, beta1, beta2, eps, weight_decay, clip, converged_at, stop_at;
	int split, n_train; // enum task_split
	int select, patience;
	struct place place;
};

enum select { SELECT_ACCURACY, SELECT_LOSS };

#define FIELD(f) offsetof(struct train, f)
static const struct option options[] = {
        {"optimizer", OPTION_CHOICE, FIELD(optimizer), "adam", 0, 0, "adam|adamw", "adamw: weight_decay applies"},
        {"lr", OPTION_REAL, FIELD(lr), "0.001", 0, 10, NULL, "highest learning rate"},
        {"lr_floor", OPTION_REAL, FIELD(lr_floor), "0", 0, 10, NULL, "learning rate at the last step of a schedule"},
        {"schedule", OPTION_CHOICE, FIELD(schedule), "constant", 0, 0, "constant|linear|cosine|cosine_product",
                "after the warm-up (cosine_product: over all steps, times the warm-up)"},
        {"warmup", OPTION_INT, FIELD(warmup), "0", 0, 1 << 30, NULL, "steps of linear rise"},
        {"beta1", OPTION_REAL, FIELD(beta1), "0.9", 0, 0.999999, NULL, "Adam: decay of the first moment"},
        {"beta2", OPTION_REAL, FIELD(beta2), "0.999", 0, 0.999999, NULL, "Adam: decay of the second moment"},
        {"eps", OPTION_REAL, FIELD(eps), "1e-08", 1e-30, 1, NULL, "Adam: added to the root of the second moment"},
        {"weight_decay", OPTION_REAL, FIELD(weight_decay), "0", 0, 10, NULL, "decoupled, on matrices (adamw)"},
        {"clip", OPTION_REAL, FIELD(clip), "0", 0, 1e9, NULL, "largest global norm of the gradient; 0: none"},
        {"batch", OPTION_INT, FIELD(batch), "64", 1, 1 << 20, NULL, "sequences per step"},
        {"steps", OPTION_INT, FIELD(steps), "1000", 1, 1 << 30, NULL, "most steps"},
        {"eval_every", OPTION_INT, FIELD(eval_every), "100", 1, 1 << 30, NULL, "steps between evaluations"},
        {"n_validation", OPTION_INT, FIELD(n_validation), "512", 1, 1 << 24, NULL, "validation sequences"},
        {"n_test", OPTION_INT, FIELD(n_test), "2048", 1, 1 << 24, NULL, "test sequences"},
        {"converged_at", OPTION_REAL, FIELD(converged_at), "0.99", 0, 1, NULL,
                "validation accuracy that counts as converged"},
        {"stop_at", OPTION_REAL, FIELD(stop_at), "0", 0, 1, NULL, "stop at this validation accuracy; 0: use all steps"},
        {"stop_evals", OPTION_INT, FIELD(stop_evals), "1", 1, 1 << 30, NULL,
                "evaluations in a row at stop_at before stopping"},
        {"split", OPTION_CHOICE, FIELD(split), "stream", 0, 0, "stream|content",
                "content: no test sequence is ever trained on; stream: that is left to chance", 1},
        {"n_train", OPTION_INT, FIELD(n_train), "0", 0, 1 << 30, NULL,
                "training sequences, used again each epoch; 0: always new ones", 1},
        {"select", OPTION_CHOICE, FIELD(select), "accuracy", 0, 0, "accuracy|loss",
                "which validation metric chooses the weights that are tested; loss: perplexities are reported too", 1},
        {"patience", OPTION_INT, FIELD(patience), "0", 0, 1 << 30, NULL,
                "stop after so many evaluations in a row without a better one; 0: use all steps", 1},
        PLACE_OPTIONS(FIELD(place)),
        {NULL},
};

// Everything that changes while training, beside weights and moments: with them it is the checkpoint.
struct progress_state {
	long step, best_step, converged_step, n_loss, n_at_stop; // n_at_stop: evaluations in a row at stop_at or above
	long n_worse;                                            // evaluations in a row without a better one
	double best_accuracy, best_loss, loss_sum;
};

static struct task_data data_of(const struct setup *setup)
{
	const struct train *c = setup->procedure_config;
	return (struct task_data){.task = setup->task,
	        .config = setup->task_config,
	        .split = (enum task_split)c->split,
	        .n_train = c->n_train,
	        .batch = c->batch};
}

static int check_evaluated(const char *key, int n, long n_there, const char *purpose, struct err *err)
{
	if (n_there && n > n_there)
		return err_set(
		        err, "%s %d is more than the %ld %s sequences that the task has", key, n, n_there, purpose);
	return 0;
}

static int check(const struct setup *setup, struct err *err)
{
	const struct train *c = setup->procedure_config;
	if (c->warmup > c->steps)
		return err_set(err, "a warm-up of %d steps does not fit into %d", c->warmup, c->steps);
	if (c->optimizer == 0 && c->weight_decay != 0)
		return err_set(err, "weight_decay needs optimizer: adamw");
	if (c->lr_floor > c->lr)
		return err_set(err, "lr_floor %g is above lr %g", c->lr_floor, c->lr);
	const struct model_config *model = setup->model;
	const struct task_shape shape = setup->task->shape(setup->task_config);
	const struct task_data data = data_of(setup);
	if (shape.T > model->n_ctx)
		return err_set(err, "sequences of the task are longer than n_ctx %d", model->n_ctx);
	if (check_evaluated("n_validation", c->n_validation, shape.n_validation, "validation", err) ||
	        check_evaluated("n_test", c->n_test, shape.n_test, "test", err) || task_data_check(&data, err))
		return -1;
	return place_check(&c->place, err) || trainer_check_cache(setup, err) ? -1 : 0;
}

static double n_evaluation(const struct train *c, int has_slices)
{
	const double n_time = (double)((c->steps + c->eval_every - 1) / c->eval_every);
	return (n_time + has_slices) * c->n_validation + c->n_test;
}

// Of whatever memory it trains in: the best weights, too, and evaluations' cache.
static double memory_of(const struct setup *setup, int recomputes)
{
	const struct train *c = setup->procedure_config;
	const struct attn_dims dims = model_attn_dims(setup->model);
	const int T = setup->task->shape(setup->task_config).T;
	const struct step_cost step = trainer_count(setup, c->batch, recomputes);
	double bytes = trainer_bytes(&step, place_is_apart(&c->place)) + 1.0 * step.n_param * sizeof(real);
	if (trainer_has_cache(setup))
		bytes += c->batch * T *
		         cache_bytes_per_token(setup->cache, setup->variant, &dims, setup->variant_config, T);
	return bytes;
}

static struct place_bytes needs_of(const struct setup *setup)
{
	return (struct place_bytes){memory_of(setup, 0), memory_of(setup, 1)};
}

static int admit(const struct setup *setup, struct err *err)
{
	const struct train *c = setup->procedure_config;
	const struct place_bytes need = needs_of(setup);
	return place_admit(&c->place, &need, err);
}

static int estimate(const struct setup *setup, struct cost *cost, struct err *err)
{
	(void)err;
	const struct train *c = setup->procedure_config;
	const struct attn_dims dims = model_attn_dims(setup->model);
	const struct task_shape shape = setup->task->shape(setup->task_config);
	const int has_slices = shape.n_slice > 1;
	const struct place_bytes need = needs_of(setup);
	cost->recomputes = place_recomputes(&c->place, &need);
	const struct step_cost step = trainer_count(setup, c->batch, cost->recomputes);
	const double bytes = place_needs(&need, cost->recomputes);
	cost->n_param = (double)step.n_param;
	cost->flops = c->steps * (step.forward.flops + step.backward.flops) +
	              n_evaluation(c, has_slices) * step.forward.flops / c->batch;
	// A checkpoint of a device's memory goes through the host's: what is trained, once and as it is written.
	if (place_is_apart(&c->place)) {
		cost->device_bytes = bytes;
		cost->memory_bytes = 3 * 4.0 * step.n_param * sizeof(real);
	} else {
		cost->memory_bytes = bytes;
	}
	cost->cache_bytes_per_token =
	        cache_bytes_per_token(setup->cache, setup->variant, &dims, setup->variant_config, shape.T);
	return 0;
}

struct training {
	const struct train *config;
	struct trainer trainer;
	struct progress_state state;
	struct run_log *log;
	real *best; // weights of the best validation step
	char identity[2 * HASH_TEXT + 32];
};

static int blocks(struct training *t, struct checkpoint_block *block)
{
	const struct backend *home = t->trainer.model.home;
	const size_t bytes = (size_t)t->trainer.model.n_padded * sizeof(real),
	             moment_bytes = (size_t)t->trainer.optimizer.n_moment * sizeof(real);
	block[0] = (struct checkpoint_block){&t->state, sizeof(t->state)};
	block[1] = (struct checkpoint_block){t->trainer.model.x, bytes, home};
	block[2] = (struct checkpoint_block){t->trainer.optimizer.m, moment_bytes, home};
	block[3] = (struct checkpoint_block){t->trainer.optimizer.v, moment_bytes, home};
	block[4] = (struct checkpoint_block){t->best, bytes, home};
	return 5;
}

static int save(struct training *t, struct err *err)
{
	struct checkpoint_block block[5];
	if (!t->log->checkpoint_path)
		return 0;
	t->log->checkpointed_s = clock_s();
	return checkpoint_write(t->log->checkpoint_path, t->identity, t->log, block, blocks(t, block), err);
}

static void copy_weights(const struct trainer *t, real *to, const real *from)
{
	const struct exec exec = {t->tape.n_thread, t->tape.scratch};
	t->tape.backend->move(&exec, to, from, (size_t)t->model.n_padded * sizeof(real));
}

// 0, or 1 when the loss is not finite: the last update has broken the weights.
static int evaluate(struct training *t)
{
	struct progress_state *s = &t->state;
	const struct loss loss = trainer_evaluate(&t->trainer, RNG_VALIDATION, t->config->n_validation, NULL).loss;
	const double accuracy = (double)loss.hits / (double)loss.n;
	run_log_metric(t->log, "loss", "train", s->step, s->loss_sum / (double)s->n_loss);
	run_log_metric(t->log, "loss", "validation", s->step, loss.mean);
	run_log_metric(t->log, "accuracy", "validation", s->step, accuracy);
	s->loss_sum = 0;
	s->n_loss = 0;
	s->n_worse++;
	if (t->config->select == SELECT_LOSS ? loss.mean < s->best_loss : accuracy > s->best_accuracy) {
		s->best_accuracy = accuracy;
		s->best_loss = loss.mean;
		s->best_step = s->step;
		s->n_worse = 0;
		copy_weights(&t->trainer, t->best, t->trainer.model.x);
	}
	s->n_at_stop = t->config->stop_at > 0 && accuracy >= t->config->stop_at ? s->n_at_stop + 1 : 0;
	if (!s->converged_step && accuracy >= t->config->converged_at)
		s->converged_step = s->step;
	return !isfinite(loss.mean);
}

// Steps until the end. 0 done, 1 diverged, 2 asked to stop, -1 failed.
static int steps(struct training *t, struct err *err)
{
	struct progress_state *s = &t->state;
	const struct train *c = t->config;
	double ticked_s = 0;
	while (s->step < c->steps && s->n_at_stop < c->stop_evals && !(c->patience && s->n_worse >= c->patience)) {
		const struct loss loss = trainer_step(&t->trainer, s->step + 1);
		s->step++;
		s->loss_sum += loss.mean;
		s->n_loss++;
		if (!isfinite(loss.mean)) {
			run_log_metric(t->log, "loss", "train", s->step, loss.mean);
			return 1;
		}
		if ((s->step % c->eval_every == 0 || s->step == c->steps) && evaluate(t))
			return 1;
		const double now = clock_s();
		int is_stopped = 0;
		if (t->log->tick && now - ticked_s >= 0.5) {
			ticked_s = now;
			is_stopped = t->log->tick(t->log->context, (double)s->step / c->steps);
		}
		if (trainer_agree(&t->trainer, is_stopped))
			return save(t, err) ? -1 : 2;
		if (trainer_agree(&t->trainer, now - t->log->checkpointed_s >= t->log->checkpoint_every_s) &&
		        save(t, err))
			return -1;
	}
	return 0;
}

// What was found on the tested weights. Language models (select: loss) are compared by perplexity, and how sure a loss
// is matters when differences are small.
static void report_loss(const struct training *t, const char *split, const struct evaluation *e)
{
	run_log_metric(t->log, "loss", split, -1, e->loss.mean);
	run_log_metric(t->log, "accuracy", split, -1, (double)e->loss.hits / (double)e->loss.n);
	if (t->config->select != SELECT_LOSS)
		return;
	run_log_metric(t->log, "perplexity", split, -1, exp(e->loss.mean));
	run_log_metric(t->log, "n_target", split, -1, (double)e->loss.n);
	if (isfinite(e->error))
		run_log_metric(t->log, "loss_error", split, -1, e->error);
}

// Loss and accuracy of the first n sequences of a purpose, as a whole and by slice.
static void report_evaluation(struct training *t, enum rng_purpose purpose, const char *split, long n)
{
	struct trainer *trainer = &t->trainer;
	const int n_slice = trainer->shape.n_slice;
	struct evaluation *slice = n_slice > 1 ? arena_alloc(&trainer->run, (size_t)n_slice * sizeof(*slice)) : NULL;
	const struct evaluation whole = trainer_evaluate(trainer, purpose, n, slice);
	if (purpose == RNG_TEST) // the whole validation set is in the log already
		report_loss(t, split, &whole);
	for (int s = 0; slice && s < n_slice; s++) {
		char name[64], text[80];
		if (!slice[s].loss.n) // fewer sequences than slices
			continue;
		trainer->data.task->slice_name(trainer->data.config, s, name, sizeof(name));
		snprintf(text, sizeof(text), "%s %s", split, name);
		report_loss(t, run_log_intern(text), &slice[s]);
	}
}

static void report(struct training *t, const struct setup *setup, int diverged)
{
	const struct progress_state *s = &t->state;
	const struct train *c = t->config;
	struct run_log *log = t->log;
	const struct step_cost step = trainer_count(setup, c->batch, 0); // the work that the model asks for
	const double flops = step.forward.flops + step.backward.flops;
	if (s->best_step) {
		copy_weights(&t->trainer, t->trainer.model.x, t->best);
		report_evaluation(t, RNG_TEST, "test", c->n_test);
		if (t->trainer.shape.n_slice > 1)
			report_evaluation(t, RNG_VALIDATION, "validation", c->n_validation);
		run_log_metric(log, "best_accuracy", "validation", -1, s->best_accuracy);
		if (c->select == SELECT_LOSS)
			run_log_metric(log, "best_loss", "validation", -1, s->best_loss);
		run_log_metric(log, "best_step", "validation", -1, (double)s->best_step);
	}
	if (s->converged_step)
		run_log_metric(log, "steps_to_converge", "validation", -1, (double)s->converged_step);
	run_log_metric(log, "steps", "train", -1, (double)s->step);
	run_log_metric(log, "diverged", "train", -1, diverged);
	run_log_metric(log, "chance", "count", -1, t->trainer.shape.chance);
	if (t->trainer.shape.content_hash) // as many bits as a number holds exactly
		run_log_metric(
		        log, "corpus_hash", "count", -1, (double)(t->trainer.shape.content_hash & ((1ULL << 52) - 1)));
	run_log_metric(log, "n_param", "count", -1, (double)step.n_param);
	run_log_metric(log, "flops", "count", -1, flops * (double)s->step);
	if (place_is_apart(&c->place)) {
		run_log_metric(log, "allocated_bytes", "device", -1, trainer_allocated(&t->trainer));
		run_log_metric(log, "planned_bytes", "device", -1, memory_of(setup, t->trainer.model.recomputes));
		run_log_metric(log, "recompute", "device", -1, t->trainer.model.recomputes);
	}
	const struct attn_dims dims = model_attn_dims(setup->model);
	run_log_metric(log, "cache_bytes_per_token", "count", -1,
	        cache_bytes_per_token(setup->cache, setup->variant, &dims, setup->variant_config, t->trainer.shape.T));
}

static int run(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log, struct err *err)
{
	const struct train *c = setup->procedure_config;
	const struct optimizer_config optimizer = {.lr = c->lr,
	        .lr_floor = c->lr_floor,
	        .beta1 = c->beta1,
	        .beta2 = c->beta2,
	        .eps = c->eps,
	        .weight_decay = c->weight_decay,
	        .clip = c->clip,
	        .schedule = c->schedule,
	        .warmup = c->warmup,
	        .steps = c->steps};
	struct training t = {.config = c, .log = log};
	const struct place_bytes need = needs_of(setup);
	int recomputes;
	const struct backend *backend = place_open(&c->place, &need, &recomputes, err);
	if (!backend ||
	        trainer_init_on(&t.trainer, backend, setup, &optimizer, c->batch, seed, n_thread, NULL, NULL, err))
		return -1;
	t.trainer.model.recomputes = recomputes;
	t.trainer.data = data_of(setup);
	t.best = arena_alloc(trainer_memory(&t.trainer), (size_t)t.trainer.model.n_padded * sizeof(real));
	model_clear(&t.trainer.model, t.best, t.trainer.model.n_padded);
	t.state.best_accuracy = -1;
	t.state.best_loss = INFINITY;
	log->checkpointed_s = clock_s();

	char key[HASH_TEXT];
	struct arena scratch;
	arena_init(&scratch, 1 << 16);
	setup_key(key, setup, &scratch);
	arena_release(&scratch);
	snprintf(t.identity, sizeof(t.identity), "%s/%llu/%.32s", key, (unsigned long long)seed, log->build);

	struct checkpoint_block block[5];
	int status = 0;
	if (log->checkpoint_path)
		status = checkpoint_read(log->checkpoint_path, t.identity, log, block, blocks(&t, block), err);
	// A rank that went on further than another: they do not fit together any more.
	if (trainer_agree(&t.trainer, status < 0) && status >= 0)
		status = err_fault(err, "another rank cannot read its checkpoint");
	if (status >= 0 && trainer_differs(&t.trainer, t.state.step))
		status = err_fault(err, "checkpoints of the ranks are of different steps (remove %s and theirs)",
		        log->checkpoint_path);
	if (status >= 0)
		status = steps(&t, err);
	if (status == 0 || status == 1)
		report(&t, setup, status == 1);
	trainer_release(&t.trainer);
	return status;
}

const struct procedure procedure_train = {
        .name = "train",
        .summary = "train from scratch, report test accuracy of the best validation step",
        .section = "train",
        .version = 1,
        .config_bytes = sizeof(struct train),
        .options = options,
        .check = check,
        .estimate = estimate,
        .admit = admit,
        .run = run,
};
