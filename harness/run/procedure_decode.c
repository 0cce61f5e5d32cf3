// SPDX-License-Identifier: MIT
// Decode: how fast a shape and variant generate at a context, against what they must read, and against the reference of
// the same shape (mha, or the family's own grouped queries) in the same minutes. Random weights; a gate first: nothing
// is timed whose decoding is not its forward pass. Arms and a probe of the read bandwidth are interleaved at random,
// one step each, until the interval of their ratio is narrow or the time is over; every sample is stored. A point that
// cannot run here fails alone (admit).
#include <math.h>
#include <string.h>

#include "harness/base/load.h"
#include "harness/base/memory.h"
#include "harness/base/progress.h"
#include "harness/base/rng.h"
#include "harness/base/stats.h"
#include "harness/base/verdict.h"
#include "harness/num/cpu/probe.h"
#include "harness/num/device.h"
#include "harness/run/decode_arm.h"
#include "harness/run/run.h"

struct decode {
	int context, batch, prompt, prompt_rounds, weight_dtype;
	double warm_s, most_s, width, least_effect;
	char device[DEVICE_TEXT];
};

#define FIELD(f) offsetof(struct decode, f)
static const struct option options[] = {
        {"context", OPTION_INT, FIELD(context), "512", 0, 1 << 30, NULL, "positions held before each step"},
        {"batch", OPTION_INT, FIELD(batch), "1", 0, 1 << 20, NULL, "sequences"},
        {"prompt", OPTION_INT, FIELD(prompt), "512", 1, 1 << 24, NULL,
                "tokens whose prefill is timed, of one sequence, at most the context; a longer context repeats them"},
        {"prompt_rounds", OPTION_INT, FIELD(prompt_rounds), "3", 1, 1000, NULL, "prefills of each arm"},
        {"weight_dtype", OPTION_CHOICE, FIELD(weight_dtype), "bf16", 0, 0, DTYPE_CHOICES, "type of the weights"},
        {"warm_s", OPTION_REAL, FIELD(warm_s), "0.3", 0, 1000, NULL, "seconds of steps before the first that counts"},
        {"most_s", OPTION_REAL, FIELD(most_s), "10", 0, 1e6, NULL, "seconds of sampling at most"},
        {"width", OPTION_REAL, FIELD(width), "0.02", 0, 1, NULL,
                "sampling ends when the 95 % interval (of the gain; of the median, for a reference) is this near on "
                "both sides, as a share"},
        {"least_effect", OPTION_REAL, FIELD(least_effect), "0.02", 0, 10, NULL,
                "differences below this share are called the same"},
        DEVICE_OPTION(FIELD(device)),
        {NULL},
};

// Of free memory, what a point may take; bytes of the bandwidth probe, beyond any cache of the processor.
static const double free_share = 0.9;
enum { PROBE_BYTES = 256 << 20, ROUNDS_LEAST = 6, CHECK_EVERY = 4, ROUNDS_MOST = 2000 };
static const double shortest_s = 1e-3; // a sample lasts this long at least, several steps where one is shorter

static struct decode_point shape_of(const struct setup *setup)
{
	const struct decode *c = setup->procedure_config;
	const struct cache_config *cache = setup->cache;
	int prompt = c->prompt < c->context ? c->prompt : c->context;
	if (cache->k_scales == K_SCALES_CHANNEL && prompt > DTYPE_BLOCK)
		prompt -= prompt % DTYPE_BLOCK;
	return (struct decode_point){c->context, c->batch, prompt, (enum dtype)c->weight_dtype};
}

// --- what it takes ----------------------------------------------------------------------------------------------

static double memory_of(const struct setup *setup)
{
	struct arena arena;
	struct decode_arm arm, reference;
	const struct decode_point shape = shape_of(setup);
	arena_init(&arena, 1 << 16);
	decode_arm_of(&arm, setup, &shape, &arena);
	double bytes = decode_arm_memory(&arm, &shape, 0) + PROBE_BYTES;
	if (decode_arm_reference(&reference, setup, &shape, &arena))
		bytes += decode_arm_memory(&reference, &shape, 1);
	arena_release(&arena);
	return bytes;
}

static int is_apart(const struct setup *setup)
{
	return strcmp(((const struct decode *)setup->procedure_config)->device, "cpu") != 0;
}

