// SPDX-License-Identifier: MIT
// The contract of a procedure: what is done with one point (train it, later: recover, decode, capacity, zeroshot).
// One file harness/run/procedure_<name>.c exports `const struct procedure procedure_<name>`; the registry finds it.
#ifndef KVLAB_RUN_PROCEDURE_H
#define KVLAB_RUN_PROCEDURE_H
#include <stddef.h>
#include <stdint.h>

#include "harness/base/err.h"
#include "harness/base/option.h"
#ifdef __cplusplus
extern "C" {
#endif

struct setup;   // harness/spec/setup.h: what a point names, with every option filled in
struct run_log; // harness/run/run.h: where metrics, progress and checkpoints go

// What a point will take, before it runs. Flops over the whole run; bytes at its peak.
struct cost {
	double n_param, flops, memory_bytes, cache_bytes_per_token;
	double device_bytes; // of the memory of the device, where that is not this machine's
	int recomputes;      // blocks run again in backward, which device_bytes and flops know
	int is_counted;      // the FLOPs are those of what is counted, and nobody executes them
	double seconds;      // what a run takes at most beside those FLOPs (a measurement's time limit)
};

struct procedure {
	const char *name, *summary;
	const char *section; // the spec's section with its options: "train"
	int version;         // part of a point's key: raise it when results change
	size_t config_bytes;
	const struct option *options;
	// Optional: sets the options that others of this procedure tell in relation to the model (a rank by its share
	// of the keys' width), and these back to their defaults: what is stored says it in one way. Called once the
	// task and the model are whole and before any check. 0, or -1 with the sentence why it cannot be.
	int (*resolve)(struct setup *setup, struct err *err);
	// 0, or -1 with a sentence why this setup cannot run; called on every point before anything runs.
	int (*check)(const struct setup *setup, struct err *err);
	// Optional: hash of what is read beside the task's data (the weights that a point begins with), 0 where there
	// is none: another content is another point, whatever its path.
	uint64_t (*content)(const struct setup *setup);
	int (*estimate)(const struct setup *setup, struct cost *cost, struct err *err);
	// Optional: 0, or -1 with the reason why this point would fail on this machine now (memory that is free, limits
	// of the model). Such a point does not refuse its spec: plan shows the reason, run() stores it and the grid
	// goes on.
	int (*admit)(const struct setup *setup, struct err *err);
	int is_timed; // nothing may run beside it: one worker, with all processors
	// 0 done, 1 diverged (a result, stored), 2 stopped early as asked (resumable), -1 failed.
	int (*run)(const struct setup *setup, uint64_t seed, int n_thread, struct run_log *log, struct err *err);
};

#ifdef __cplusplus
}
#endif
#endif
