// SPDX-License-Identifier: MIT
// Benches on a device: what it can do is probed beside every sample, through the backend itself. Products and attention
// round what they multiply to bf16. Host clocks around work that has been waited for.
#ifndef KVLAB_BENCH_DEVICE_H
#define KVLAB_BENCH_DEVICE_H
#include "harness/bench/bench.h"
#include "harness/num/backend.h"
#include "harness/num/tape.h"
#ifdef __cplusplus
extern "C" {
#endif

// Not to be measured by, but to see that a bench runs: sizes that an emulated device does in a second.
#define DEVICE_TRIAL "tiny"

struct device {
	const struct backend *backend;
	int is_trial;
	struct tape tape; // for waiting and scratch memory
	struct tape_memory work;
	struct arena memory;
	int n; // of the probe's product
	void *a, *b;
	real *c;
	size_t copied; // bytes of the probe's copy
	unsigned char *from, *to;
};

// 0, or -1 with the sentence: there is no such device, its memory is the host's, or it computes something else than the
// CPU (three steps of training; nothing is timed then).
int device_begin(struct device *d, const char *name, int is_trial, struct err *err);
void device_end(struct device *d);
// Once, before the rates: their operands.
int device_take_probes(struct device *d, struct err *err);
// FLOPs a second just now of a large bf16 product, its operands rounded before; d is a struct device.
double device_product_rate(void *d);
// Bytes a second just now, read and written, of a large copy.
double device_copy_rate(void *d);

int bench_device_train(struct bench *bench, struct device *d, const char *model, struct err *err);
// Seconds of single steps, one a line.
int bench_device_train_steps(struct bench *bench, struct device *d, const char *model, double seconds, struct err *err);
int bench_device_decode(struct bench *bench, struct device *d, const char *model, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
