// SPDX-License-Identifier: MIT
// kvlab plan: the resolved matrix of a spec and what it will take. Nothing is run or written.
#include <string.h>

#include "harness/cli/command.h"
#include "harness/cli/given.h"
#include "harness/cli/plan.h"
#include "harness/model/cache.h"

extern const struct command command_plan;

static const struct cli_option options[] = {
        {"scale", CLI_TEXT, "SCALE", "smoke, small, gpu or paper (default small)"},
        {"seeds", CLI_INT, "N", "plan for the first N seeds (default: the spec's own)"},
        {"device", CLI_TEXT, "DEVICE", "plan for a device, which need not be here (default: as the spec says)"},
        GIVEN_OPTIONS,
        {"keys", CLI_FLAG, NULL, "print the key of every point, too"},
        {0},
};

// 1234567 as "1.18 MiB" (base 1024, "B") or "1.23 M" (base 1000, "").
static const char *scaled(char out[32], double value, double base, const char *unit)
{
	static const char *const decimal[] = {"", "k", "M", "G", "T", "P", "E"};
	static const char *const binary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
	int i = 0;
	for (; value >= base && i < 6; i++)
		value /= base;
	snprintf(out, 32, "%.*f %s%s",
	        i == 0        ? 0
	        : value < 10  ? 2
	        : value < 100 ? 1
	                      : 0,
	        value, base == 1024 ? binary[i] : decimal[i], unit);
	return out;
}

static const char *duration(char out[32], double seconds)
{
	if (seconds < 1)
		snprintf(out, 32, "under 1 s");
	else if (seconds < 120)
		snprintf(out, 32, "about %.0f s", seconds);
	else if (seconds < 7200)
		snprintf(out, 32, "about %.0f min", seconds / 60);
	else
		snprintf(out, 32, "about %.1f h", seconds / 3600);
	return out;
}

// "2048 of 2000 (+2.4 %)": what match reached of what it aimed at.
static const char *matched(char out[64], const struct spec_point *point)
{
	snprintf(out, 64, "%.6g of %.6g (%+.1f %%)", point->match_reached, point->match_target,
	        100 * (point->match_reached / point->match_target - 1));
	return out;
}

// What the cache holds beside its tokens, whatever their number.
static double bytes_per_sequence(const struct spec_point *point)
{
	const struct setup *setup = &point->setup;
	const struct attn_dims dims = model_attn_dims(setup->model);
	return cache_count(setup->cache, setup->variant, &dims, setup->variant_config).per_sequence;
}

static void print_points(const struct spec *spec, const struct plan *plan, int with_keys)
{
	size_t widest = strlen("point");
	char flops[32], memory[32], time[32], match[64];
	for (int i = 0; i < spec->n_point; i++)
		if (strlen(spec->point[i].label) > widest)
			widest = strlen(spec->point[i].label);
	for (int i = 0; i < spec->n_skip; i++)
		if (strlen(spec->skip[i].label) > widest)
			widest = strlen(spec->skip[i].label);
	int width = (int)widest, has_tails = 0, has_recompute = 0;
	for (int i = 0; i < spec->n_point; i++) {
		has_tails |= bytes_per_sequence(&spec->point[i]) > 0;
		has_recompute |= plan->cost[i].recomputes;
	}
	printf("%-*s  %12s  %13s", width, "point", "parameters", "cache B/token");
	if (has_tails)
		printf("  %16s", "cache B/sequence");
	printf("  %10s  %10s  %13s", "FLOPs/run", "memory", "time/run");
	if (plan->device_bytes > 0)
		printf("  %13s", "device memory");
	if (has_recompute)
		printf("  %-9s", "recompute");
	if (spec->match_metric)
		printf("  %-30s", spec->match_metric);
	printf("%s\n", with_keys ? "  key" : "");
	for (int i = 0; i < spec->n_point; i++) {
		const struct cost *cost = &plan->cost[i];
		if (plan->refusal[i].is_set) {
			printf("%-*s  would fail: %s\n", width, spec->point[i].label, plan->refusal[i].message);
			continue;
		}
		double seconds = cost->seconds + (cost->is_counted ? 0 : cost->flops / plan->flops_s);
		printf("%-*s  %12.0f  %13.6g", width, spec->point[i].label, cost->n_param, cost->cache_bytes_per_token);
		if (has_tails)
			printf("  %16.6g", bytes_per_sequence(&spec->point[i]));
		printf("  %10s  %10s  %13s", scaled(flops, cost->flops, 1000, ""),
		        scaled(memory, cost->memory_bytes, 1024, "B"),
		        cost->device_bytes > 0 ? "?" : duration(time, seconds));
		if (plan->device_bytes > 0)
			printf("  %13s", scaled(memory, cost->device_bytes, 1024, "B"));
		if (has_recompute)
			printf("  %-9s", cost->recomputes ? "true" : "false");
		if (spec->match_metric)
			printf("  %-30s", matched(match, &spec->point[i]));
		printf("%s%s\n", with_keys ? "  " : "", with_keys ? spec->point[i].key : "");
	}
	for (int i = 0; i < spec->n_skip; i++)
		printf("%-*s  left out: %s\n", width, spec->skip[i].label, spec->skip[i].reason);
}

