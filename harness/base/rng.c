// SPDX-License-Identifier: MIT
#include "harness/base/rng.h"

#include <math.h>
#include <Random123/philox.h>
#include <string.h>

// Counter layout: word 0 the block within the stream, words 1 and 2 the index, word 3 the purpose.
void rng_block(uint32_t out[4], uint64_t seed, enum rng_purpose purpose, uint64_t index, uint32_t block)
{
	philox4x32_ctr_t counter = {{block, (uint32_t)index, (uint32_t)(index >> 32), (uint32_t)purpose}};
	philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
	philox4x32_ctr_t word = philox4x32(counter, key);
	memcpy(out, word.v, sizeof(word.v));
}

struct rng rng_make(uint64_t seed, enum rng_purpose purpose, uint64_t index)
{
	return (struct rng){
	        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
	        .counter = {0, (uint32_t)index, (uint32_t)(index >> 32), (uint32_t)purpose},
	};
}

uint32_t rng_u32(struct rng *rng)
{
	if (rng->left == 0) {
		philox4x32_ctr_t counter;
		philox4x32_key_t key;
		memcpy(counter.v, rng->counter, sizeof(counter.v));
		memcpy(key.v, rng->key, sizeof(key.v));
		philox4x32_ctr_t word = philox4x32(counter, key);
		memcpy(rng->word, word.v, sizeof(word.v));
		rng->counter[0]++;
		rng->left = 4;
	}
	return rng->word[4 - rng->left--];
}

uint32_t rng_below(struct rng *rng, uint32_t n)
{
	// Lemire's method: the high half of word * n, rejecting the few low halves that would bias it.
	uint64_t product = (uint64_t)rng_u32(rng) * n;
	if ((uint32_t)product < n) {
		uint32_t threshold = -n % n;
		while ((uint32_t)product < threshold)
			product = (uint64_t)rng_u32(rng) * n;
	}
	return (uint32_t)(product >> 32);
}

double rng_uniform(struct rng *rng)
{
	uint64_t high = rng_u32(rng) >> 5, low = rng_u32(rng) >> 6;
	return (double)(high << 26 | low) * 0x1p-53;
}

double rng_normal(struct rng *rng)
{
	double u = 1.0 - rng_uniform(rng), v = rng_uniform(rng);
	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void rng_sample(struct rng *rng, int *out, int n_draw, int n, int *scratch)
{
	for (int i = 0; i < n; i++)
		scratch[i] = i;
	for (int i = 0; i < n_draw; i++) {
		int j = i + (int)rng_below(rng, (uint32_t)(n - i));
		out[i] = scratch[j];
		scratch[j] = scratch[i];
	}
}

// A Feistel network permutes the numbers of 2 * half bits, whatever its round function; what falls outside 0..n-1 is
// permuted again until it does not (cycle walking), at most four times on average.
uint64_t rng_permute(uint64_t seed, enum rng_purpose purpose, uint64_t index, uint64_t i, uint64_t n)
{
	enum { ROUNDS = 8 };
	int half = 1;
	while (half < 16 && (1ULL << 2 * half) < n)
		half++;
	const uint32_t mask = (1U << half) - 1;
	do {
		uint32_t left = (uint32_t)(i >> half), right = (uint32_t)i & mask, word[4];
		for (uint32_t round = 0; round < ROUNDS; round++) {
			rng_block(word, seed, purpose, index, round << 16 | right);
			const uint32_t next = left ^ (word[0] & mask);
			left = right;
			right = next;
		}
		i = (uint64_t)left << half | right;
	} while (i >= n);
	return i;
}
