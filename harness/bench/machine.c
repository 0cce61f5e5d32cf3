// SPDX-License-Identifier: MIT
#include <stdio.h>

#include "harness/bench/bench.h"
#include "harness/bench/sample.h"
#include "harness/num/cpu/probe.h"

static const long read_bytes = 1L << 30;

static double fma_flops; // of one call of the arm's probe, for one thread

static void run_fma(void *n_thread)
{
	const int n = *(const int *)n_thread;
	fma_flops = probe_fma(n) / n;
}

void bench_fma_arm(struct arm *arm, int *n_thread)
{
	arm->run = run_fma;
	arm->arg = n_thread;
}

double bench_fma_rate(const struct arm *arm)
{
	return fma_flops * *(const int *)arm->arg / arm->median;
}

void bench_print_target(double value, double target, const char *unit)
{
	printf("   target %.4g%s: %s\n", target, unit, value >= target ? "met" : "missed");
}

struct stream {
	const real *x;
	long n;
	int n_thread;
	volatile double sum;
};

static void run_read(void *arg)
{
	struct stream *s = arg;
	s->sum = probe_read(s->x, s->n, s->n_thread);
}

void bench_machine(struct bench *bench)
{
	int threads[2] = {1, bench->n_thread};
	const struct arena_mark mark = arena_mark(&bench->arena);
	struct arm *arm = arena_zalloc(&bench->arena, 4 * sizeof(*arm));
	real *x = arena_zalloc(&bench->arena, (size_t)read_bytes);
	struct stream stream[2];
	for (int i = 0; i < 2; i++) {
		stream[i] = (struct stream){x, read_bytes / (long)sizeof(real), threads[i], 0};
		bench_fma_arm(&arm[i], &threads[i]);
		arm[2 + i].run = run_read;
		arm[2 + i].arg = &stream[i];
	}
	sample_arms(arm, 4, 0.1, 4, &bench->rng);
	printf("machine: %s, %s\n", backend_cpu.name, backend_cpu.library());
	for (int i = 0; i < 2; i++)
		printf("  %d thread%s  FMA peak %6.1f GFLOP/s   read of 1 GiB %5.1f GB/s\n", threads[i],
		        threads[i] > 1 ? "s" : " ", bench_fma_rate(&arm[i]) / 1e9,
		        (double)read_bytes / arm[2 + i].median / 1e9);
	arena_rewind(&bench->arena, mark);
}
