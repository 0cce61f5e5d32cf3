// SPDX-License-Identifier: MIT
#include "harness/run/trainer.h"

#include <math.h>
#include <string.h>

enum { STEP_CHUNK = 32 << 20, SCRATCH_CHUNK = 4 << 20, RUN_CHUNK = 1 << 20 };

void trainer_init(struct trainer *t, const struct setup *setup, const struct optimizer_config *optimizer, int batch,
        uint64_t seed, int n_thread)
{
	memset(t, 0, sizeof(*t));
	t->task = setup->task;
	t->task_config = setup->task_config;
	t->shape = setup->task->shape(setup->task_config);
	t->seed = seed;
	t->batch = batch;
	arena_init(&t->run, RUN_CHUNK);
	arena_init(&t->step, STEP_CHUNK);
	arena_init(&t->scratch, SCRATCH_CHUNK);
	model_init(&t->model, setup->model, setup->variant, setup->variant_config, &t->run);
	model_allocate(&t->model, 1, &t->run);
	model_draw_weights(&t->model, seed);
	optimizer_init(&t->optimizer, optimizer, &t->model, &t->run);
	t->tokens = arena_alloc(&t->run, (size_t)batch * (size_t)t->shape.T * sizeof(int));
	t->targets = arena_alloc(&t->run, (size_t)batch * (size_t)t->shape.n_target * sizeof(int));
	t->tape = (struct tape){.backend = &backend_cpu,
	        .n_thread = n_thread,
	        .step = &t->step,
	        .scratch = &t->scratch,
	        .dropout_seed = seed};
}

void trainer_release(struct trainer *t)
{
	arena_release(&t->run);
	arena_release(&t->step);
	arena_release(&t->scratch);
}

static void draw_batch(struct trainer *t, enum rng_purpose purpose, long first, int n)
{
	for (int i = 0; i < n; i++)
		t->task->draw(t->task_config, t->seed, purpose, (uint64_t)(first + i),
		        t->tokens + (ptrdiff_t)i * t->shape.T, t->targets + (ptrdiff_t)i * t->shape.n_target);
}

static struct loss forward(struct trainer *t, enum tape_mode mode, int n)
{
	arena_reset(&t->step);
	tape_begin(&t->tape, mode);
	struct tensor *logits = model_forward(
	        &t->tape, &t->model, t->tokens, n, t->shape.T, t->shape.target_from, t->shape.n_target, NULL);
	return op_cross_entropy(&t->tape, logits, t->targets);
}

struct loss trainer_gradients(struct trainer *t, long step)
{
	draw_batch(t, RNG_TRAIN, (step - 1) * t->batch, t->batch);
	model_clear_gradients(&t->model);
	t->tape.dropout_step = (unsigned long long)step;
	struct loss loss = forward(t, TAPE_RECORD, t->batch);
	tape_backward(&t->tape);
	model_settle_gradients(&t->model);
	return loss;
}

struct loss trainer_step(struct trainer *t, long step)
{
	struct loss loss = trainer_gradients(t, step);
	if (!isfinite(loss.mean))
		return loss;
	const struct exec exec = {t->tape.n_thread, &t->scratch};
	optimizer_step(&t->optimizer, &t->model, step, &exec, t->tape.backend);
	return loss;
}

struct loss trainer_evaluate(struct trainer *t, enum rng_purpose purpose, long n)
{
	struct loss all = {0, 0, 0};
	for (long first = 0; first < n; first += t->batch) {
		int size = n - first < t->batch ? (int)(n - first) : t->batch;
		draw_batch(t, purpose, first, size);
		struct loss part = forward(t, TAPE_RUN, size);
		all.mean += part.mean * (double)part.n;
		all.n += part.n;
		all.hits += part.hits;
	}
	all.mean /= all.n ? (double)all.n : 1;
	return all;
}

struct step_cost trainer_count(const struct setup *setup, int batch)
{
	struct arena memory;
	arena_init(&memory, RUN_CHUNK);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &memory, .scratch = &memory};
	struct task_shape shape = setup->task->shape(setup->task_config);
	struct model model;
	model_init(&model, setup->model, setup->variant, setup->variant_config, &memory);
	tape_begin(&tape, TAPE_COUNT);
	struct tensor *logits =
	        model_forward(&tape, &model, NULL, batch, shape.T, shape.target_from, shape.n_target, NULL);
	op_cross_entropy(&tape, logits, NULL);
	struct step_cost cost = {tape.forward, tape.backward, tape.tensor_bytes, model.n_number};
	arena_release(&memory);
	return cost;
}
