// SPDX-License-Identifier: MIT
#include "harness/run/perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "harness/base/arena.h"

enum { BLOCKS_MOST = 64, BATCH_BYTES = 64 << 20, BATCH_TOKENS = 4096, STEP_CHUNK = 32 << 20, RUN_CHUNK = 1 << 20 };

// Tokens from..to-1, of which scored..to-1 are scored.
struct window {
	long from, scored, to;
};

// What one token, or the tokens of one block, come to.
struct score {
	double loss, reference_loss, excess, kl;
	long n, agree;
};

struct work {
	const struct perplexity_config *config;
	struct model *model;
	const int *ids;
	long n_id;
	int batch;
	struct arena run, memory; // memory: of the cached rows, the model's home's
	struct tape tape;
	struct tape_memory work;
	struct cache *cache; // NULL: none
	int *tokens;         // (batch, context - 1)
	int *targets;        // (batch, n_q) of the batch in work,
	struct score *score; // and what each of its tokens comes to
	long n_token, n_window, n_block;
	struct score *block;
	long hits;
};

// --- windows -------------------------------------------------------------------------------------------------------

// Up to the one that reaches the end; one that would score nothing (disjoint windows, one token left over) is none.
static long count_windows(long n_id, int context, int stride)
{
	if (n_id <= context)
		return 1;
	const long n = 1 + (n_id - context + stride - 1) / stride;
	return n - (stride == context && (n - 1) * stride == n_id - 1);
}

static struct window window_at(const struct work *w, long i)
{
	const long context = w->config->context, from = i * w->config->stride;
	const long scored = i ? from - w->config->stride + context : 0;
	return (struct window){
	        .from = from,
	        .scored = scored > from ? scored : from + 1, // nothing stands before a window's first token
	        .to = from + context < w->n_id ? from + context : w->n_id,
	};
}

// Inputs of a window, and the rows of its logits that are looked at.
static int n_input(struct window at)
{
	return (int)(at.to - at.from) - 1;
}

static int n_row(struct window at)
{
	return (int)(at.to - at.scored);
}

// --- scores --------------------------------------------------------------------------------------------------------

// Row of a reference's logits r against the model's x, both of n numbers, whose logs of sums of exponentials are known.
static void compare_row(struct score *score, const real *x, double lse, const real *r, double r_lse, int n)
{
	int best = 0, r_best = 0;
	double kl = 0;
	for (int j = 0; j < n; j++) {
		const double log_p = (double)r[j] - r_lse;
		kl += exp(log_p) * (log_p - ((double)x[j] - lse));
		best = x[j] > x[best] ? j : best;
		r_best = r[j] > r[r_best] ? j : r_best;
	}
	score->kl = kl;
	score->agree = best == r_best;
}

static struct tensor *forward(struct work *w, struct model *model, int B, struct window shape, struct cache *cache)
{
	const int T = n_input(shape), n_q = n_row(shape);
	tape_begin(&w->tape, TAPE_RUN);
	return model_forward(&w->tape, model, w->tokens, B, T, T - n_q, n_q, cache);
}

// Without a reference nobody needs all logits at once. The batch has m tokens, and windows of it that are not scored.
static void score_alone(struct work *w, int B, struct window shape, int m)
{
	const int T = n_input(shape), n_q = n_row(shape);
	const struct arena_mark mark = arena_mark(&w->run);
	double *loss = arena_alloc(&w->run, (size_t)B * (size_t)n_q * sizeof(*loss));
	tape_begin(&w->tape, TAPE_RUN);
	w->hits += model_loss(&w->tape, w->model, w->tokens, B, T, T - n_q, n_q, w->cache, w->targets, loss).hits;
	for (int i = 0; i < m; i++)
		w->score[i] = (struct score){.loss = loss[i], .n = 1};
	arena_rewind(&w->run, mark);
}

static void score_beside(struct work *w, int m, struct tensor *logits, struct tensor *reference)
{
	const int n = logits->C;
	const struct arena_mark mark = arena_mark(&w->run);
	double *loss = arena_alloc(&w->run, 2 * (size_t)(logits->B * logits->T) * sizeof(*loss));
	double *reference_loss = loss + (ptrdiff_t)logits->B * logits->T;
	w->hits += op_cross_entropy(&w->tape, logits, w->targets, loss).hits;
	op_cross_entropy(&w->tape, reference, w->targets, reference_loss);
	const real *all = tensor_on_host(&w->tape, logits), *all_reference = tensor_on_host(&w->tape, reference);
#pragma omp parallel for num_threads(w->tape.n_thread) if (w->tape.n_thread > 1) schedule(static)
	for (int i = 0; i < m; i++) {
		const real *x = all + (ptrdiff_t)i * n, *r = all_reference + (ptrdiff_t)i * n;
		w->score[i] = (struct score){.loss = loss[i],
		        .reference_loss = reference_loss[i],
		        .excess = loss[i] - reference_loss[i],
		        .n = 1};
		// A loss is the log of the sum less the target's logit.
		compare_row(&w->score[i], x, loss[i] + (double)x[w->targets[i]], r,
		        reference_loss[i] + (double)r[w->targets[i]], n);
	}
	arena_rewind(&w->run, mark);
}

