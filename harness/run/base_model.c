// SPDX-License-Identifier: MIT
#include "harness/run/base_model.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/folders.h"
#include "harness/base/progress.h"
#include "harness/registry.h"
#include "harness/run/source_model.h"
#include "harness/run/trainer.h"

static const struct family *whole_family(const struct family *family)
{
	return family->of ? family->of : family;
}

// The setup's model with separate queries, keys and values, and nothing else of what is asked of the point.
static struct setup plain_setup(const struct setup *setup, struct arena *arena)
{
	struct setup plain = *setup;
	struct cache_config *cache = arena_zalloc(arena, sizeof(*cache));
	plain.variant = variant_find("gqa");
	plain.variant_config = arena_zalloc(arena, plain.variant->config_bytes);
	options_init(plain.variant->options, plain.variant_config);
	options_init(cache_options, cache);
	plain.cache = cache;
	plain.procedure = procedure_find("train");
	plain.procedure_config = arena_zalloc(arena, plain.procedure->config_bytes);
	options_init(plain.procedure->options, plain.procedure_config);
	return plain;
}

// --- a model from a folder -----------------------------------------------------------------------------------------

static int check_shape(const struct variant *variant, const struct model_config *config, const struct setup *setup,
        const char *path, struct err *err)
{
	if (!variant->is_plain)
		return err_set(err,
		        "%s: its attention is %s: a model to begin with has separate queries, keys and values", path,
		        variant->name);
	const struct model_config *wanted = setup->model;
	for (const struct option *o = model_options; o->key; o++) {
		if (!model_option_differs(o, wanted, config))
			continue;
		char text[2][64] = {"", ""};
		const struct model_config *both[] = {config, wanted};
		for (int i = 0; i < 2; i++) {
			FILE *out = fmemopen(text[i], sizeof(text[i]) - 1, "w");
			option_print(out, o, both[i]);
			fclose(out);
		}
		return err_set(
		        err, "%s: its %s is %s, not %s as the spec's model has it", path, o->key, text[0], text[1]);
	}
	return 0;
}

static int open_source(struct pretrained *base, const struct setup *setup, const struct base_config *c,
        struct arena *arena, struct err *err)
{
	char path[2 * PATH_TEXT];
	if (corpus_locate(path, "source", c->source, err) || model_load(base, path, PRETRAINED_TO_READ, arena, err))
		return -1;
	if (!check_shape(base->model.variant, &base->model.config, setup, path, err))
		return 0;
	pretrained_close(base);
	return -1;
}

// --- one that is trained here ----------------------------------------------------------------------------------------

// On a device its numbers are others.
static void make_key(
        char key[HASH_TEXT], const struct setup *plain, const struct base_config *c, const struct place *place)
{
	char setup_text[HASH_TEXT], text[300 + DEVICE_TEXT];
	struct arena scratch;
	arena_init(&scratch, 1 << 16);
	setup_key(setup_text, plain, &scratch);
	arena_release(&scratch);
	int n = snprintf(text, sizeof(text), "%s seed=%d steps=%d batch=%d warmup=%d lr=%a", setup_text, c->seed,
	        c->steps, c->batch, c->warmup, c->lr);
	if (place_is_apart(place))
		n += snprintf(
		        text + n, sizeof(text) - (size_t)n, " device=%s precision=%d", place->device, place->precision);
	hash_hex(key, text, (size_t)n);
}

// A training in progress. Its checkpoint lies beside the folder that is to be, under the same lock.
struct training {
	struct trainer trainer;
	const struct base_config *config;
	long step; // done
	char checkpoint[3 * PATH_TEXT], identity[3 * HASH_TEXT + 64];
	struct run_log *log;
	struct run_log none; // a base model has no metrics
	double checkpointed_s;
};

enum { N_BLOCK = 4 };
static void blocks(struct training *t, struct checkpoint_block block[N_BLOCK])
{
	struct model *m = &t->trainer.model;
	block[0] = (struct checkpoint_block){&t->step, sizeof(t->step)};
	block[1] = (struct checkpoint_block){m->x, (size_t)m->n_padded * sizeof(real), m->home};
	block[2] = (struct checkpoint_block){t->trainer.optimizer.m, (size_t)m->n_trained * sizeof(real), m->home};
	block[3] = (struct checkpoint_block){t->trainer.optimizer.v, (size_t)m->n_trained * sizeof(real), m->home};
}

static int save(struct training *t, struct err *err)
{
	struct checkpoint_block block[N_BLOCK];
	if (!t->log->checkpoint_path)
		return 0;
	t->checkpointed_s = clock_s();
	blocks(t, block);
	return checkpoint_write(t->checkpoint, t->identity, &t->none, block, N_BLOCK, err);
}

static int go_on(struct training *t, struct err *err)
{
	struct checkpoint_block block[N_BLOCK];
	blocks(t, block);
	t->checkpointed_s = clock_s();
	return t->log->checkpoint_path && checkpoint_read(t->checkpoint, t->identity, &t->none, block, N_BLOCK, err) < 0
	               ? -1
	               : 0;
}

// 0 done, 2 asked to stop, -1 failed.
static int train(struct training *t, struct err *err)
{
	double ticked_s = 0;
	if (go_on(t, err))
		return -1;
	while (t->step < t->config->steps) {
		const struct loss loss = trainer_step(&t->trainer, ++t->step);
		if (!isfinite(loss.mean))
			return err_set(err, "the base model diverges at step %ld (lower base_lr)", t->step);
		const double now = clock_s();
		if (t->log->tick && now - ticked_s >= 0.5) {
			ticked_s = now;
			if (t->log->tick(t->log->context, 0))
				return save(t, err) ? -1 : 2;
		}
		if (now - t->checkpointed_s >= t->log->checkpoint_every_s && save(t, err))
			return -1;
	}
	return 0;
}

