// SPDX-License-Identifier: MIT
// Who touches what. Kernels are compiled with -fsanitize=thread, by which the compiler calls a function at every
// access; here these functions are ours. Two accesses of which one writes are a race when nothing orders them: in
// shared memory a barrier, or __syncwarp within a warp; between blocks nothing does.
#include <cstdio>
#include <sys/mman.h>

#include "tests/emulate/cuda_runtime.h"

namespace emulate
{
namespace
{
// Shared memory is watched by two bytes, device memory, where rows of packed types lie, by one.
enum { CELL = 2, MOST_WARPS = 32 };

// Shared memory: the last write, and the reads since the last barrier.
struct shared_cell {
	uint32_t written_at, written_warp_at, read_at, read_warp_at; // times
	uint16_t writer, reader;                                     // threads
	uint8_t read_by_lanes, read_by_warps, is_under_way;
};
// Device memory: what one launch did, in 32 bits.
enum kind { UNTOUCHED, READ, READ_BY_MANY, WRITTEN };
enum { BLOCK_BITS = 20, KIND_BITS = 2, LAUNCHES = 1 << (32 - BLOCK_BITS - KIND_BITS) };

struct watched {
	area memory;
	std::vector<shared_cell> cells;
};
watched dynamic_memory, static_memory;
area stacks;
uint32_t now, block_begin, warp_now[MOST_WARPS]; // times: barriers and blocks so far
uint32_t block_number, launch_number;

const size_t device_bytes = (size_t)256 << 30;
unsigned char *device_memory;
uint32_t *device_cells;

extern "C" const char __ehdr_start[] __attribute__((visibility("hidden")));
extern "C" const char _end[] __attribute__((visibility("hidden")));

enum { NOBODY = -1 };
[[noreturn]] void complain(const void *at, int is_write, const char *what, int other)
{
	char text[256], whose[16] = "";
	if (other != NOBODY)
		snprintf(whose, sizeof(whose), " %d", other);
	snprintf(text, sizeof(text), "thread %d %s %s%s, at %p", current->number, is_write ? "writes" : "reads", what,
	        whose, at);
	stop(text);
}

int is_ordered(int other, uint32_t warp_at)
{
	const int warp = current->number / 32;
	return other == current->number || (other / 32 == warp && warp_at < warp_now[warp]);
}

void touch_shared(shared_cell *c, int is_write, const void *at)
{
	const uint16_t me = (uint16_t)current->number;
	const int warp = me / 32;
	if (!is_write && c->read_at == now && c->read_by_warps)
		return; // nobody may write it before the next barrier
	if (c->is_under_way)
		complain(at, is_write, "shared memory that a copy is under way to", NOBODY);
	if (c->written_at < block_begin && !is_write)
		complain(at, is_write, "shared memory that nobody wrote", NOBODY);
	if (c->written_at == now && !is_ordered(c->writer, c->written_warp_at))
		complain(at, is_write, "shared memory, with no barrier since it was written by thread", c->writer);
	if (!is_write) {
		const int is_first = c->read_at != now;
		c->read_by_warps = !is_first && (c->read_by_warps || c->reader / 32 != warp);
		c->read_by_lanes = !is_first && (c->read_by_lanes || c->reader != me);
		c->read_at = now, c->read_warp_at = warp_now[warp], c->reader = me;
		return;
	}
	const int is_mine = c->reader == me && !c->read_by_lanes;
	if (c->read_at == now && !is_mine &&
	        (c->read_by_warps || !is_ordered(c->reader, c->read_warp_at) ||
	                (c->reader == me && c->read_warp_at == warp_now[warp])))
		complain(at, is_write, "shared memory, with no barrier since it was read by thread", c->reader);
	c->written_at = now, c->written_warp_at = warp_now[warp], c->writer = me;
}

void touch_device(uint32_t *cell, int is_write, const void *at)
{
	const uint32_t launch = launch_number << (BLOCK_BITS + KIND_BITS), me = block_number & ((1U << BLOCK_BITS) - 1);
	const uint32_t was = *cell, other = was & ((1U << BLOCK_BITS) - 1);
	// What most accesses find: this block's own, or many readers'.
	if (was == (launch | (uint32_t)WRITTEN << BLOCK_BITS | me) ||
	        (!is_write && (was == (launch | (uint32_t)READ << BLOCK_BITS | me) ||
	                              was >> BLOCK_BITS == (launch >> BLOCK_BITS | READ_BY_MANY))))
		return;
	kind before = was >> (BLOCK_BITS + KIND_BITS) == launch_number ? (kind)(was >> BLOCK_BITS & 3) : UNTOUCHED;
	if (before == WRITTEN && other != me)
		complain(at, is_write, "device memory that was written in this launch by block", (int)other);
	if (is_write && (before == READ_BY_MANY || (before == READ && other != me)))
		complain(at, is_write, "device memory that was read in this launch by block", (int)other);
	if (is_write)
		before = WRITTEN;
	else if (before == UNTOUCHED)
		before = READ;
	else if (before == READ && other != me)
		before = READ_BY_MANY;
	*cell = launch | (uint32_t)before << BLOCK_BITS | (before == READ_BY_MANY ? other : me);
}

inline shared_cell *cells_of(watched *w, const unsigned char *at, size_t bytes, int is_write)
{
	const size_t from = (size_t)(at - w->memory.from);
	if (from >= w->cells.size() * CELL)
		return nullptr;
	if (from + bytes > w->memory.bytes)
		complain(at, is_write, "shared memory beyond what the block has", NOBODY);
	return &w->cells[from / CELL];
}

// What lies behind a block's own, up to `most` bytes, is known to be outside.
void begin(watched *w, area memory, size_t most)
{
	w->memory = memory;
	w->cells.resize((most + CELL - 1) / CELL);
}
} // namespace

struct area device_addresses()
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	device_memory = (unsigned char *)mmap(nullptr, device_bytes, PROT_NONE, flags, -1, 0);
	void *cells = mmap(nullptr, device_bytes * sizeof(*device_cells), PROT_READ | PROT_WRITE, flags, -1, 0);
	if (device_memory == MAP_FAILED || cells == MAP_FAILED)
		abort();
	device_cells = (uint32_t *)cells;
	return {device_memory, device_bytes};
}

