// SPDX-License-Identifier: MIT
#include "harness/run/player.h"

#include <string.h>

enum { CHUNK = 1 << 20 };

static struct tensor *forward(struct tape *tape, struct model *m, struct cache *cache, const int *tokens)
{
	tape_restart(tape, TAPE_RUN);
	return model_forward(tape, m, tokens, cache->B, 1, 0, 1, cache);
}

static double bytes_at(const struct model *m, struct cache *cache, int depth)
{
	const int length = cache->length;
	cache->length = depth;
	const double bytes = model_count(m, cache->B, 1, 0, 1, cache, 0).tensor_bytes;
	cache->length = length;
	return bytes;
}

// Whether a step's tensors are the same at another depth: one position later, or earlier at the end of the cache.
static int is_shiftable(const struct model *m, struct cache *cache)
{
	const int depth = cache->length, other = depth + 2 <= cache->capacity ? depth + 1 : depth - 1;
	return other > 0 && bytes_at(m, cache, depth) == bytes_at(m, cache, other);
}

static void forget(struct player *p)
{
	if (!p->graph)
		return;
	p->backend->graph->release(p->graph);
	tape_close(&p->work);
	p->graph = NULL;
}

// The step's graph, taken down and not yet run; without one, where the backend cannot, p->graph stays NULL.
static void take_down(
        struct player *p, const struct tape *tape, struct model *m, struct cache *cache, const int *tokens)
{
	const int length = cache->length;
	struct err err = {0};
	p->backend = tape->backend;
	tape_open(&p->tape, &p->work, p->backend, tape->n_thread, CHUNK);
	p->tape.values = &p->work.values; // apart: a played step writes over values that were no more, and nothing else
	const struct exec exec = {tape->n_thread, p->tape.scratch};
	p->backend->graph->begin(&exec);
	p->logits = forward(&p->tape, m, cache, tokens);
	p->graph = p->backend->graph->end(&exec, &err);
	p->n_token = p->tape.n_token;
	p->tokens = arena_zalloc(p->tape.step, (size_t)p->n_token * sizeof(*p->tokens));
	p->depth = cache->length = length;
	if (!p->graph) {
		tape_close(&p->work);
		p->is_refused = 1;
	}
}

static struct tensor *play(struct player *p, struct tape *tape, struct cache *cache, const int *tokens)
{
	tape_restart(tape, TAPE_RUN); // as a step that is not played leaves it
	const struct exec exec = {p->tape.n_thread, p->tape.scratch};
	memcpy(p->tokens, tokens, (size_t)cache->B * sizeof(*tokens));
	p->backend->graph->play(&exec, p->graph, p->tokens, p->n_token, cache->length - p->depth);
	p->n_played++;
	cache->length++;
	return p->logits;
}

// Of a cache seen before, a step that can be taken down: one for all depths, or one of a depth that comes again.
static int is_worth_it(const struct player *p, const struct cache *cache)
{
	return p->cache == cache && !p->graph && !p->is_refused && (p->is_shiftable || p->depth == cache->length);
}

static int has_graph(const struct player *p, const struct cache *cache)
{
	return p->cache == cache && p->graph &&
	       (p->is_shiftable ? cache->length >= p->depth : cache->length == p->depth);
}

struct tensor *player_step(struct player *p, struct tape *tape, struct model *m, struct cache *cache, const int *tokens)
{
	// A step into an empty cache is no decoding.
	if (!tape->backend->graph || !cache->length)
		return forward(tape, m, cache, tokens);
	if (cache->length == cache->capacity)
		BUG("a step beyond the %d positions of its cache", cache->capacity);
	if (is_worth_it(p, cache))
		take_down(p, tape, m, cache, tokens);
	if (has_graph(p, cache))
		return play(p, tape, cache, tokens);
	forget(p);
	p->cache = cache;
	p->depth = cache->length;
	p->is_shiftable = is_shiftable(m, cache);
	struct tensor *logits = forward(tape, m, cache, tokens);
	p->is_refused |= tape->is_read;
	return logits;
}

void player_release(struct player *p)
{
	forget(p);
	*p = (struct player){0};
}
