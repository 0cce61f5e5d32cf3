// SPDX-License-Identifier: MIT
#include "harness/bench/device.h"

#include <math.h>

#include "harness/base/progress.h"
#include "harness/bench/workload.h"
#include "harness/num/device.h"
#include "harness/num/dtype.h"
#include "harness/num/op.h"

enum { CHUNK = 1 << 20, PRODUCT = 8192, TRIAL_PRODUCT = 24, PRODUCTS = 2, COPIES = 4, GATE_STEPS = 3, SEED = 1 };
static const size_t copy_bytes = 512 << 20, trial_copy_bytes = 1 << 16;
// Of the loss: operands are off by 2^-9 of themselves at most, and a loss is a mean over rows of some such products.
static const double tolerance = 0x1p-7;

static int losses(double *loss, const struct backend *backend, const struct workload *w, struct err *err)
{
	struct trainer t;
	if (trainer_init_on(&t, backend, &w->setup, &w->optimizer, w->batch, SEED, 1, NULL, NULL, err))
		return -1;
	for (int step = 1; step <= GATE_STEPS; step++)
		loss[step - 1] = trainer_step(&t, step).mean;
	trainer_release(&t);
	return 0;
}

static int gate(const struct device *d, struct err *err)
{
	struct arena arena;
	struct workload w;
	double here[GATE_STEPS], there[GATE_STEPS];
	arena_init(&arena, CHUNK);
	const int failed = workload_init(&w, DEVICE_TRIAL, NULL, &arena, err) || losses(here, &backend_cpu, &w, err) ||
	                   losses(there, d->backend, &w, err);
	for (int i = 0; !failed && i < GATE_STEPS; i++)
		if (!(fabs(there[i] - here[i]) <= tolerance * here[i]))
			err_fault(err,
			        "bench: gate: a loss of %.6g on the device, %.6g on the cpu (run 'make check-gpu')",
			        there[i], here[i]);
	arena_release(&arena);
	return failed || err->is_set ? -1 : 0;
}

// n random numbers of bf16 in the device's memory: zeros are multiplied faster.
static void *numbers(struct device *d, long n)
{
	struct arena arena;
	arena_init(&arena, CHUNK);
	real *x = arena_alloc(&arena, (size_t)n * sizeof(*x));
	unsigned char *rows = arena_alloc(&arena, (size_t)n * 2);
	for (long i = 0; i < n; i++)
		x[i] = (real)((double)(i * 2654435761U % 65536) / 65536 - 0.5);
	dtype_write(DTYPE_BF16, rows, x, (int)n);
	void *at = arena_alloc(&d->memory, (size_t)n * 2);
	const struct exec exec = op_exec(&d->tape);
	d->backend->upload(&exec, at, rows, (size_t)n * 2);
	arena_release(&arena);
	return at;
}

int device_begin(struct device *d, const char *name, int is_trial, struct err *err)
{
	*d = (struct device){.is_trial = is_trial, .n = is_trial ? TRIAL_PRODUCT : PRODUCT};
	d->backend = device_open(name, 0, err);
	if (!d->backend)
		return -1;
	if (!d->backend->memory || !d->backend->probe_product)
		return err_set(err, "bench: option '--device': '%s' is no device (leave it out for the cpu)", name);
	if (gate(d, err))
		return -1;
	tape_open(&d->tape, &d->work, d->backend, 1, CHUNK);
	arena_init_from(&d->memory, CHUNK, d->backend->memory);
	return 0;
}

int device_take_probes(struct device *d, struct err *err)
{
	const long n = (long)d->n * d->n;
	const struct exec exec = op_exec(&d->tape);
	if (d->c)
		return 0;
	d->copied = d->is_trial ? trial_copy_bytes : copy_bytes;
	if (device_check_memory(d->backend, 8.0 * (double)n + 2.0 * (double)d->copied, err))
		return -1;
	d->a = numbers(d, n), d->b = numbers(d, n);
	d->c = arena_alloc(&d->memory, (size_t)n * sizeof(real));
	d->from = arena_alloc(&d->memory, d->copied), d->to = arena_alloc(&d->memory, d->copied);
	d->backend->clear(&exec, d->from, d->copied);
	return 0;
}

void device_end(struct device *d)
{
	tape_close(&d->work);
	arena_release(&d->memory);
}

double device_product_rate(void *device)
{
	struct device *d = device;
	const struct exec exec = op_exec(&d->tape);
	tape_wait(&d->tape);
	const double start = clock_s(), n = d->n;
	for (int i = 0; i < PRODUCTS; i++)
		d->backend->probe_product(&exec, d->c, d->a, d->b, d->n);
	tape_wait(&d->tape);
	return PRODUCTS * 2 * n * n * n / (clock_s() - start);
}

double device_copy_rate(void *device)
{
	struct device *d = device;
	const struct exec exec = op_exec(&d->tape);
	tape_wait(&d->tape);
	const double start = clock_s();
	for (int i = 0; i < COPIES; i++)
		d->backend->move(&exec, d->to, d->from, d->copied);
	tape_wait(&d->tape);
	return COPIES * 2.0 * (double)d->copied / (clock_s() - start);
}
