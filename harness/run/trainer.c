// SPDX-License-Identifier: MIT
#include "harness/run/trainer.h"

#include <math.h>
#include <string.h>

enum { STEP_CHUNK = 32 << 20, RUN_CHUNK = 1 << 20, TAPE_SLACK = 1 << 16 };

int trainer_has_cache(const struct setup *setup)
{
	const struct cache_config *cache = setup->cache;
	return cache && (cache->k_dtype != DTYPE_F32 || cache->v_dtype != DTYPE_F32);
}

static int init_cache(struct cache *cache, const struct setup *setup, int batch, int T, struct arena *arena,
        struct arena *memory, struct err *err)
{
	const struct attn_dims dims = model_attn_dims(setup->model);
	return cache_init_in(
	        cache, setup->cache, setup->variant, &dims, setup->variant_config, batch, T, arena, memory, err);
}

int trainer_check_cache(const struct setup *setup, struct err *err)
{
	if (!trainer_has_cache(setup))
		return 0;
	const struct cache_config *c = setup->cache;
	const int T = setup->task->shape(setup->task_config).T;
	if (c->k_scales == K_SCALES_CHANNEL && T < DTYPE_BLOCK)
		return err_set(err,
		        "k_scales: channel rounds no key of sequences of %d tokens: a block of a channel has %d (set "
		        "k_scales: token)",
		        T, DTYPE_BLOCK);
	struct cache cache;
	struct arena memory;
	arena_init(&memory, RUN_CHUNK);
	const int status = init_cache(&cache, setup, 1, 1, &memory, &memory, err);
	arena_release(&memory);
	return status;
}

static void copy_values(struct model *to, const struct model *from)
{
	if (to->n_param != from->n_param)
		BUG("a model of %d parameters cannot begin with the values of one of %d", to->n_param, from->n_param);
	for (int i = 0; i < to->n_param; i++) {
		const struct tensor *t = &to->param[i].tensor, *its = &from->param[i].tensor;
		if (strcmp(to->param[i].name, from->param[i].name) || t->T != its->T || t->C != its->C)
			BUG("parameter %s is not the one of the model to begin with", to->param[i].name);
		memcpy(t->x, its->x, (size_t)t->T * (size_t)t->C * sizeof(real));
	}
}

void trainer_init(struct trainer *t, const struct setup *setup, const struct optimizer_config *optimizer, int batch,
        uint64_t seed, int n_thread)
{
	struct err err = {0};
	if (trainer_init_from(t, setup, optimizer, batch, seed, n_thread, NULL, NULL, &err))
		BUG("%s", err.message);
}

int trainer_init_from(struct trainer *t, const struct setup *setup, const struct optimizer_config *optimizer, int batch,
        uint64_t seed, int n_thread, const struct model *start, const char *train_only, struct err *err)
{
	return trainer_init_on(t, &backend_cpu, setup, optimizer, batch, seed, n_thread, start, train_only, err);
}

struct arena *trainer_memory(struct trainer *t)
{
	return t->tape.backend->memory ? &t->memory : &t->run;
}

// Values to begin with are made by the host, and go where the backend works.
static void begin_with(struct trainer *t, const struct model *start)
{
	const struct backend *backend = t->tape.backend;
	struct model made = t->model, *here = backend->memory ? &made : &t->model;
	struct arena made_in;
	arena_init(&made_in, RUN_CHUNK);
	model_allocate(here, !backend->memory, backend->memory ? &made_in : &t->run);
	if (start)
		copy_values(here, start);
	else
		model_draw_weights(here, t->seed);
	if (backend->memory)
		model_upload(&t->model, here, backend, 1, &t->run, &t->memory);
	arena_release(&made_in);
	t->model.home = backend;
}

