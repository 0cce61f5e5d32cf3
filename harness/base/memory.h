// SPDX-License-Identifier: MIT
// How much memory there is and how much this process has, from what the kernel says. -1 where it does not say.
#ifndef KVLAB_BASE_MEMORY_H
#define KVLAB_BASE_MEMORY_H
#ifdef __cplusplus
extern "C" {
#endif

// Bytes that can be taken without swapping or pushing others out: of the machine, or of the control group where that
// is less.
double memory_available(void);
// Bytes of this process's own memory that are in RAM now (program text and mapped files left out).
double memory_resident(void);
// The most that this process had in RAM, files and all, since the last memory_reset_peak() (where the kernel takes
// that; else since it began).
double memory_peak(void);
void memory_reset_peak(void);

#ifdef __cplusplus
}
#endif
#endif
