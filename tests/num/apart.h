// SPDX-License-Identifier: MIT
// The CPU's backend with memory apart: its pages can be touched while one of its slots runs, and at no other time. Code
// that looks into a device's memory behind the backend's back dies here of a fault.
#ifndef KVLAB_TESTS_NUM_APART_H
#define KVLAB_TESTS_NUM_APART_H
#include "harness/num/backend.h"
#ifdef __cplusplus
extern "C" {
#endif

extern const struct backend backend_apart;
// Between these its memory can be touched: for slots that a test puts in place of its own.
void apart_open(void);
void apart_close(void);
// Slots called so far.
long apart_calls(void);

#ifdef __cplusplus
}
#endif
#endif
