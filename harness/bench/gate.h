// SPDX-License-Identifier: MIT
// Parity before timing: products and attention against plain loops. A wrong kernel is never timed.
#ifndef KVLAB_BENCH_GATE_H
#define KVLAB_BENCH_GATE_H
#include "harness/base/err.h"
#ifdef __cplusplus
extern "C" {
#endif

// 0, or -1 with what differs. Runs on n_thread threads.
int gate_check(int n_thread, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