static int admit(const struct setup *setup, struct err *err)
{
	const struct decode *c = setup->procedure_config;
	const struct model_config *model = setup->model;
	const struct cache_config *cache = setup->cache;
	if (c->batch < 1)
		return err_set(err, "batch 0: there is no sequence to decode (decode.batch of at least 1)");
	if (c->context < 1)
		return err_set(err, "context 0: there is nothing to go on from (decode.context of at least 1)");
	if (!model->causal)
		return err_set(err, "a model that is not causal does not decode (model.causal: true)");
	if (c->context >= model->n_ctx)
		return err_set(err,
		        "context %d and a new token are beyond the model's %d positions (raise model.n_ctx)",
		        c->context, model->n_ctx);
	if (cache_check(cache, err))
		return -1;
	if (cache->k_scales == K_SCALES_CHANNEL && c->context < DTYPE_BLOCK)
		return err_set(
		        err, "k_scales: channel needs a context of at least %d, not %d", DTYPE_BLOCK, c->context);
	if (is_apart(setup)) // its memory is looked at when it has been opened
		return 0;
	const double gib = 1073741824, need = memory_of(setup), available = memory_available();
	if (available >= 0 && need > free_share * available)
		return err_set(err,
		        "needs %.1f GiB, of %.1f GiB free at most %.1f are taken (fewer layers, sequences or "
		        "positions)",
		        need / gib, available / gib, free_share * available / gib);
	return 0;
}

static int estimate(const struct setup *setup, struct cost *cost, struct err *err)
{
	(void)err;
	const struct decode *c = setup->procedure_config;
	const struct decode_point shape = shape_of(setup);
	if (c->batch < 1 || c->context < 1)
		return 0; // admit refuses it
	struct arena arena;
	struct decode_arm arm;
	arena_init(&arena, 1 << 16);
	decode_arm_of(&arm, setup, &shape, &arena);
	cost->n_param = arm.footprint.n_param;
	cost->cache_bytes_per_token = arm.footprint.cache_bytes / (shape.context + 1);
	arena_release(&arena);
	cost->memory_bytes = is_apart(setup) ? 0 : memory_of(setup);
	cost->seconds = c->most_s + 2 * c->warm_s;
	// Prefills of two arms, the gate's two among them: a multiply-add per parameter and token.
	cost->flops = 2 * 2 * cost->n_param * ((double)c->prompt_rounds * shape.prompt + 2 * 64);
	return 0;
}

// --- measuring --------------------------------------------------------------------------------------------------

enum { ARM, REFERENCE, PROBE, N_ARM };
static const char *const decode_name[N_ARM] = {"decode", "decode_reference", "probe"};
static const char *const prefill_name[N_ARM] = {"prefill", "prefill_reference"};

struct series {
	int calls; // steps of a sample
	long n;
	double sample[ROUNDS_MOST], sorted[ROUNDS_MOST];
	double median, lo, hi;
};

struct measurement {
	const struct setup *setup;
	const struct decode *options;
	struct decode_point shape;
	struct run_log *log;
	struct decode_arm arm[2];
	int is_measured[N_ARM];
	struct series step[N_ARM], prefill[2];
	struct arena arena, memory; // what the host knows; weights and caches, in the backend's memory
	struct decode_place place;
	struct tape tape;
	struct tape_memory work;
	struct rng rng;
	int *tokens; // of a prompt, or of a step
	real *probe; // PROBE_BYTES
	double sink; // what the probe has read
	struct ratio gain;
	int is_reached;
};

static void put(struct measurement *m, const char *split, const char *name, double value)
{
	run_log_metric(m->log, name, split, -1, value);
}

static int is_stopped(const struct measurement *m, double fraction)
{
	return m->log->tick && m->log->tick(m->log->context, fraction);
}

static int build(struct measurement *m, uint64_t seed, struct err *err)
{
	const struct decode_point *shape = &m->shape;
	decode_arm_of(&m->arm[ARM], m->setup, shape, &m->arena);
	m->is_measured[ARM] = m->is_measured[PROBE] = 1;
	m->is_measured[REFERENCE] = decode_arm_reference(&m->arm[REFERENCE], m->setup, shape, &m->arena);
	for (int a = ARM; a <= REFERENCE; a++)
		if (m->is_measured[a] &&
		        decode_arm_build(&m->arm[a], a ? &m->arm[ARM] : NULL, shape, seed, &m->place, err))
			return -1;
	const int n = shape->prompt > shape->batch ? shape->prompt : shape->batch;
	m->tokens = arena_alloc(&m->arena, (size_t)n * sizeof(*m->tokens));
	for (int i = 0; i < n; i++)
		m->tokens[i] = (int)rng_below(&m->rng, (uint32_t)m->arm[ARM].config.n_vocab);
	const struct backend *backend = m->place.backend;
	const struct exec exec = {m->tape.n_thread, m->tape.scratch};
	m->probe = arena_alloc(m->place.memory, PROBE_BYTES);
	backend->clear(&exec, m->probe, PROBE_BYTES);
	if (!backend->memory)
		arena_touch(m->place.memory);
	return 0;
}

