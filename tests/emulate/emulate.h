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
// What a device would not forgive ends the program with the kernel's name: a block whose threads wait for others that
// ended, or at different barriers; more shared memory than 48 KB that was not asked for (cudaFuncSetAttribute); and,
// since the compiler tells of every access (watch.cpp): threads that touch the same number of shared memory with no
// barrier between, blocks that touch the same number of device memory, a copy that is read before it was waited for,
// shared memory that nobody wrote or that is not the block's, and the host's memory. Not emulated: bank conflicts,
// limits of registers, and how long anything takes.
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
	int number, state, is_in_kernel;
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
void sync_warp(const char *file, int line, unsigned mask);
// The lanes of `mask` come here, then complete(args of each lane, mask) runs once, then they go on.
void meet(const char *file, int line, unsigned mask, void (*complete)(void **lane_args, unsigned mask), void *args);
void *dynamic_shared();
// cp.async of 16 bytes (from NULL: zeros), and the wait for all but the n newest groups.
void copy_async(void *to_shared, const void *from);
void copy_commit();
void copy_wait(int n);
static inline int lane()
{
	return current->number % 32;
}

// Puts `work`, which may touch device memory, at the end of the stream (or of the graph that is being taken down).
void enqueue(std::function<void()> work);
void run_kernel(const char *name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread);
// Ends the program with a sentence about the kernel that runs.
[[noreturn]] void stop(const char *what);
// A launch is refused that takes more dynamic shared memory than this kernel may have.
void check_shared(const char *name, const void *kernel, size_t bytes);
void allow_shared(const void *kernel, size_t bytes);
enum { MOST_PARAMETER_BYTES = 4096, MOST_SHARED = 227 << 10 };

// --- watch.cpp: who touches what ----------------------------------------------------------------------------------
struct area {
	unsigned char *from;
	size_t bytes;
};
void watch_launch();
void watch_block(unsigned block, struct area dynamic_shared, struct area static_shared, struct area stacks);
void watch_barrier();
void watch_warp(int warp);
// The current thread reads or writes; a copy to there is under way, or has come to its end.
void watch(const void *at, size_t bytes, int is_write);
void watch_copy(const void *at, size_t bytes, int is_under_way);
// Where the device's memory is: addresses for so many bytes that are nobody else's, without memory yet.
struct area device_addresses();

template <typename F, typename... Args>
void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared_bytes, F thread, Args... args)
{
	static_assert((sizeof(args) + ... + 0) <= MOST_PARAMETER_BYTES);
	check_shared(name, kernel, shared_bytes);
	auto bound = std::make_tuple(args...);
	enqueue([=] { run_kernel(name, grid, block, shared_bytes, [&] { std::apply(thread, bound); }); });
}
// Around a thread's run: its arguments are its own by then.
void begin_thread();
void end_thread();

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