int trainer_init_on(struct trainer *t, const struct backend *backend, const struct setup *setup,
        const struct optimizer_config *optimizer, int batch, uint64_t seed, int n_thread, const struct model *start,
        const char *train_only, struct err *err)
{
	memset(t, 0, sizeof(*t));
	t->data = (struct task_data){.task = setup->task, .config = setup->task_config, .batch = batch};
	t->shape = setup->task->shape(setup->task_config);
	t->seed = seed;
	t->rank = backend->ranks ? backend->ranks->rank : 0;
	t->n_rank = backend->ranks ? backend->ranks->n_rank : 1;
	if (batch % t->n_rank)
		return err_set(err, "%d ranks cannot share a batch of %d sequences alike", t->n_rank, batch);
	t->batch = batch = batch / t->n_rank;
	arena_init(&t->run, RUN_CHUNK);
	arena_init_from(&t->memory, RUN_CHUNK, backend->memory);
	tape_open(&t->tape, &t->work, backend, n_thread, STEP_CHUNK);
	t->tape.dropout_seed = seed + ((uint64_t)t->rank << 48); // masks of its own: a row is another sequence
	model_init(&t->model, setup->model, setup->variant, setup->variant_config, &t->run);
	if ((train_only && model_train_only(&t->model, train_only, err)) ||
	        optimizer_check_ranks(&t->model, backend->ranks, err)) {
		trainer_release(t);
		return -1;
	}
	begin_with(t, start);
	optimizer_init(&t->optimizer, optimizer, &t->model, trainer_memory(t));
	t->tokens = arena_alloc(&t->run, (size_t)batch * (size_t)t->shape.T * sizeof(int));
	t->targets = arena_alloc(&t->run, (size_t)batch * (size_t)t->shape.n_target * sizeof(int));
	t->row_loss = arena_alloc(&t->run, (size_t)batch * (size_t)t->shape.n_target * sizeof(double));
	if (trainer_has_cache(setup)) {
		t->cache = arena_alloc(&t->run, sizeof(*t->cache));
		if (init_cache(t->cache, setup, batch, t->shape.T, &t->run, trainer_memory(t), err))
			BUG("%s", err->message);
	}
	return 0;
}

void trainer_release(struct trainer *t)
{
	if (t->played.graph)
		t->tape.backend->graph->release(t->played.graph);
	arena_release(&t->run);
	arena_release(&t->memory);
	tape_close(&t->work);
}

double trainer_allocated(const struct trainer *t)
{
	return (double)(t->memory.allocated_bytes + t->work.values.allocated_bytes + t->work.scratch.allocated_bytes);
}

// Sequences first, first + stride, ...
static void draw_batch(struct trainer *t, enum rng_purpose purpose, long first, long stride, int n)
{
	for (int i = 0; i < n; i++)
		task_draw(&t->data, t->seed, purpose, (uint64_t)(first + i * stride),
		        t->tokens + (ptrdiff_t)i * t->shape.T, t->targets + (ptrdiff_t)i * t->shape.n_target);
}

// On a device a step's tensors come from one piece of memory of their size: pieces of a common size leave as much
// unused as a large tensor does not fill. An evaluation needs less.
static void size_tape(struct trainer *t)
{
	const struct model_cost step =
	        model_count(&t->model, t->batch, t->shape.T, t->shape.target_from, t->shape.n_target, NULL, 1);
	const double bytes = 2 * step.tensor_bytes + step.saved_bytes;
	t->work.values.chunk_bytes = (size_t)(1.01 * bytes) + TAPE_SLACK;
}

static struct loss forward(struct trainer *t, enum tape_mode mode, int n, struct cache *cache)
{
	if (t->tape.values && !t->work.values.first)
		size_tape(t);
	tape_restart(&t->tape, mode);
	return model_loss(&t->tape, &t->model, t->tokens, n, t->shape.T, t->shape.target_from, t->shape.n_target, cache,
	        t->targets, mode == TAPE_RUN ? t->row_loss : NULL);
}

static struct loss gradients(struct trainer *t)
{
	model_clear_gradients(&t->model);
	struct loss loss = forward(t, TAPE_RECORD, t->batch, NULL);
	tape_backward(&t->tape);
	model_settle_gradients(&t->model);
	return loss;
}

