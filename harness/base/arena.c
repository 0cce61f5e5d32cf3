// SPDX-License-Identifier: MIT
#include "harness/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/base/err.h"

enum { ALIGNMENT = 64, PAGE = 4096, HUGE_PAGE = 2 << 20 };

// The system's chunks begin with their own header. Memory of a source may be out of the host's reach: its headers lie
// apart.
struct arena_chunk {
	struct arena_chunk *next;
	char *base;
	size_t size, start,
	        offset; // of the memory at base: what may be handed out begins at start, what is free at offset
};

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

void arena_init(struct arena *arena, size_t chunk_bytes)
{
	memset(arena, 0, sizeof(*arena));
	arena->chunk_bytes = chunk_bytes;
}

void arena_init_from(struct arena *arena, size_t chunk_bytes, const struct memory_source *source)
{
	arena_init(arena, chunk_bytes);
	arena->source = source;
}

static struct arena_chunk *chunk_of_system(size_t size)
{
	struct arena_chunk *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk == MAP_FAILED)
		die_no_memory(size);
	if (size >= HUGE_PAGE)
		(void)madvise(chunk, size, MADV_HUGEPAGE); // a hint: correct without it
	chunk->base = (char *)chunk;
	chunk->start = round_up(sizeof(*chunk), ALIGNMENT);
	return chunk;
}

static struct arena_chunk *chunk_of_source(const struct memory_source *source, size_t size)
{
	struct arena_chunk *chunk = calloc(1, sizeof(*chunk));
	if (!chunk)
		die_no_memory(sizeof(*chunk));
	chunk->base = source->take(size);
	return chunk;
}

static struct arena_chunk *chunk_new(struct arena *arena, size_t bytes)
{
	size_t size = bytes > arena->chunk_bytes ? bytes : arena->chunk_bytes;
	size = round_up(size, size >= HUGE_PAGE ? HUGE_PAGE : PAGE);
	struct arena_chunk *chunk = arena->source ? chunk_of_source(arena->source, size) : chunk_of_system(size);
	chunk->next = NULL;
	chunk->size = size;
	chunk->offset = chunk->start;
	arena->allocated_bytes += size;
	arena->n_grow++;
	return chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	bytes = round_up(bytes ? bytes : 1, ALIGNMENT);
	struct arena_chunk *chunk = arena->current;
	while (!chunk || chunk->offset + bytes > chunk->size) {
		struct arena_chunk **next = chunk ? &chunk->next : &arena->first;
		if (!*next)
			*next = chunk_new(arena, bytes + ALIGNMENT);
		chunk = *next;
		arena->current = chunk;
	}
	void *memory = chunk->base + chunk->offset;
	chunk->offset += bytes;
	arena->used_bytes += bytes;
	if (arena->used_bytes > arena->peak_bytes)
		arena->peak_bytes = arena->used_bytes;
	return memory;
}

// For who writes to it at once.
static void *alloc_here(struct arena *arena, size_t bytes)
{
	if (arena->source)
		BUG("the host writes to memory that is not its own");
	return arena_alloc(arena, bytes);
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
	return memset(alloc_here(arena, bytes), 0, bytes);
}

char *arena_strdup(struct arena *arena, const char *text)
{
	size_t bytes = strlen(text) + 1;
	return memcpy(alloc_here(arena, bytes), text, bytes);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *text = alloc_here(arena, (size_t)n + 1);
	vsnprintf(text, (size_t)n + 1, format, again);
	va_end(again);
	return text;
}

struct arena_mark arena_mark(const struct arena *arena)
{
	struct arena_chunk *chunk = arena->current;
	return (struct arena_mark){chunk, chunk ? chunk->offset : 0, arena->used_bytes};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
	struct arena_chunk *after = mark.chunk ? mark.chunk->next : arena->first;
	for (struct arena_chunk *chunk = after; chunk; chunk = chunk->next)
		chunk->offset = chunk->start;
	if (mark.chunk)
		mark.chunk->offset = mark.offset;
	arena->current = mark.chunk ? mark.chunk : arena->first;
	arena->used_bytes = mark.used_bytes;
}

void arena_touch(struct arena *arena)
{
	if (arena->source)
		BUG("the host touches memory that is not its own");
	for (struct arena_chunk *chunk = arena->first; chunk; chunk = chunk->next)
		for (size_t at = 0; at < chunk->offset; at += PAGE) {
			volatile char *byte = chunk->base + at;
			*byte = *byte;
		}
}

void arena_reset(struct arena *arena)
{
	arena_rewind(arena, (struct arena_mark){NULL, 0, 0});
}

void arena_release(struct arena *arena)
{
	for (struct arena_chunk *chunk = arena->first; chunk;) {
		struct arena_chunk *next = chunk->next;
		if (arena->source) {
			arena->source->give(chunk->base, chunk->size);
			free(chunk);
		} else {
			munmap(chunk, chunk->size);
		}
		chunk = next;
	}
	arena_init_from(arena, arena->chunk_bytes, arena->source);
}