static int gate(struct measurement *m, uint64_t seed, struct err *err)
{
	for (int a = ARM; a <= REFERENCE; a++) {
		if (!m->is_measured[a])
			continue;
		const double error = decode_arm_gate(&m->arm[a], &m->tape, seed, &m->place),
		             tolerance = decode_arm_tolerance(&m->arm[a], m->place.is_rounded);
		put(m, "gate", a ? "gate_error_reference" : "gate_error", error);
		put(m, "gate", a ? "gate_tolerance_reference" : "gate_tolerance", tolerance);
		if (!(error <= tolerance))
			return err_fault(err,
			        "gate: decoding of '%s' is off its forward pass by %.2g of the largest logit, "
			        "%.2g is tolerated: not timed",
			        m->arm[a].setup.variant->name, error, tolerance);
	}
	return 0;
}

// Seconds for PROBE_BYTES: read by the processor; on a device, half of them read and written to the other half.
static double probe(struct measurement *m)
{
	const struct backend *backend = m->place.backend;
	const struct exec exec = {m->tape.n_thread, m->tape.scratch};
	const double start = clock_s();
	if (backend->memory) {
		unsigned char *half = (unsigned char *)m->probe;
		backend->move(&exec, half, half + PROBE_BYTES / 2, PROBE_BYTES / 2);
		tape_wait(&m->tape);
	} else {
		m->sink += probe_read(m->probe, PROBE_BYTES / (long)sizeof(real), m->tape.n_thread);
	}
	return clock_s() - start;
}

static double sample(struct measurement *m, int a)
{
	if (a == PROBE)
		return probe(m);
	double spent = 0;
	for (int i = 0; i < m->step[a].calls; i++)
		spent += decode_arm_step(&m->arm[a], &m->tape, m->tokens);
	return spent / m->step[a].calls;
}

static void summarise(struct series *s)
{
	memcpy(s->sorted, s->sample, (size_t)s->n * sizeof(double));
	s->median = median_of(s->sorted, s->n);
	median_interval(s->sorted, s->n, &s->lo, &s->hi);
}

static void prefill(struct measurement *m)
{
	for (int round = 0; round < m->options->prompt_rounds; round++) {
		const int first = m->is_measured[REFERENCE] ? (int)rng_below(&m->rng, 2) : 0;
		for (int i = 0; i < 2; i++) {
			const int a = (first + i) % 2;
			if (!m->is_measured[a])
				continue;
			struct series *s = &m->prefill[a];
			s->sample[s->n++] = decode_arm_prefill(&m->arm[a], &m->tape, m->tokens, m->shape.prompt);
			run_log_sample(m->log, prefill_name[a], "s", s->sample[s->n - 1]);
		}
	}
	for (int a = ARM; a <= REFERENCE; a++)
		if (m->is_measured[a]) {
			summarise(&m->prefill[a]);
			decode_arm_fill(&m->arm[a], &m->tape, m->shape.context);
		}
}

static void warm(struct measurement *m)
{
	for (int a = 0; a < N_ARM; a++) {
		struct series *s = &m->step[a];
		double start = clock_s(), least = INFINITY;
		s->calls = 1;
		do {
			if (m->is_measured[a])
				least = fmin(least, sample(m, a));
		} while (m->is_measured[a] && clock_s() - start < m->options->warm_s);
		s->calls = least < shortest_s ? (int)(shortest_s / least) + 1 : 1;
	}
}

