// SPDX-License-Identifier: MIT
// What numeric tests begin with: a tape on arenas of its own, and operands filled with reproducible random numbers.
#ifndef KVLAB_TESTS_NUM_RIG_H
#define KVLAB_TESTS_NUM_RIG_H
#include "harness/base/rng.h"
#include "harness/num/op.h"
#ifdef __cplusplus
extern "C" {
#endif

struct rig {
	struct arena memory, step, scratch; // what the test holds; the tape's; inside one op
	struct tape tape;
	struct exec exec;  // of rig_exec
	uint64_t n_stream; // random streams taken so far
};

// The seed of everything random in a test program: KVLAB_TEST_SEED, else 1. The first call prints it, so that a
// failure can be run again, and other numbers can be tried: KVLAB_TEST_SEED=$RANDOM make test.
uint64_t test_seed(void);

// The rig of a test program, and cmocka's fixtures `setup` and `teardown` for it.
#define RIG_FIXTURE                                                                                                    \
	static struct rig rig;                                                                                         \
	static int setup(void **state __attribute__((unused)))                                                         \
	{                                                                                                              \
		rig_init(&rig);                                                                                        \
		return 0;                                                                                              \
	}                                                                                                              \
	static int teardown(void **state __attribute__((unused)))                                                      \
	{                                                                                                              \
		rig_release(&rig);                                                                                     \
		return 0;                                                                                              \
	}                                                                                                              \
	struct rig

void rig_init(struct rig *rig);
void rig_release(struct rig *rig);
// Empties the tape's arenas and fills them with NaN, so that reading what nobody wrote shows, then begins.
void rig_begin(struct rig *rig, enum tape_mode mode);
// For calling a kernel directly: the scratch arena empty and full of NaN.
const struct exec *rig_exec(struct rig *rig);

// A fresh stream; every call gives another.
struct rng rig_rng(struct rig *rig);
// Uniform on least..most.
int rig_int(struct rng *rng, int least, int most);
// Standard normal values; the gradient, if wanted, is NaN until something writes it. Lives as long as the rig.
struct tensor *rig_tensor(struct rig *rig, int B, int T, int C);
int *rig_tokens(struct rig *rig, int n, int n_vocab);

#ifdef __cplusplus
}
#endif
#endif