static void add_score(struct score *sum, const struct score *part)
{
	sum->loss += part->loss;
	sum->reference_loss += part->reference_loss;
	sum->excess += part->excess;
	sum->kl += part->kl;
	sum->n += part->n;
	sum->agree += part->agree;
}

// Windows first..first+B-1, which are of one shape. A cache is of a whole batch: the rest of it repeats the first
// window and is not scored.
static void measure_batch(struct work *w, long first, int B)
{
	const struct window shape = window_at(w, first);
	const int T = n_input(shape), n_q = n_row(shape), B_run = w->cache ? w->batch : B;
	for (int b = 0; b < B_run; b++) {
		const struct window at = window_at(w, first + (b < B ? b : 0));
		for (int t = 0; t < T; t++)
			w->tokens[(ptrdiff_t)b * T + t] = w->ids[at.from + t];
		for (int q = 0; q < n_q; q++)
			w->targets[(ptrdiff_t)b * n_q + q] = b < B ? w->ids[at.scored + q] : -1;
	}
	if (w->cache)
		cache_clear(w->cache);
	tape_restart(&w->tape, TAPE_RUN);
	struct model *reference = w->config->reference;
	if (reference) {
		struct tensor *logits = forward(w, w->model, B_run, shape, w->cache);
		score_beside(w, B * n_q, logits, forward(w, reference, B, shape, NULL));
	} else {
		score_alone(w, B_run, shape, B * n_q);
	}
	for (int b = 0; b < B; b++)
		for (int q = 0; q < n_q; q++)
			add_score(&w->block[(first + b) * w->n_block / w->n_window], &w->score[(ptrdiff_t)b * n_q + q]);
}

static void measure_all(struct work *w)
{
	const struct perplexity_config *c = w->config;
	long done = 0;
	for (long first = 0, B; first < w->n_window; first += B) {
		const struct window shape = window_at(w, first);
		for (B = 1; B < w->batch && first + B < w->n_window; B++) {
			const struct window next = window_at(w, first + B);
			if (n_input(next) != n_input(shape) || n_row(next) != n_row(shape))
				break;
		}
		measure_batch(w, first, (int)B);
		done += B * n_row(shape);
		if (c->tick)
			c->tick(c->tick_context, done, w->n_token);
	}
}

// --- the whole -----------------------------------------------------------------------------------------------------

// A ratio of sums over independent blocks: of the nats at `offset` of a score to the tokens.
static struct estimate estimate_of(const struct work *w, size_t offset)
{
	const double m = (double)w->n_block;
	double sum = 0, n = 0, squares = 0;
	for (long i = 0; i < w->n_block; i++) {
		sum += *(const double *)(const void *)((const char *)&w->block[i] + offset);
		n += (double)w->block[i].n;
	}
	for (long i = 0; i < w->n_block; i++) {
		const double L = *(const double *)(const void *)((const char *)&w->block[i] + offset);
		const double off = L - (double)w->block[i].n * sum / n;
		squares += off * off;
	}
	return (struct estimate){sum / n, m < 2 ? NAN : sqrt(m / (m - 1) * squares) / n};
}

static struct perplexity result_of(const struct work *w)
{
	struct score sum = {0};
	for (long i = 0; i < w->n_block; i++)
		add_score(&sum, &w->block[i]);
	const double n = (double)sum.n;
	struct perplexity r = {.n_token = sum.n,
	        .n_window = w->n_window,
	        .n_block = w->n_block,
	        .loss = estimate_of(w, offsetof(struct score, loss)),
	        .accuracy = (double)w->hits / n,
	        .bits_per_byte = NAN,
	        .reference_loss = NAN,
	        .excess = {NAN, NAN},
	        .kl = {NAN, NAN},
	        .agreement = NAN};
	r.perplexity.mean = exp(r.loss.mean);
	r.perplexity.standard_error = r.perplexity.mean * r.loss.standard_error;
	if (w->config->n_byte > 0)
		r.bits_per_byte = r.loss.mean / M_LN2 * (double)(w->n_id - w->config->n_prefix) / w->config->n_byte;
	if (w->config->reference) {
		r.reference_loss = sum.reference_loss / n;
		r.excess = estimate_of(w, offsetof(struct score, excess));
		r.kl = estimate_of(w, offsetof(struct score, kl));
		r.agreement = (double)sum.agree / n;
	}
	return r;
}