// As place_open wants it: what training takes at least.
static double bytes_of(const struct setup *plain, const struct base_config *c, int recomputes)
{
	const struct step_cost step = trainer_count(plain, c->batch, recomputes);
	return trainer_bytes(&step, 1);
}

static int save_model(const struct model *trained, const struct setup *plain, const char *folder, struct err *err)
{
	struct arena memory;
	struct model here;
	arena_init(&memory, 1 << 20);
	model_fetch(&here, trained, &memory);
	const int status = model_save(&here, whole_family(plain->family), folder, err);
	arena_release(&memory);
	return status;
}

static int train_and_save(const struct setup *plain, const struct base_config *c, const struct place *place,
        const char *key, const char *path, int n_thread, struct run_log *log, struct err *err)
{
	const struct optimizer_config optimizer = {.lr = c->lr,
	        .lr_floor = c->lr / 10,
	        .beta1 = 0.9,
	        .beta2 = 0.98,
	        .eps = 1e-8,
	        .weight_decay = 0.01,
	        .clip = 1,
	        .schedule = SCHEDULE_COSINE,
	        .warmup = c->warmup,
	        .steps = c->steps};
	struct training t = {.config = c, .log = log};
	char beside[3 * PATH_TEXT];
	const struct place_bytes need = {bytes_of(plain, c, 0), bytes_of(plain, c, 1)};
	int recomputes;
	const struct backend *backend = place_open(place, &need, &recomputes, err);
	if (!backend || trainer_init_on(&t.trainer, backend, plain, &optimizer, c->batch, (uint64_t)c->seed, n_thread,
	                        NULL, NULL, err))
		return -1;
	t.trainer.model.recomputes = recomputes;
	run_log_init(&t.none);
	snprintf(t.checkpoint, sizeof(t.checkpoint), "%s.checkpoint", path);
	snprintf(t.identity, sizeof(t.identity), "%s/%.32s", key, log->build);
	int status = train(&t, err);
	snprintf(beside, sizeof(beside), "%s.%ld", path, (long)getpid());
	if (status == 0 && mkdir(beside, 0777))
		status = err_system(err, errno, "%s: cannot make the folder: %s", beside, strerror(errno));
	if (status == 0 && (status = save_model(&t.trainer.model, plain, beside, err)) == 0 && rename(beside, path))
		status = err_system(err, errno, "%s: cannot rename to %s: %s", beside, path, strerror(errno));
	if (status == 0)
		checkpoint_remove(t.checkpoint);
	trainer_release(&t.trainer);
	run_log_release(&t.none);
	return status;
}

// One process at a time trains; the others wait here. The lock's file descriptor; -2 asked to stop, -1 failed.
static int take_lock(const char *path, struct run_log *log, struct err *err)
{
	char name[3 * PATH_TEXT];
	snprintf(name, sizeof(name), "%s.lock", path);
	const int lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (lock < 0)
		return err_system(err, errno, "%s: cannot be made: %s", name, strerror(errno));
	const struct timespec pause = {0, 200000000};
	while (flock(lock, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR) {
			close(lock);
			return err_system(err, errno, "%s: cannot be locked: %s", name, strerror(errno));
		}
		if (log->tick && log->tick(log->context, 0)) {
			close(lock);
			return -2;
		}
		nanosleep(&pause, NULL);
	}
	return lock;
}

static int is_there(const char *path)
{
	char file[3 * PATH_TEXT];
	snprintf(file, sizeof(file), "%s/config.json", path);
	return access(file, R_OK) == 0;
}

static int open_trained(struct pretrained *base, const struct setup *setup, const struct base_config *c,
        const struct place *place, int n_thread, struct run_log *log, struct arena *arena, struct err *err)
{
	const struct setup plain = plain_setup(setup, arena);
	char key[HASH_TEXT], path[2 * PATH_TEXT];
	make_key(key, &plain, c, place);
	snprintf(path, sizeof(path), "%s/%s", c->folder, key);
	if (!is_there(path)) {
		char failed[FOLDERS_TEXT];
		if (folders_make(c->folder, failed))
			return err_system(err, errno, "%s: cannot make the folder: %s", failed, strerror(errno));
		const int lock = take_lock(path, log, err);
		if (lock < 0)
			return lock == -2 ? 2 : -1;
		const int status = is_there(path) ? 0 : train_and_save(&plain, c, place, key, path, n_thread, log, err);
		close(lock);
		if (status)
			return status;
	}
	return model_load(base, path, PRETRAINED_TO_READ, arena, err);
}

int base_model_open(struct pretrained *base, const struct setup *setup, const struct base_config *c,
        const struct place *place, int n_thread, struct run_log *log, struct arena *arena, struct err *err)
{
	return *c->source ? open_source(base, setup, c, arena, err)
	                  : open_trained(base, setup, c, place, n_thread, log, arena, err);
}

int base_model_check(const struct setup *setup, const struct base_config *c, struct err *err)
{
	if (!*c->source) {
		if (c->warmup > c->steps)
			return err_set(
			        err, "a warm-up of %d steps does not fit into base_steps %d", c->warmup, c->steps);
		if (whole_family(setup->family)->formats)
			return 0;
		return err_set(err,
		        "family %s has no files that a base model could be kept in (take gpt2, pythia, qwen2 or llama, "
		        "or "
		        "give source)",
		        setup->family->name);
	}
	const struct source_model *found;
	return source_model_find(&found, c->source, err) ||
	                       check_shape(found->variant, &found->config, setup, found->path, err)
	               ? -1
	               : 0;
}