static void print_totals(const struct spec *spec, const struct plan *plan, const char *model)
{
	char flops[32], memory[32], time[32];
	printf("\n%s at scale %s%s%s: %d points x %d seeds = %ld runs", spec->experiment, spec->scale,
	        model ? ", beginning with " : "", model ? model : "", spec->n_point, spec->n_seed,
	        (long)spec->n_point * spec->n_seed);
	if (spec->n_skip)
		printf(", %d points left out", spec->n_skip);
	if (plan->n_refused)
		printf(", %d points would fail on this machine now", plan->n_refused);
	printf("\n%s FLOPs, at most %s memory a run", scaled(flops, plan->flops, 1000, ""),
	        scaled(memory, plan->peak_bytes, 1024, "B"));
	if (plan->device_bytes > 0)
		printf(" and %s of the device's; how fast it is, a run will tell\n",
		        scaled(memory, plan->device_bytes, 1024, "B"));
	else
		printf(", %s on one worker\n", duration(time, plan->seconds));
}

static int plan_spec(const struct cli_args *args, struct arena *arena, struct err *err)
{
	char *path;
	struct spec spec;
	struct plan plan;
	if (cli_flag(args, "seeds") && cli_int(args, "seeds", 0) == 0)
		return err_set(err, "plan: option '--seeds': at least 1 is needed");
	if (cli_spec_path(&path, args->positional[0], arena, err) || given_load(&spec, path, args, arena, err) ||
	        plan_set_device(&spec, cli_text(args, "device", "cpu"), err) || plan_estimate(&plan, &spec, err))
		return COMMAND_ERROR;
	print_points(&spec, &plan, cli_flag(args, "keys"));
	print_totals(&spec, &plan, cli_text(args, "model", NULL));
	return plan_check_memory(&plan, &spec, 1, err) ? COMMAND_ERROR : COMMAND_DONE;
}

static int run(int argc, char **argv, struct err *err)
{
	struct cli_args args;
	struct arena arena;
	if (cli_parse(&args, &command_plan, argc, argv, 1, 1, err))
		return COMMAND_ERROR;
	arena_init(&arena, 1 << 20);
	int result = plan_spec(&args, &arena, err);
	arena_release(&arena);
	return result;
}

const struct command command_plan = {
        .name = "plan",
        .summary = "Show the resolved matrix of a spec, its sizes and what it will take; run nothing",
        .usage = "EXPERIMENT [--scale SCALE] [--seeds N] [--model FOLDER] [--keys]",
        .options = options,
        .run = run,
};
