// SPDX-License-Identifier: MIT
// A CUDA device for machines without one: kernels' sources compiled by g++ (C++20) against the headers of this folder.
// It is for being right, not fast. What it does as a device does, and what tests therefore see:
//   threads of a block are fibers; __syncthreads, warp shuffles and mma are meetings of those that take part;
//   blocks run one after the other, every other one with its threads in the opposite order;
//   launches and copies are queued, and run when somebody waits for the stream: a buffer that is changed too early is
//   changed too early; a captured graph keeps the launches with their arguments;
//   device memory cannot be touched outside of launches and copies (a host that reads it dies by SIGSEGV), and is full
//   of NaN when it is fresh, as a block's shared memory is;
//   cp.async lands when it is waited for, not before.
// A block whose threads wait for others that ended, or at different barriers, ends the program with the kernel's name.
// Not emulated: races between blocks, bank conflicts, limits of registers, and how long anything takes.
#ifndef KVLAB_TESTS_EMULATE_EMULATE_H
#define KVLAB_TESTS_EMULATE_EMULATE_H
#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

struct uint3 {
	unsigned x, y, z;
};
struct dim3 {
	unsigned x, y, z;
	constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
	{
	}
};

namespace emulate
{

struct pending_copy {
	void *to;
	const void *from; // NULL: zeros
	unsigned bytes;
	int group;
};

// One thread of the block that runs.
struct fiber {
	void *stack_pointer;
	uint3 thread_index;
	int number, state;
	const char *file; // where it waits
	int line;
	unsigned mask;
	void (*complete)(void **lane_args, unsigned mask);
	void *args;
	int n_group;
	std::vector<pending_copy> copies;
};
extern fiber *current;

// All threads of the block come here before any goes on.
void sync_block(const char *file, int line);
// The lanes of `mask` come here, then complete(args of each lane, mask) runs once, then they go on.
void meet(const char *file, int line, unsigned mask, void (*complete)(void **lane_args, unsigned mask), void *args);
void *dynamic_shared();
static inline int lane()
{
	return current->number % 32;
}

// Puts `work`, which may touch device memory, at the end of the stream (or of the graph that is being taken down).
void enqueue(std::function<void()> work);
void run_kernel(const char *name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread);

template <typename F, typename... Args>
void launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes, F kernel, Args... args)
{
	auto bound = std::make_tuple(args...);
	enqueue([=] { run_kernel(name, grid, block, shared_bytes, [&] { std::apply(kernel, bound); }); });
}

template <typename T> struct shuffle {
	T value, got;
	int from;
};

template <typename T> void complete_shuffle(void **args, unsigned mask)
{
	for (int i = 0; i < 32; i++) {
		if (!(mask >> i & 1))
			continue;
		auto *me = static_cast<shuffle<T> *>(args[i]);
		const int from = me->from >= 0 && me->from < 32 && (mask >> me->from & 1) ? me->from : i;
		me->got = static_cast<shuffle<T> *>(args[from])->value;
	}
}

template <typename T> T take_from(const char *file, int line, unsigned mask, T value, int from)
{
	shuffle<T> s = {value, value, from};
	meet(file, line, mask, complete_shuffle<T>, &s);
	return s.got;
}

struct vote {
	int is_set;
	unsigned ballot;
};
unsigned ballot(const char *file, int line, unsigned mask, int is_set);
} // namespace emulate
#endif
