// SPDX-License-Identifier: MIT
// What a pass costs: shapes are followed, nothing is computed.
#include "harness/model/model.h"

enum { CHUNK = 1 << 20 };

struct model_cost model_count(
        const struct model *m, int B, int T, int q_from, int n_q, struct cache *cache, int with_loss)
{
	struct arena memory;
	struct model followed = *m;
	const int length = cache ? cache->length : 0;
	arena_init(&memory, CHUNK);
	struct tape tape = {.backend = &backend_cpu, .n_thread = 1, .step = &memory, .scratch = &memory};
	tape_begin(&tape, TAPE_COUNT);
	if (with_loss)
		model_loss(&tape, &followed, NULL, B, T, q_from, n_q, cache, NULL, NULL);
	else
		model_forward(&tape, &followed, NULL, B, T, q_from, n_q, cache);
	if (cache)
		cache->length = length;
	arena_release(&memory);
	return (struct model_cost){
	        tape.forward, tape.backward, tape.tensor_bytes, tape.saved_bytes, tape.scratch_bytes};
}
