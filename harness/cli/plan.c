// SPDX-License-Identifier: MIT
#include "harness/cli/plan.h"

#include <string.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/num/cpu/probe.h"

// Share of the FMA peak that steps of small models reach on one thread (`make bench`): good for "about".
static const double reached_share = 0.4;

// FLOPs a second that one worker will reach, from a probe of some milliseconds.
static double rate(void)
{
	double best = 0;
	for (int i = 0; i < 5; i++) {
		double start = clock_s(), flops = probe_fma(1), flops_s = flops / (clock_s() - start);
		best = flops_s > best ? flops_s : best;
	}
	return best * reached_share;
}

int plan_set_device(struct spec *spec, const char *device, struct err *err)
{
	for (int p = 0; p < spec->n_point && strcmp(device, "cpu"); p++) {
		struct spec_point *point = &spec->point[p];
		const struct procedure *procedure = point->setup.procedure;
		struct err cause = {0};
		if (!option_find(procedure->options, "device"))
			return err_set(err, "%s: procedure '%s' runs on the cpu alone (leave DEVICE out)", spec->path,
			        procedure->name);
		if (option_set(procedure->options, point->setup.procedure_config, "device", device, &cause))
			return err_set(err, "--%s", cause.message);
		if (procedure->check && procedure->check(&point->setup, &cause))
			return err_set(err, "%s: point '%s': %s", spec->path, point->label, cause.message);
		point->json = setup_json(&point->setup, spec->arena);
		setup_key(point->key, &point->setup, spec->arena);
	}
	return 0;
}

const char *plan_device(const struct spec *spec)
{
	for (int p = 0; p < spec->n_point; p++) {
		const struct setup *setup = &spec->point[p].setup;
		const struct option *device = option_find(setup->procedure->options, "device");
		if (device && !option_is_initial(device, setup->procedure_config))
			return (const char *)setup->procedure_config + device->offset;
	}
	return "cpu";
}

int plan_estimate(struct plan *plan, const struct spec *spec, struct err *err)
{
	*plan = (struct plan){.cost = arena_zalloc(spec->arena, (size_t)spec->n_point * sizeof(*plan->cost)),
	        .refusal = arena_zalloc(spec->arena, (size_t)spec->n_point * sizeof(*plan->refusal))};
	double limits_s = 0;
	for (int i = 0; i < spec->n_point; i++) {
		const struct spec_point *point = &spec->point[i];
		struct cost *cost = &plan->cost[i];
		struct err cause = {0};
		if (point->setup.procedure->estimate(&point->setup, cost, &cause))
			return err_set(err, "%s: point '%s': %s", spec->path, point->label, cause.message);
		const struct procedure *procedure = point->setup.procedure;
		if (procedure->admit && procedure->admit(&point->setup, &plan->refusal[i])) {
			plan->n_refused++;
			continue;
		}
		limits_s += cost->seconds * spec->n_seed;
		plan->flops += cost->is_counted ? 0 : cost->flops * spec->n_seed;
		if (cost->device_bytes > plan->device_bytes)
			plan->device_bytes = cost->device_bytes;
		if (cost->memory_bytes > plan->peak_bytes) {
			plan->peak_bytes = cost->memory_bytes;
			plan->peak_point = i;
		}
	}
	plan->flops_s = rate();
	plan->seconds = plan->flops / plan->flops_s + limits_s;
	return 0;
}

int plan_check_memory(const struct plan *plan, const struct spec *spec, int n_worker, struct err *err)
{
	const double gib = 1024.0 * 1024 * 1024;
	double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
	double need = plan->peak_bytes * n_worker;
	if (need <= memory)
		return 0;
	return err_set(err, "%s: point '%s' needs %.1f GiB with %d at a time, this machine has %.1f GiB (%s)",
	        spec->path, spec->point[plan->peak_point].label, need / gib, n_worker, memory / gib,
	        n_worker > 1 ? "ask for fewer jobs" : "make the model, batch or sequence smaller");
}