// Whether the interval that is asked for is narrow enough; sets the gain on the way.
static int is_narrow(struct measurement *m)
{
	const struct series *arm = &m->step[ARM], *reference = &m->step[REFERENCE];
	const double width = m->options->width;
	for (int a = 0; a < N_ARM; a++)
		if (m->is_measured[a])
			summarise(&m->step[a]);
	if (!m->is_measured[REFERENCE])
		return arm->hi - arm->median <= width * arm->median && arm->median - arm->lo <= width * arm->median;
	struct rng rng = rng_make(1, RNG_CHECK, (uint64_t)arm->n); // not the order's, which must not depend on looking
	m->gain = ratio_of_medians(reference->sample, reference->n, arm->sample, arm->n, 1, &rng);
	return m->gain.hi - m->gain.ratio <= width * m->gain.ratio &&
	       m->gain.ratio - m->gain.lo <= width * m->gain.ratio;
}

// 0, or 2 when a signal came.
static int decode(struct measurement *m)
{
	int order[N_ARM], scratch[N_ARM];
	const double start = clock_s(), most_s = m->options->most_s;
	warm(m);
	const double warm_end = clock_s();
	for (long round = 0; round < ROUNDS_MOST; round++) {
		const double spent = clock_s() - warm_end;
		if (round >= ROUNDS_LEAST && round % CHECK_EVERY == 0 && (m->is_reached = is_narrow(m)))
			break;
		if (round >= ROUNDS_LEAST && spent > most_s)
			break;
		if (is_stopped(m, 0.5 + 0.5 * fmin(1, most_s > 0 ? spent / most_s : 1)))
			return 2;
		rng_sample(&m->rng, order, N_ARM, N_ARM, scratch);
		for (int i = 0; i < N_ARM; i++) {
			struct series *s = &m->step[order[i]];
			if (!m->is_measured[order[i]])
				continue;
			s->sample[s->n++] = sample(m, order[i]);
			run_log_sample(m->log, decode_name[order[i]], "s", s->sample[s->n - 1]);
		}
	}
	m->is_reached = is_narrow(m);
	put(m, "time", "sampling_s", clock_s() - start);
	return 0;
}

// --- reporting --------------------------------------------------------------------------------------------------

static void report_counts(struct measurement *m)
{
	const struct decode_arm *arm = &m->arm[ARM], *reference = &m->arm[m->is_measured[REFERENCE] ? REFERENCE : ARM];
	const struct decode_point *shape = &m->shape;
	const double bytes = decode_arm_step_bytes(arm, shape), cache = decode_arm_cache_read_bytes(arm, shape),
	             bytes_reference = decode_arm_step_bytes(reference, shape),
	             cache_reference = decode_arm_cache_read_bytes(reference, shape),
	             weights = bytes_reference - cache_reference;
	put(m, "count", "n_param", arm->footprint.n_param);
	put(m, "count", "weight_bytes", arm->footprint.weight_bytes);
	put(m, "count", "weight_read_bytes", bytes - cache);
	put(m, "count", "cache_bytes_per_token", arm->footprint.cache.per_token);
	put(m, "count", "cache_read_bytes", cache);
	put(m, "count", "step_bytes", bytes);
	put(m, "count", "bytes_per_token", bytes / shape->batch);
	put(m, "count", "n_prompt", shape->prompt);
	put(m, "count", "is_folded", arm->is_folded);
	// What the smaller cache alone can give, and with what the variant saves in weights (paper B's Eq. 10).
	put(m, "count", "ceiling", (weights + cache_reference) / (weights + cache));
	put(m, "count", "ceiling_weights", bytes_reference / bytes);
}

static void report_series(struct measurement *m, const struct series *s, const char *const name[5])
{
	struct moments moments = {0};
	for (long i = 0; i < s->n; i++)
		moments_add(&moments, s->sample[i]);
	const double value[5] = {
	        s->median, s->lo, s->hi, sqrt(moments_variance(&moments)), (double)outliers(s->sample, s->n, NULL)};
	for (int i = 0; i < 5; i++)
		put(m, "time", name[i], value[i]);
}