static void take_down(struct trainer *t, long step)
{
	struct played_step *p = &t->played;
	const struct graph_slots *slots = t->tape.backend->graph;
	const struct exec exec = {t->tape.n_thread, t->tape.scratch};
	const size_t n_target = (size_t)t->batch * (size_t)t->shape.n_target;
	struct err err = {0};
	p->is_whole = !t->tape.backend->ranks;
	slots->begin(&exec);
	gradients(t);
	if (p->is_whole)
		optimizer_step(&t->optimizer, &t->model, step, &exec, t->tape.backend);
	p->graph = slots->end(&exec, &err);
	p->is_refused = !p->graph;
	p->taken_at = step;
	p->n_token = t->tape.n_token;
	if (p->is_refused)
		return;
	p->tokens = arena_zalloc(&t->run, (size_t)p->n_token * sizeof(*p->tokens));
	p->loss = arena_alloc(&t->run, n_target * sizeof(*p->loss));
	p->hit = arena_alloc(&t->run, n_target * sizeof(*p->hit));
}

static struct loss play(struct trainer *t, long step, double *norm)
{
	struct played_step *p = &t->played;
	const struct exec exec = {t->tape.n_thread, t->tape.scratch};
	const int m = t->batch * t->shape.n_target;
	const long n = t->tape.n_target;
	memcpy(p->tokens, t->tokens, (size_t)t->batch * (size_t)t->shape.T * sizeof(int));
	const struct graph_training what = {.tokens = p->tokens,
	        .targets = t->targets,
	        .n_token = p->n_token,
	        .n_target = m,
	        .grad_scale = n ? 1.0 / (double)n : 0,
	        .dropout_shift = op_dropout_index(step, 0) - op_dropout_index(p->taken_at, 0),
	        .lr = optimizer_lr(&t->optimizer.config, step),
	        .clip = t->optimizer.config.clip,
	        .step = step,
	        .loss = p->loss,
	        .hit = p->hit,
	        .norm = norm};
	t->tape.backend->graph->play_training(&exec, p->graph, &what);
	return loss_of_rows(p->loss, p->hit, t->targets, m);
}

static void sum_over_ranks(struct trainer *t, double *x, int n)
{
	const struct exec exec = {t->tape.n_thread, t->tape.scratch};
	if (t->n_rank > 1)
		t->tape.backend->ranks->sum(&exec, x, n);
}

int trainer_agree(struct trainer *t, int wish)
{
	double n = wish != 0;
	sum_over_ranks(t, &n, 1);
	return n > 0;
}

int trainer_differs(struct trainer *t, long number)
{
	double sums[2] = {(double)number, (double)number * (double)number}, n = t->n_rank;
	sum_over_ranks(t, sums, 2);
	return sums[1] * n != sums[0] * sums[0]; // equal only where all are
}

// The targets of the whole batch, other ranks' too.
static long count_targets(struct trainer *t)
{
	double n = 0;
	for (long i = 0; i < (long)t->batch * t->shape.n_target; i++)
		n += t->targets[i] >= 0;
	sum_over_ranks(t, &n, 1);
	return (long)n;
}

static struct loss loss_over_ranks(struct trainer *t, struct loss loss)
{
	double sum[] = {loss.mean * (double)loss.n, (double)loss.hits};
	if (t->n_rank == 1)
		return loss;
	sum_over_ranks(t, sum, 2);
	return (struct loss){sum[0] / (double)t->tape.n_target, t->tape.n_target, (long)sum[1]};
}

struct loss trainer_step(struct trainer *t, long step)
{
	struct played_step *p = &t->played;
	const struct backend *backend = t->tape.backend;
	const struct exec exec = {t->tape.n_thread, t->tape.scratch};
	double norm = 0;
	draw_batch(t, RNG_TRAIN, ((step - 1) * t->n_rank + t->rank) * t->batch, 1, t->batch);
	t->tape.dropout_step = (unsigned long long)step;
	t->tape.n_target = count_targets(t);
	if (backend->graph && backend->graph->play_training && !p->is_refused && p->n_step++ == 1)
		take_down(t, step);
	struct loss loss = p->graph ? play(t, step, &norm) : gradients(t);
	loss = loss_over_ranks(t, loss);
	t->tape.n_target = 0; // evaluations are of this rank alone
	if (!(p->graph && p->is_whole) && isfinite(loss.mean))
		norm = optimizer_step(&t->optimizer, &t->model, step, &exec, backend);
	if (!isfinite(norm))
		loss.mean = NAN;
	return loss;
}

