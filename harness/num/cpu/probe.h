// SPDX-License-Identifier: MIT
// What the machine can do, for benches: the ceilings that kernels are held against. Nothing here serves a model.
#ifndef KVLAB_NUM_CPU_PROBE_H
#define KVLAB_NUM_CPU_PROBE_H
#include "harness/num/backend.h"
#ifdef __cplusplus
extern "C" {
#endif

// Independent multiply-adds in registers on n_thread threads, about a millisecond of them. Returns their FLOPs.
double probe_fma(int n_thread);
// Reads n numbers once, one stream a thread. Returns a sum of them, so that no read can be left out.
double probe_read(const real *x, long n, int n_thread);

// The same product by OpenBLAS, which is not bound to give the same bits.
enum probe_blas {
	PROBE_BLAS_OWN_THREADS, // OpenBLAS shares the work among exec->n_thread threads
	PROBE_BLAS_HALVES, // C's rows (TN: the summed rows, added afterwards) cut for one-thread calls, one a thread
};
void probe_gemm(const struct exec *exec, const struct gemm *gemm, enum probe_blas how);

#ifdef __cplusplus
}
#endif
#endif