static void report_times(struct measurement *m)
{
	static const char *const names[][5] = {
	        {"step_s", "step_s_lo", "step_s_hi", "step_s_sd", "step_outliers"},
	        {"reference_s", "reference_s_lo", "reference_s_hi", "reference_s_sd", "reference_outliers"},
	        {"probe_s", "probe_s_lo", "probe_s_hi", "probe_s_sd", "probe_outliers"},
	        {"prefill_s", "prefill_s_lo", "prefill_s_hi", "prefill_s_sd", "prefill_outliers"},
	};
	const struct series *arm = &m->step[ARM];
	const double bandwidth = PROBE_BYTES / m->step[PROBE].median, first = m->prefill[ARM].median;
	for (int a = 0; a < N_ARM; a++)
		if (m->is_measured[a])
			report_series(m, &m->step[a], names[a]);
	report_series(m, &m->prefill[ARM], names[3]);
	put(m, "time", "n_sample", (double)arm->n);
	put(m, "time", "is_reached", m->is_reached);
	put(m, "time", "tok_s", m->shape.batch / arm->median);
	put(m, "time", "token_ms", 1e3 * arm->median); // of each sequence
	put(m, "time", "prefill_tok_s", m->shape.prompt / first);
	put(m, "time", "first_token_s", first);
	put(m, "time", "bandwidth_bytes_s", bandwidth);
	put(m, "time", "bandwidth_share", decode_arm_step_bytes(&m->arm[ARM], &m->shape) / arm->median / bandwidth);
	if (!m->is_measured[REFERENCE])
		return;
	const struct series *reference = &m->step[REFERENCE];
	const double p = mann_whitney_p(arm->sample, arm->n, reference->sample, reference->n);
	const struct ratio time = {1 / m->gain.ratio, 1 / m->gain.hi, 1 / m->gain.lo};
	put(m, "time", "gain", m->gain.ratio);
	put(m, "time", "gain_lo", m->gain.lo);
	put(m, "time", "gain_hi", m->gain.hi);
	put(m, "time", "gain_p", p);
	put(m, "time", "verdict", verdict_of(&time, p, m->options->least_effect)); // enum verdict
	put(m, "time", "prefill_gain", m->prefill[REFERENCE].median / first);
}

static int measure(struct measurement *m, uint64_t seed, struct err *err)
{
	const struct load load = load_now();
	const double clock_mhz = load_clock_mhz();
	memory_reset_peak();
	if (build(m, seed, err))
		return -1;
	if (is_stopped(m, 0.1))
		return 2;
	if (gate(m, seed, err))
		return -1;
	if (is_stopped(m, 0.2))
		return 2;
	prefill(m);
	if (is_stopped(m, 0.5) || decode(m))
		return 2;
	const double others = load_others(&load);
	report_counts(m);
	report_times(m);
	put(m, "time", "others_processors", others);
	put(m, "time", "is_busy", others > LOAD_TOLERATED);
	put(m, "time", "clock_mhz_before", clock_mhz);
	put(m, "time", "clock_mhz", load_clock_mhz());
	put(m, "time", "n_thread", m->tape.n_thread);
	put(m, "memory", "cache_bytes", m->arm[ARM].cache.allocated_bytes);
	put(m, "memory", "temporary_bytes",
	        (double)(m->work.step.allocated_bytes + m->work.values.allocated_bytes +
	                 m->work.scratch.allocated_bytes));
	put(m, "memory", "peak_bytes", memory_peak());
	return 0;
}

static int run(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log, struct err *err)
{
	const struct decode *asked = setup->procedure_config;
	if (admit(setup, err))
		return -1;
	// Weights that are kept in f32 are multiplied as such.
	const struct backend *backend = device_open(asked->device, asked->weight_dtype == DTYPE_F32, err);
	if (!backend || (backend->memory && device_check_memory(backend, memory_of(setup), err)))
		return -1;
	struct arena own;
	arena_init(&own, 1 << 16);
	struct measurement *m = arena_zalloc(&own, sizeof(*m));
	m->setup = setup;
	m->options = asked;
	m->shape = shape_of(setup);
	m->log = log;
	m->rng = rng_make(seed, RNG_CHECK, 2);
	arena_init(&m->arena, 1 << 20);
	arena_init_from(&m->memory, 1 << 20, backend->memory);
	tape_open(&m->tape, &m->work, backend, n_thread, 4 << 20);
	m->place = (struct decode_place){
	        backend, &m->arena, &m->memory, n_thread, backend->memory && asked->weight_dtype != DTYPE_F32};
	const int status = measure(m, seed, err);
	for (int a = ARM; a <= REFERENCE; a++)
		decode_arm_release(&m->arm[a]);
	tape_close(&m->work);
	arena_release(&m->memory);
	arena_release(&m->arena);
	arena_release(&own);
	return status;
}

const struct procedure procedure_decode = {
        .name = "decode",
        .summary = "time prefill and decode beside the reference of the same shape and the machine's bandwidth",
        .section = "decode",
        .version = 1,
        .config_bytes = sizeof(struct decode),
        .options = options,
        .estimate = estimate,
        .admit = admit,
        .is_timed = 1,
        .run = run,
};