void watch_launch()
{
	if (++launch_number < LAUNCHES)
		return;
	launch_number = 1;
	madvise(device_cells, device_bytes * sizeof(*device_cells), MADV_DONTNEED);
}

void watch_block(unsigned block, struct area dynamic_shared, struct area static_shared, struct area stacks_)
{
	begin(&dynamic_memory, dynamic_shared, MOST_SHARED);
	begin(&static_memory, static_shared, static_shared.bytes);
	stacks = stacks_;
	block_number = block;
	block_begin = ++now;
	memset(warp_now, 0, sizeof(warp_now));
}

void watch_barrier()
{
	now++;
}

void watch_warp(int warp)
{
	warp_now[warp]++;
}

void watch_copy(const void *at, size_t bytes, int is_under_way)
{
	shared_cell *c = cells_of(&dynamic_memory, (const unsigned char *)at, bytes, 1);
	if (!c)
		c = cells_of(&static_memory, (const unsigned char *)at, bytes, 1);
	for (size_t i = 0; c && i < bytes / CELL; i++)
		c[i].is_under_way = (uint8_t)is_under_way;
}

void watch(const void *at, size_t bytes, int is_write)
{
	const unsigned char *p = (const unsigned char *)at;
	if (!current || !current->is_in_kernel || (size_t)(p - stacks.from) < stacks.bytes)
		return;
	shared_cell *c = cells_of(&static_memory, p, bytes, is_write);
	if (!c)
		c = cells_of(&dynamic_memory, p, bytes, is_write);
	if (c) {
		for (size_t i = 0; i * CELL < bytes; i++)
			touch_shared(c + i, is_write, p);
		return;
	}
	if ((size_t)(p - device_memory) < device_bytes) {
		uint32_t *cell = device_cells + (p - device_memory);
		for (size_t i = 0; i < bytes; i++)
			touch_device(cell + i, is_write, p);
		return;
	}
	const int is_constant = p >= (const unsigned char *)__ehdr_start && p < (const unsigned char *)_end;
	const int is_index =
	        p >= (const unsigned char *)current && p < (const unsigned char *)(current + 1); // threadIdx
	if (is_write || !(is_constant || is_index))
		complain(at, is_write, "memory that is not the device's", NOBODY);
}
} // namespace emulate

// --- what the compiler calls --------------------------------------------------------------------------------------
#define HOOK extern "C" __attribute__((visibility("hidden")))
#define ACCESS(bytes)                                                                                                  \
	HOOK void __tsan_read##bytes(void *at)                                                                         \
	{                                                                                                              \
		emulate::watch(at, bytes, 0);                                                                          \
	}                                                                                                              \
	HOOK void __tsan_write##bytes(void *at)                                                                        \
	{                                                                                                              \
		emulate::watch(at, bytes, 1);                                                                          \
	}                                                                                                              \
	HOOK void __tsan_unaligned_read##bytes(void *at)                                                               \
	{                                                                                                              \
		emulate::watch(at, bytes, 0);                                                                          \
	}                                                                                                              \
	HOOK void __tsan_unaligned_write##bytes(void *at)                                                              \
	{                                                                                                              \
		emulate::watch(at, bytes, 1);                                                                          \
	}
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
HOOK void __tsan_read_range(void *at, unsigned long bytes)
{
	emulate::watch(at, bytes, 0);
}
HOOK void __tsan_write_range(void *at, unsigned long bytes)
{
	emulate::watch(at, bytes, 1);
}
HOOK void __tsan_init()
{
}
HOOK void __tsan_vptr_read(void **)
{
}
HOOK void __tsan_vptr_update(void **, void *)
{
}
HOOK unsigned char __tsan_atomic8_load(const volatile unsigned char *at, int)
{
	return *at;
}
