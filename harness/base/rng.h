// SPDX-License-Identifier: MIT
// Counter-based random numbers (Philox 4x32-10 from Random123), keyed by (seed, purpose, index): each draw is a
// pure function of its key, so no draw shifts another, threads do not matter, and a resumed run needs no state.
#ifndef KVLAB_BASE_RNG_H
#define KVLAB_BASE_RNG_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

// Streams that may never overlap. Append only: the number is part of every stored result.
enum rng_purpose {
	RNG_INIT = 1,       // initial weights; index: parameter number
	RNG_TRAIN = 2,      // training sequences; index: number of the sequence since the start of training
	RNG_VALIDATION = 3, // validation sequences; index: number of the sequence
	RNG_TEST = 4,       // test sequences; index: number of the sequence
	RNG_DROPOUT = 5,    // dropout masks; index: step, then site within the step
	RNG_CHECK = 6,      // inputs of tests and benches
	RNG_ORDER = 7,      // order of stored training sequences; index: epoch
	RNG_GENERATE = 8,   // tokens drawn from a model; index: number of the token
};

// A stream of words for one (seed, purpose, index). Cheap to make; two streams of different keys are independent.
struct rng {
	uint32_t key[2], counter[4], word[4];
	int left;
};

struct rng rng_make(uint64_t seed, enum rng_purpose purpose, uint64_t index);
uint32_t rng_u32(struct rng *rng);
// Uniform on 0..n-1, unbiased (rejection).
uint32_t rng_below(struct rng *rng, uint32_t n);
// Uniform on [0, 1), 53 bits.
double rng_uniform(struct rng *rng);
// Standard normal (Box-Muller on two uniforms).
double rng_normal(struct rng *rng);
// Draws `n_draw` distinct numbers of 0..n-1 in random order into out; scratch holds n entries.
void rng_sample(struct rng *rng, int *out, int n_draw, int n, int *scratch);
// Number i of a random order of 0..n-1, n at most 2^32: a permutation that is computed, not stored, so that any place
// in an epoch can be gone on from. Orders of different keys are independent.
uint64_t rng_permute(uint64_t seed, enum rng_purpose purpose, uint64_t index, uint64_t i, uint64_t n);
// Four words for element block `block` of a stream, without state: for masks that are made in parallel.
void rng_block(uint32_t out[4], uint64_t seed, enum rng_purpose purpose, uint64_t index, uint32_t block);

#ifdef __cplusplus
}
#endif
#endif
