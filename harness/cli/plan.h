// SPDX-License-Identifier: MIT
// What a resolved spec will take, before anything runs: shared by `kvlab plan` and `kvlab run`.
#ifndef KVLAB_CLI_PLAN_H
#define KVLAB_CLI_PLAN_H
#include "harness/spec/spec.h"
#ifdef __cplusplus
extern "C" {
#endif

struct plan {
	struct cost *cost;   // per point, for one run
	struct err *refusal; // per point: why it would fail here (procedure.h: admit); is_set 0: it would not
	int n_refused;
	double flops;        // of all points and seeds that would not fail
	double peak_bytes;   // of the largest point
	double device_bytes; // of a device's memory, of the point that takes most of it
	int peak_point;
	double flops_s; // that one worker will reach, about
	double seconds; // about, on one worker
};

// Every point is to run on that device ("cpu": as the spec says), which is then part of it: its key is another.
int plan_set_device(struct spec *spec, const char *device, struct err *err);
// The device that points run on, or "cpu".
const char *plan_device(const struct spec *spec);
// Asks the procedure what every point costs. Memory from the spec's arena. 0, or -1 with the point that cannot be
// estimated.
int plan_estimate(struct plan *plan, const struct spec *spec, struct err *err);
// 0, or -1 naming the first point that cannot fit in this machine's memory with n_worker runs at a time.
int plan_check_memory(const struct plan *plan, const struct spec *spec, int n_worker, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
