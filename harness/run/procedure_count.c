// SPDX-License-Identifier: MIT
// Count, without training: parameters, multiply-adds and FLOPs of one forward pass over one sequence with logits at
// every position, and the bytes that its cache takes. Everything comes from the functions that train and decode, which
// in TAPE_COUNT follow shapes only: a model of any size is counted in milliseconds and no memory of its size is taken.
// The seed changes nothing.
#include "harness/run/run.h"
#include "harness/run/trainer.h"

struct count {
	int n_token, context;
};

#define FIELD(f) offsetof(struct count, f)
static const struct option options[] = {
        {"n_token", OPTION_INT, FIELD(n_token), "0", 0, 1 << 24, NULL,
                "tokens of the sequence; 0: as long as the task's"},
        {"context", OPTION_INT, FIELD(context), "0", 0, 1 << 30, NULL,
                "positions of the cache whose bytes are counted; 0: n_token"},
        {NULL},
};

static int n_token(const struct setup *setup)
{
	const struct count *c = setup->procedure_config;
	return c->n_token ? c->n_token : setup->task->shape(setup->task_config).T;
}

static int check(const struct setup *setup, struct err *err)
{
	const struct model_config *model = setup->model;
	if (n_token(setup) > model->n_ctx)
		return err_set(
		        err, "n_token %d is more than n_ctx %d (raise model.n_ctx)", n_token(setup), model->n_ctx);
	return 0;
}

struct counted {
	double n_param, n_param_attention;
	struct tally forward;
	double cache_bytes_per_token; // at the context
};

static struct counted count(const struct setup *setup)
{
	struct arena memory;
	struct model model;
	arena_init(&memory, 1 << 20);
	const struct count *c = setup->procedure_config;
	const int T = n_token(setup), context = c->context ? c->context : T;
	model_init(&model, setup->model, setup->variant, setup->variant_config, &memory);
	struct counted counted = {
	        .n_param = (double)model.n_number,
	        .forward = model_count(&model, 1, T, 0, T, NULL, 0).forward,
	        .cache_bytes_per_token = cache_bytes_per_token(
	                setup->cache, setup->variant, &model.dims, setup->variant_config, context),
	};
	struct param_shape table[VARIANT_PARAMS];
	const int n = setup->variant->params(&model.dims, setup->variant_config, table);
	for (int i = 0; i < n; i++)
		counted.n_param_attention += (double)table[i].rows * table[i].cols * model.dims.n_layer;
	arena_release(&memory);
	return counted;
}

static int estimate(const struct setup *setup, struct cost *cost, struct err *err)
{
	(void)err;
	const struct counted counted = count(setup);
	cost->n_param = counted.n_param;
	cost->flops = counted.forward.flops;
	cost->is_counted = 1;
	cost->memory_bytes = 0; // shapes only
	cost->cache_bytes_per_token = counted.cache_bytes_per_token;
	return 0;
}

static int run(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log, struct err *err)
{
	(void)seed, (void)n_thread, (void)err;
	const struct count *c = setup->procedure_config;
	const int context = c->context ? c->context : n_token(setup);
	const struct counted counted = count(setup);
	run_log_metric(log, "n_param", "count", -1, counted.n_param);
	run_log_metric(log, "n_param_attention", "count", -1, counted.n_param_attention);
	run_log_metric(log, "macs", "count", -1, counted.forward.macs);
	run_log_metric(log, "flops", "count", -1, counted.forward.flops);
	run_log_metric(log, "cache_bytes_per_token", "count", -1, counted.cache_bytes_per_token);
	run_log_metric(log, "cache_bytes", "count", -1, counted.cache_bytes_per_token * context);
	return 0;
}

const struct procedure procedure_count = {
        .name = "count",
        .summary = "count parameters, multiply-adds, FLOPs and cache bytes; train nothing",
        .section = "count",
        .version = 1,
        .config_bytes = sizeof(struct count),
        .options = options,
        .check = check,
        .estimate = estimate,
        .run = run,
};