static int check_model(const struct model *m, const char *who, const struct work *w, struct err *err)
{
	if (!m->config.causal)
		return err_set(err, "%s sees the tokens that it would have to predict (set causal: true)", who);
	if (w->config->context > m->config.n_ctx)
		return err_set(
		        err, "context %d is beyond the %d positions of %s", w->config->context, m->config.n_ctx, who);
	for (long i = 0; i < w->n_id; i++)
		if (w->ids[i] < 0 || w->ids[i] >= m->config.n_vocab)
			return err_set(err,
			        "token %ld of the text has the id %d, and %s a vocabulary of %d (is this its "
			        "tokenizer?)",
			        i + 1, w->ids[i], who, m->config.n_vocab);
	return 0;
}

static int check(const struct work *w, struct err *err)
{
	const struct perplexity_config *c = w->config;
	if (w->n_id < 2)
		return err_set(err, "a text of fewer than 2 tokens has none to predict (give a longer one)");
	if (c->context < 2)
		return err_set(err, "context %d leaves nothing to predict from (give at least 2)", c->context);
	if (c->stride < 1 || c->stride > c->context)
		return err_set(err, "stride %d is not within 1 and the context of %d", c->stride, c->context);
	if (check_model(w->model, "the model", w, err))
		return -1;
	if (!c->reference)
		return 0;
	if (c->reference->config.n_vocab != w->model->config.n_vocab)
		return err_set(err, "the reference has a vocabulary of %d, the model one of %d: nothing to compare",
		        c->reference->config.n_vocab, w->model->config.n_vocab);
	return check_model(c->reference, "the reference", w, err);
}

static int make_cache(struct work *w, struct err *err)
{
	const struct cache_config *config = w->config->cache;
	const struct model *m = w->model;
	const int T = w->config->context - 1;
	if (config && cache_check(config, err))
		return -1;
	if (!config || (config->k_dtype == DTYPE_F32 && config->v_dtype == DTYPE_F32))
		return 0;
	if (config->k_scales == K_SCALES_CHANNEL && T < DTYPE_BLOCK)
		return err_set(err,
		        "k_scales: channel rounds no key of %d tokens: a block of a channel has %d (give a longer "
		        "context)",
		        T, DTYPE_BLOCK);
	w->cache = arena_alloc(&w->run, sizeof(*w->cache));
	return cache_init_in(w->cache, config, m->variant, &m->dims, m->variant_config, w->batch, T, &w->run,
	        m->home->memory ? &w->memory : &w->run, err);
}

// Enough rows to be quick; more would only take more memory.
int perplexity_batch(int n_vocab, int context, int stride)
{
	const double logits_bytes = (double)stride * n_vocab * (double)sizeof(real);
	const double most = fmin(BATCH_BYTES / logits_bytes, (double)BATCH_TOKENS / context);
	return most < 1 ? 1 : (int)most;
}

static int batch_of(const struct work *w)
{
	const struct perplexity_config *c = w->config;
	const int most = c->batch ? c->batch : perplexity_batch(w->model->config.n_vocab, c->context, c->stride);
	return most < w->n_window ? most : (int)w->n_window;
}

int perplexity_measure(struct perplexity *result, struct model *model, const int *ids, long n_id,
        const struct perplexity_config *config, struct err *err)
{
	struct work w = {.config = config, .model = model, .ids = ids, .n_id = n_id};
	if (check(&w, err))
		return -1;
	w.n_window = count_windows(n_id, config->context, config->stride);
	w.n_block = w.n_window < BLOCKS_MOST ? w.n_window : BLOCKS_MOST;
	for (long i = 0; i < w.n_window; i++)
		w.n_token += n_row(window_at(&w, i));
	w.batch = batch_of(&w);
	arena_init(&w.run, RUN_CHUNK);
	arena_init_from(&w.memory, RUN_CHUNK, model->home->memory);
	tape_open(&w.tape, &w.work, model->home, config->n_thread, STEP_CHUNK);
	const size_t n = (size_t)w.batch * (size_t)(config->context - 1);
	w.tokens = arena_alloc(&w.run, n * sizeof(*w.tokens));
	w.targets = arena_alloc(&w.run, n * sizeof(*w.targets));
	w.score = arena_alloc(&w.run, n * sizeof(*w.score));
	w.block = arena_zalloc(&w.run, (size_t)w.n_block * sizeof(*w.block));
	const int status = make_cache(&w, err);
	if (status == 0) {
		measure_all(&w);
		*result = result_of(&w);
	}
	arena_release(&w.run);
	arena_release(&w.memory);
	tape_close(&w.work);
	return status;
}
