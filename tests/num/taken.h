// SPDX-License-Identifier: MIT
// The CPU's backend that can take a step down and play it again, as one of CUDA does: calls of slots are kept with what
// they were given, and run at positions `shift` higher.
#ifndef KVLAB_TESTS_NUM_TAKEN_H
#define KVLAB_TESTS_NUM_TAKEN_H
#include "harness/num/backend.h"
#ifdef __cplusplus
extern "C" {
#endif

struct backend taken_backend(void);

#ifdef __cplusplus
}
#endif
#endif
