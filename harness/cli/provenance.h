// SPDX-License-Identifier: MIT
// Who is running: the build facts that are stored with every run.
#ifndef KVLAB_CLI_PROVENANCE_H
#define KVLAB_CLI_PROVENANCE_H
#include "harness/base/arena.h"
#include "harness/store/store.h"
#ifdef __cplusplus
extern "C" {
#endif

// Commit, compiler, flags, BLAS and a hash of the running binary itself. Texts live in the arena or forever.
void provenance_build(struct store_build *build, struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