// The first n sequences of the batch in work. A cache is of a whole batch: its other rows repeat the first sequence and
// are not scored.
static struct loss evaluate_batch(struct trainer *t, int n)
{
	const int T = t->shape.T, n_target = t->shape.n_target;
	if (!t->cache)
		return forward(t, TAPE_RUN, n, NULL);
	for (int i = n; i < t->batch; i++) {
		memcpy(t->tokens + (ptrdiff_t)i * T, t->tokens, (size_t)T * sizeof(int));
		memset(t->targets + (ptrdiff_t)i * n_target, -1, (size_t)n_target * sizeof(int));
	}
	cache_clear(t->cache);
	return forward(t, TAPE_RUN, t->batch, t->cache);
}

// What an evaluation sums up: nats and targets of all sequences, and the squares and products that their scatter takes.
struct sums {
	double nats, nats2, product, n2;
	long n, hits, n_sequence;
};

// The first `size` sequences of the batch in work, whose loss is `part`.
static void add_batch(struct sums *sum, const struct trainer *t, struct loss part, int size)
{
	sum->nats += part.mean * (double)part.n;
	sum->n += part.n;
	sum->hits += part.hits;
	sum->n_sequence += size;
	for (int i = 0; i < size; i++) {
		double nats = 0, n = 0;
		for (ptrdiff_t j = (ptrdiff_t)i * t->shape.n_target, end = j + t->shape.n_target; j < end; j++) {
			nats += t->row_loss[j];
			n += t->targets[j] >= 0;
		}
		sum->nats2 += nats * nats;
		sum->product += nats * n;
		sum->n2 += n * n;
	}
}

static void add_sums(struct sums *all, const struct sums *more)
{
	all->nats += more->nats;
	all->nats2 += more->nats2;
	all->product += more->product;
	all->n2 += more->n2;
	all->n += more->n;
	all->hits += more->hits;
	all->n_sequence += more->n_sequence;
}

// The mean is a ratio, nats over targets: its error is that of nats less mean times targets (they are equal in number
// for most tasks).
static struct evaluation evaluation_of(const struct sums *sum)
{
	const double n = sum->n ? (double)sum->n : 1, mean = sum->nats / n, k = (double)sum->n_sequence;
	const double scatter = fmax(0, sum->nats2 - 2 * mean * sum->product + mean * mean * sum->n2);
	return (struct evaluation){{mean, sum->n, sum->hits}, sqrt(scatter * k / (k - 1)) / n};
}

struct evaluation trainer_evaluate(struct trainer *t, enum rng_purpose purpose, long n, struct evaluation *slice)
{
	struct sums all = {0};
	// Slice by slice, since a batch has one loss: sequence `index` is of slice index % n_slice.
	const long n_slice = slice && t->shape.n_slice ? t->shape.n_slice : 1;
	for (long s = 0; s < n_slice; s++) {
		struct sums sum = {0};
		for (long first = s; first < n; first += t->batch * n_slice) {
			const long left = (n - first + n_slice - 1) / n_slice;
			const int size = left < t->batch ? (int)left : t->batch;
			draw_batch(t, purpose, first, n_slice, size);
			add_batch(&sum, t, evaluate_batch(t, size), size);
		}
		if (slice)
			slice[s] = evaluation_of(&sum);
		add_sums(&all, &sum);
	}
	return evaluation_of(&all);
}

struct step_cost trainer_count(const struct setup *setup, int batch, int recomputes)
{
	struct arena memory;
	arena_init(&memory, RUN_CHUNK);
	struct task_shape shape = setup->task->shape(setup->task_config);
	struct model model;
	model_init(&model, setup->model, setup->variant, setup->variant_config, &memory);
	model.recomputes = recomputes;
	const struct model_cost cost = model_count(&model, batch, shape.T, shape.target_from, shape.n_target, NULL, 1);
	arena_release(&memory);
	return (struct step_cost){
	        cost.forward, cost.backward, cost.tensor_bytes, cost.saved_bytes, cost.scratch_bytes, model.n_number};
}

double trainer_bytes(const struct step_cost *cost, int is_apart)
{
	return 4.0 * cost->n_param * sizeof(real) + 2 * cost->tensor_bytes + cost->saved_bytes +
	       (is_apart ? cost->scratch_bytes : 0);
}
