// SPDX-License-Identifier: MIT
// Memory that is taken once and handed out by moving a pointer: no malloc between a timer's start and stop.
// A run has three: `run` (weights, optimiser state, caches), `step` (the tape), `scratch` (inside one op).
// First touch of fresh pages costs about 1 GB/s here and 5 GB/s with huge pages (reference/cpu-anchors.md 1.2),
// so arenas ask for huge pages, grow by whole chunks and are reused, never returned, until released.
#ifndef KVLAB_BASE_ARENA_H
#define KVLAB_BASE_ARENA_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

struct arena_chunk;
// Where an arena's chunks come from. NULL in place of one: the system.
struct memory_source {
	void *(*take)(size_t bytes); // aligned to 256 bytes; ends the process with a sentence where there is no more
	void (*give)(void *at, size_t bytes);
	double (*available)(void); // bytes that could be taken now
};

struct arena {
	struct arena_chunk *first, *current;
	const struct memory_source *source;
	size_t chunk_bytes;     // least size of a new chunk
	size_t used_bytes;      // handed out since the last reset
	size_t peak_bytes;      // most ever handed out
	size_t allocated_bytes; // taken from the system
	unsigned long n_grow;   // times the system was asked: constant once a training step has run
};

struct arena_mark {
	struct arena_chunk *chunk;
	size_t offset, used_bytes;
};

void arena_init(struct arena *arena, size_t chunk_bytes);
// Chunks from there: memory that the host may not be able to touch (zalloc, strdup, printf and touch are then bugs).
void arena_init_from(struct arena *arena, size_t chunk_bytes, const struct memory_source *source);
// 64-byte aligned, not zeroed; valid until the arena is reset past it or released. Never returns NULL.
void *arena_alloc(struct arena *arena, size_t bytes);
void *arena_zalloc(struct arena *arena, size_t bytes);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);
// Writes to every page handed out, so that the system has given the memory before a timer starts. Contents are kept.
void arena_touch(struct arena *arena);
// Forgets everything handed out and keeps the memory.
void arena_reset(struct arena *arena);
// Gives the memory back. The arena may be initialised again.
void arena_release(struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
