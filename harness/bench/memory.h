// SPDX-License-Identifier: MIT
// What this process holds, as the system counts it.
#ifndef KVLAB_BENCH_MEMORY_H
#define KVLAB_BENCH_MEMORY_H
#ifdef __cplusplus
extern "C" {
#endif

struct memory {
	double resident, most; // bytes now, and most since memory_forget_peak
	double own, mapped;    // of those resident now: memory of its own; pages of files
};

// 0, or -1 where the system does not say.
int memory_now(struct memory *memory);
// The peak counts from now on. 0, or -1 where the system cannot do that.
int memory_forget_peak(void);

#ifdef __cplusplus
}
#endif
#endif
