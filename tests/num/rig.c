// SPDX-License-Identifier: MIT
#include "tests/num/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POISON_BYTES = 1 << 20, CHUNK = 4 << 20 };

uint64_t test_seed(void)
{
	static uint64_t seed;
	static int is_known;
	if (!is_known) {
		const char *text = getenv("KVLAB_TEST_SEED");
		seed = text && *text ? strtoull(text, NULL, 10) : 1;
		is_known = 1;
		printf("# KVLAB_TEST_SEED=%llu\n", (unsigned long long)seed);
	}
	return seed;
}

void rig_init(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	arena_init(&rig->memory, CHUNK);
	arena_init(&rig->step, CHUNK);
	arena_init(&rig->scratch, CHUNK);
	rig->tape = (struct tape){.backend = &backend_cpu, .n_thread = 1, .step = &rig->step, .scratch = &rig->scratch};
	rig->tape.dropout_seed = test_seed();
}

void rig_release(struct rig *rig)
{
	arena_release(&rig->memory);
	arena_release(&rig->step);
	arena_release(&rig->scratch);
}

static void poison(struct arena *arena)
{
	arena_reset(arena);
	memset(arena_alloc(arena, POISON_BYTES), 0xff, POISON_BYTES);
	arena_reset(arena);
}

void rig_begin(struct rig *rig, enum tape_mode mode)
{
	poison(&rig->step);
	poison(&rig->scratch);
	tape_begin(&rig->tape, mode);
}

const struct exec *rig_exec(struct rig *rig)
{
	poison(&rig->scratch);
	rig->exec = op_exec(&rig->tape);
	return &rig->exec;
}

struct rng rig_rng(struct rig *rig)
{
	return rng_make(test_seed(), RNG_CHECK, rig->n_stream++);
}

int rig_int(struct rng *rng, int least, int most)
{
	return least + (int)rng_below(rng, (uint32_t)(most - least + 1));
}

struct tensor *rig_tensor(struct rig *rig, int B, int T, int C)
{
	const size_t n = (size_t)B * (size_t)T * (size_t)C;
	struct rng rng = rig_rng(rig);
	struct tensor *t = arena_alloc(&rig->memory, sizeof(*t));
	*t = (struct tensor){.B = B, .T = T, .C = C, .b_stride = (ptrdiff_t)T * C, .t_stride = C};
	t->x = arena_alloc(&rig->memory, n * sizeof(real));
	t->dx = arena_alloc(&rig->memory, n * sizeof(real));
	memset(t->dx, 0xff, n * sizeof(real));
	for (size_t i = 0; i < n; i++)
		t->x[i] = (real)rng_normal(&rng);
	return t;
}

int *rig_tokens(struct rig *rig, int n, int n_vocab)
{
	struct rng rng = rig_rng(rig);
	int *token = arena_alloc(&rig->memory, (size_t)n * sizeof(*token));
	for (int i = 0; i < n; i++)
		token[i] = (int)rng_below(&rng, (uint32_t)n_vocab);
	return token;
}
