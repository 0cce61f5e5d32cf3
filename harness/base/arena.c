// SPDX-License-Identifier: MIT
#include "harness/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/base/err.h"

enum { ALIGNMENT = 64, PAGE = 4096, HUGE_PAGE = 2 << 20 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, offset; // offset counts from the chunk's own address
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

static struct arena_chunk *chunk_new(struct arena *arena, size_t bytes)
{
	size_t size = bytes > arena->chunk_bytes ? bytes : arena->chunk_bytes;
	size = round_up(size, size >= HUGE_PAGE ? HUGE_PAGE : PAGE);
	struct arena_chunk *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk == MAP_FAILED)
		die_no_memory(size);
	if (size >= HUGE_PAGE)
		(void)madvise(chunk, size, MADV_HUGEPAGE); // a hint: correct without it
	chunk->next = NULL;
	chunk->size = size;
	chunk->offset = round_up(sizeof(*chunk), ALIGNMENT);
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
	void *memory = (char *)chunk + chunk->offset;
	chunk->offset += bytes;
	arena->used_bytes += bytes;
	if (arena->used_bytes > arena->peak_bytes)
		arena->peak_bytes = arena->used_bytes;
	return memory;
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
	return memset(arena_alloc(arena, bytes), 0, bytes);
}

char *arena_strdup(struct arena *arena, const char *text)
{
	size_t bytes = strlen(text) + 1;
	return memcpy(arena_alloc(arena, bytes), text, bytes);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *text = arena_alloc(arena, (size_t)n + 1);
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
	const size_t start = round_up(sizeof(struct arena_chunk), ALIGNMENT);
	struct arena_chunk *after = mark.chunk ? mark.chunk->next : arena->first;
	for (struct arena_chunk *chunk = after; chunk; chunk = chunk->next)
		chunk->offset = start;
	if (mark.chunk)
		mark.chunk->offset = mark.offset;
	arena->current = mark.chunk ? mark.chunk : arena->first;
	arena->used_bytes = mark.used_bytes;
}

void arena_touch(struct arena *arena)
{
	for (struct arena_chunk *chunk = arena->first; chunk; chunk = chunk->next)
		for (size_t at = 0; at < chunk->offset; at += PAGE) {
			volatile char *byte = (char *)chunk + at;
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
		munmap(chunk, chunk->size);
		chunk = next;
	}
	arena_init(arena, arena->chunk_bytes);
}
