// SPDX-License-Identifier: MIT
// Capacity: what a cache takes, without a model that runs. Bytes come from the table that lays the cache out
// (streams()); where they fit, the cache is allocated and touched, and what the system gave is held against the count.
// How many users a memory serves, and how long one user's context can be, follow with the weights beside the cache.
// A context may be longer than the model's own positions: only the cache is asked about. The seed changes nothing.
#include <math.h>
#include <string.h>

#include "harness/base/memory.h"
#include "harness/num/device.h"
#include "harness/run/footprint.h"
#include "harness/run/run.h"
#include "harness/spec/setup.h"

struct capacity {
	int context, weight_dtype;
	double allocate, gpu_bytes;
	char device[DEVICE_TEXT];
};

#define FIELD(f) offsetof(struct capacity, f)
static const struct option options[] = {
        {"context", OPTION_INT, FIELD(context), "4096", 1, 1 << 30, NULL, "positions of the cache"},
        {"allocate", OPTION_REAL, FIELD(allocate), "0", 0, 1e15, NULL,
                "caches of at most this many bytes are allocated for real where memory is free; 0: only count"},
        {"gpu_bytes", OPTION_REAL, FIELD(gpu_bytes), "8e+10", 0, 1e15, NULL,
                "memory that weights and caches share: users and the longest context are counted for it"},
        {"weight_dtype", OPTION_CHOICE, FIELD(weight_dtype), "bf16", 0, 0, DTYPE_CHOICES, "type of the weights"},
        DEVICE_OPTION(FIELD(device)),
        {NULL},
};

// Of the memory that is free, what one run may take: others run beside it.
static const double free_share = 0.4;

static struct footprint count(const struct setup *setup)
{
	const struct capacity *c = setup->procedure_config;
	return footprint_count(setup, (enum dtype)c->weight_dtype, c->context);
}

static int estimate(const struct setup *setup, struct cost *cost, struct err *err)
{
	(void)err;
	const struct capacity *c = setup->procedure_config;
	const struct footprint f = count(setup);
	cost->n_param = f.n_param;
	cost->flops = 0;
	cost->is_counted = 1;
	cost->memory_bytes = 0; // what is allocated is what is free when the run begins, or nothing
	cost->cache_bytes_per_token = f.cache_bytes / c->context;
	return 0;
}

static double at_least_0(double x)
{
	return x > 0 ? x : 0;
}

static void put(struct run_log *log, const char *split, const char *name, double value)
{
	run_log_metric(log, name, split, -1, value);
}

// Allocates the cache, touches every page, and reports what that took beside what was counted.
static int allocate(const struct setup *setup, const struct footprint *f, struct run_log *log, struct err *err)
{
	const struct capacity *c = setup->procedure_config;
	const struct attn_dims dims = model_attn_dims(setup->model);
	struct arena memory;
	struct cache cache;
	const double resident = memory_resident();
	memory_reset_peak();
	const double before = memory_peak();
	arena_init(&memory, 1 << 16);
	int status = cache_init(
	        &cache, setup->cache, setup->variant, &dims, setup->variant_config, 1, c->context, &memory, err);
	if (!status && cache.allocated_bytes != f->cache_bytes)
		status = err_fault(err, "the cache took %.0f bytes, counted were %.0f (a bug of the count)",
		        cache.allocated_bytes, f->cache_bytes);
	if (!status) {
		arena_touch(&memory);
		put(log, "memory", "logical_bytes", cache.allocated_bytes);
		put(log, "memory", "mapped_bytes", (double)memory.allocated_bytes);
		put(log, "memory", "physical_bytes", memory_resident() - resident);
		put(log, "memory", "peak_bytes", memory_peak() - before);
	}
	arena_release(&memory);
	return status;
}

// On a device: caches of one user each, beside the weights' bytes, until the next would not fit; every one is written
// to. Reports how many there were.
static int fill_device(const struct setup *setup, const struct footprint *f, struct run_log *log, struct err *err)
{
	const struct capacity *c = setup->procedure_config;
	const struct attn_dims dims = model_attn_dims(setup->model);
	const struct backend *backend = device_open(c->device, 1, err);
	const struct exec exec = {1, NULL};
	struct arena arena, memory;
	struct cache cache;
	if (!backend || !backend->memory)
		return backend ? err_set(err, "device '%s' has no memory of its own to fill", c->device) : -1;
	if (device_check_memory(backend, f->weight_bytes + f->cache_bytes, err))
		return -1;
	arena_init(&arena, 1 << 16);
	arena_init_from(&memory, 1 << 16, backend->memory);
	const double before = backend->memory->available(), most = fmin(c->gpu_bytes, before);
	arena_alloc(&memory, (size_t)f->weight_bytes);
	long n = 0;
	int status = 0;
	// Chunks are rounded up to whole pages.
	while (!status && (double)memory.allocated_bytes + f->cache_bytes + (2 << 20) <= most &&
	        f->cache_bytes + (2 << 20) <= backend->memory->available()) {
		status = cache_init_in(&cache, setup->cache, setup->variant, &dims, setup->variant_config, 1,
		        c->context, &arena, &memory, err);
		if (!status)
			backend->clear(&exec, cache.layer[0].stream[0], (size_t)cache.allocated_bytes);
		n += !status;
	}
	put(log, "memory", "n_user_allocated", (double)n);
	put(log, "memory", "device_bytes", (double)memory.allocated_bytes);
	put(log, "memory", "available_bytes", before);
	arena_release(&memory);
	arena_release(&arena);
	return status;
}

static int run(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log, struct err *err)
{
	(void)seed, (void)n_thread;
	const struct capacity *c = setup->procedure_config;
	const struct footprint f = count(setup);
	const double left = at_least_0(c->gpu_bytes - f.weight_bytes), per_token = f.cache.per_token;
	put(log, "count", "n_param", f.n_param);
	put(log, "count", "weight_bytes", f.weight_bytes);
	put(log, "count", "cache_bytes_per_token", f.cache_bytes / c->context);
	put(log, "count", "key_bytes_per_token", f.cache.key_per_token);
	put(log, "count", "cache_bytes", f.cache_bytes);
	if (f.cache_bytes > 0) { // without a cache there is no bound
		put(log, "count", "n_user", floor(left / f.cache_bytes));
		put(log, "count", "longest_context", floor(at_least_0(left - f.cache.per_sequence) / per_token));
	}
	if (strcmp(c->device, "cpu"))
		return f.cache_bytes > 0 ? fill_device(setup, &f, log, err) : 0;
	if (f.cache_bytes > c->allocate)
		return 0;
	const double available = memory_available();
	if (available >= 0 && f.cache_bytes > free_share * available)
		return 0;
	return allocate(setup, &f, log, err);
}

const struct procedure procedure_capacity = {
        .name = "capacity",
        .summary = "count what a cache takes, allocate it where it fits, and how many users a memory serves",
        .section = "capacity",
        .version = 1,
        .config_bytes = sizeof(struct capacity),
        .options = options,
        .estimate = estimate,
        .run = run,
};
