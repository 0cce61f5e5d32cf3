// SPDX-License-Identifier: MIT
#include "harness/text/merge.h"

#include <stdlib.h>

#include "harness/base/err.h"
#include "harness/base/utf8.h"

static const uint32_t no_rank = UINT32_MAX;

struct symbol {
	int32_t id; // -1: merged into the one before it
	int32_t prev, next;
	int32_t merged; // what it makes with the next
	uint32_t rank;  // of that merge; no_rank: they do not merge
};

static void *grow(void *memory, size_t n, size_t size)
{
	memory = realloc(memory, n * size);
	if (!memory)
		die_no_memory(n * size);
	return memory;
}

void token_ids_reserve(struct token_ids *ids, size_t n_more)
{
	if (ids->n + n_more <= ids->room)
		return;
	ids->room = ids->n + n_more > 2 * ids->room ? ids->n + n_more + 64 : 2 * ids->room;
	ids->id = grow(ids->id, ids->room, sizeof(*ids->id));
}

void merge_work_release(struct merge_work *work)
{
	free(work->symbol);
	free(work->heap);
	*work = (struct merge_work){0};
}

static void reserve(struct merge_work *work, size_t n)
{
	if (n <= work->room)
		return;
	work->room = 2 * n;
	work->symbol = grow(work->symbol, work->room, sizeof(*work->symbol));
	// A merge takes one entry out and puts at most two in, so n - 1 entries become at most 2 n.
	work->heap = grow(work->heap, 2 * work->room, sizeof(*work->heap));
}

static void sink(uint64_t *heap, size_t n, size_t i)
{
	const uint64_t entry = heap[i];
	for (size_t child; (child = 2 * i + 1) < n; i = child) {
		child += child + 1 < n && heap[child + 1] < heap[child];
		if (heap[child] >= entry)
			break;
		heap[i] = heap[child];
	}
	heap[i] = entry;
}

static void push(struct merge_work *work, uint64_t entry)
{
	size_t i = work->n_heap++;
	for (; i > 0 && work->heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
		work->heap[i] = work->heap[(i - 1) / 2];
	work->heap[i] = entry;
}

static uint64_t pop(struct merge_work *work)
{
	const uint64_t least = work->heap[0];
	work->heap[0] = work->heap[--work->n_heap];
	if (work->n_heap)
		sink(work->heap, work->n_heap, 0);
	return least;
}

// What symbol i makes with its next. Whether there is an entry for the heap.
static int look_up(struct merge_work *work, const struct merges *merges, int32_t i, uint64_t *entry)
{
	struct symbol *s = &work->symbol[i];
	const struct pair *pair =
	        s->next < 0 ? NULL : pair_map_get(&merges->pair, (uint32_t)s->id, (uint32_t)work->symbol[s->next].id);
	s->rank = pair ? pair->rank : no_rank;
	if (!pair)
		return 0;
	s->merged = pair->id;
	*entry = (uint64_t)pair->rank << 32 | (uint32_t)i;
	return 1;
}

// The symbols that the word begins as; their number, or 0 with *bad where a byte has no token.
static int32_t begin(struct merge_work *work, const struct merges *merges, const struct vocabulary *vocabulary,
        const char *text, size_t n, const char **bad)
{
	int32_t n_symbol = 0;
	for (size_t at = 0; at < n;) {
		const int character = merges->is_by_character ? utf8_length(text + at, n - at) : 0;
		const size_t length = character ? (size_t)character : 1;
		const int id = character ? vocabulary_find(vocabulary, text + at, length) : -1;
		if (id >= 0)
			work->symbol[n_symbol++].id = id;
		for (size_t i = 0; id < 0 && i < length; i++) {
			const int byte = merges->byte_id[(unsigned char)text[at + i]];
			if (byte < 0) {
				*bad = text + at + i;
				return 0;
			}
			work->symbol[n_symbol++].id = byte;
		}
		at += length;
	}
	for (int32_t i = 0; i < n_symbol; i++) {
		work->symbol[i].prev = i - 1;
		work->symbol[i].next = i + 1 < n_symbol ? i + 1 : -1;
	}
	return n_symbol;
}

const char *merge_word(struct merge_work *work, const struct merges *merges, const struct vocabulary *vocabulary,
        const char *text, size_t n, struct token_ids *ids)
{
	const char *bad = NULL;
	uint64_t entry;
	if (n > INT32_MAX / 2)
		BUG("a word of %zu bytes", n);
	reserve(work, n);
	struct symbol *symbol = work->symbol;
	const int32_t n_symbol = begin(work, merges, vocabulary, text, n, &bad);
	if (bad)
		return bad;
	work->n_heap = 0;
	for (int32_t i = 0; i < n_symbol; i++)
		if (look_up(work, merges, i, &entry))
			work->heap[work->n_heap++] = entry;
	for (size_t i = work->n_heap / 2; i-- > 0;)
		sink(work->heap, work->n_heap, i);
	while (work->n_heap) {
		entry = pop(work);
		const int32_t i = (int32_t)(uint32_t)entry;
		struct symbol *s = &symbol[i];
		// Entries are not taken out when their pair is gone: it is seen here.
		if (s->id < 0 || s->rank != entry >> 32)
			continue;
		struct symbol *next = &symbol[s->next];
		s->id = s->merged;
		s->next = next->next;
		next->id = -1;
		if (s->next >= 0)
			symbol[s->next].prev = i;
		if (look_up(work, merges, i, &entry))
			push(work, entry);
		if (s->prev >= 0 && look_up(work, merges, s->prev, &entry))
			push(work, entry);
	}
	token_ids_reserve(ids, (size_t)n_symbol);
	for (int32_t i = n_symbol ? 0 : -1; i >= 0; i = symbol[i].next)
		ids->id[ids->n++] = symbol[i].id;
	return NULL;
}
