// SPDX-License-Identifier: MIT
// The least time a training step could take here: every product of the step at the best rate that any way of calling
// it reaches, and attention at half of the FMA peak. Nothing else of a step is in the floor.
#ifndef KVLAB_BENCH_FLOOR_H
#define KVLAB_BENCH_FLOOR_H
#include "harness/bench/profile.h"
#include "harness/bench/workload.h"
#ifdef __cplusplus
extern "C" {
#endif

enum floor_way { FLOOR_OPENBLAS, FLOOR_HALVES, FLOOR_OWN, FLOOR_WAYS };
extern const char *const floor_way_name[FLOOR_WAYS];

struct floor {
	double gemm_s[FLOOR_WAYS]; // all products of a step by one way alone
	double gemm_best_s;        // the best way for each product
	double sgemm_best_s;       // the better of the library's two ways for each
	double gemm_flops, attention_flops;
	int n_product; // distinct shapes and forms
};

// Products timed so far, on as many threads: workloads that share a shape share its measurement. Zero it at first.
enum { FLOOR_PRODUCTS = 512 };
struct floor_memory {
	int n;
	struct profile_product shape[FLOOR_PRODUCTS];
	double s[FLOOR_PRODUCTS][FLOOR_WAYS]; // seconds a call
};

// Times each distinct product of one step of the workload on n_thread threads. memory may be NULL.
void floor_measure(
        struct floor *floor, struct floor_memory *memory, const struct workload *w, int n_thread, struct rng *rng);
// Seconds, given what the FMA units do in FLOPs a second.
double floor_step_s(const struct floor *floor, double fma_flops_s);
// The same with products at the library's rates only: what sgemm sets, whatever our own kernel does.
double floor_sgemm_step_s(const struct floor *floor, double fma_flops_s);

#ifdef __cplusplus
}
#endif
#endif
