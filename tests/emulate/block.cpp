// SPDX-License-Identifier: MIT
// Blocks of threads: fibers that change places at meetings.
#include <cstdio>
#include <link.h>
#include <map>
#include <memory>
#include <sys/mman.h>

#include "tests/emulate/cuda_runtime.h"

uint3 blockIdx;
dim3 blockDim, gridDim;

namespace emulate
{
fiber *current;

enum { STACK = 256 << 10, GUARD = 4096, MOST_THREADS = 1024, SHARED_UNASKED = 48 << 10 };
enum { RUNNABLE, AT_BARRIER, AT_MEETING, ENDED };

// --- changing places ----------------------------------------------------------------------------------------------
#ifdef __x86_64__
extern "C" void emulate_switch(void **save, void *load) __attribute__((visibility("hidden")));
asm(".text\n.globl emulate_switch\n.hidden emulate_switch\n.type emulate_switch, @function\nemulate_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
    ".size emulate_switch, .-emulate_switch\n");

static void *stack_begin(unsigned char *top, void (*entry)())
{
	void **at = (void **)top;
	*--at = nullptr; // entry sees the alignment of a function that was called
	*--at = (void *)entry;
	for (int i = 0; i < 6; i++)
		*--at = nullptr;
	return at;
}
#else
#error "the emulator changes fibers on x86-64 alone: write emulate_switch for this processor"
#endif

// --- one block ----------------------------------------------------------------------------------------------------
static struct {
	const char *kernel;
	const std::function<void()> *thread;
	std::vector<fiber> fibers;
	unsigned char *stacks, *shared;
	void *scheduler;
	int n_thread, n_ended, n_at_barrier;
	int n_met[MOST_THREADS / 32]; // lanes of each warp that wait at a meeting
} block;

static thread_local char shared_anchor; // our module's thread-local memory is there once this was touched

void stop(const char *what)
{
	fprintf(stderr, "emulated device: kernel %s, block (%u, %u, %u): %s\n", block.kernel, blockIdx.x, blockIdx.y,
	        blockIdx.z, what);
	int n = 0;
	for (const fiber &f : block.fibers)
		if (f.state == AT_BARRIER || f.state == AT_MEETING)
			if (++n <= 8)
				fprintf(stderr, "  thread %d waits at %s:%d\n", f.number, f.file, f.line);
	fprintf(stderr, "  %d threads wait, %d have ended\n", n, block.n_ended);
	abort();
}

void begin_thread()
{
	current->is_in_kernel = 1;
}

void end_thread()
{
	current->is_in_kernel = 0;
}

static void fiber_main()
{
	(*block.thread)();
	current->state = ENDED;
	block.n_ended++;
	void *never;
	emulate_switch(&never, block.scheduler);
}

static void wait_as(int state, const char *file, int line)
{
	fiber *me = current;
	me->state = state;
	me->file = file;
	me->line = line;
	emulate_switch(&me->stack_pointer, block.scheduler);
}

void sync_block(const char *file, int line)
{
	if (++block.n_at_barrier < block.n_thread) {
		wait_as(AT_BARRIER, file, line);
		return;
	}
	block.n_at_barrier = 0;
	watch_barrier();
	for (fiber &f : block.fibers)
		if (f.state == AT_BARRIER) {
			if (f.line != line)
				stop("threads are at different barriers");
			f.state = RUNNABLE;
		}
}

void meet(const char *file, int line, unsigned mask, void (*complete)(void **, unsigned), void *args)
{
	const int first = current->number / 32 * 32, n = min(32, block.n_thread - first);
	if (n < 32)
		mask &= (1U << n) - 1;
	if (!(mask >> lane() & 1))
		stop("a lane calls with a mask that leaves it out");
	current->mask = mask;
	current->complete = complete;
	current->args = args;
	if (++block.n_met[first / 32] < __popc(mask)) {
		wait_as(AT_MEETING, file, line);
		return;
	}
	void *lane_args[32];
	for (int i = 0; i < n; i++) {
		const fiber &f = block.fibers[(size_t)(first + i)];
		if (!(mask >> i & 1))
			continue;
		if (i != lane() && f.state != AT_MEETING) {
			wait_as(AT_MEETING, file, line);
			return;
		}
		if (f.mask != mask || f.complete != complete)
			stop("lanes of a warp meet for different things");
		lane_args[i] = f.args;
	}
	block.n_met[first / 32] -= __popc(mask);
	complete(lane_args, mask);
	for (int i = 0; i < n; i++)
		if (mask >> i & 1)
			block.fibers[(size_t)(first + i)].state = RUNNABLE;
}

static void complete_warp(void **, unsigned)
{
	watch_warp(current->number / 32);
}

void sync_warp(const char *file, int line, unsigned mask)
{
	meet(file, line, mask, complete_warp, nullptr);
}

static void complete_ballot(void **args, unsigned mask)
{
	unsigned all = 0;
	for (int i = 0; i < 32; i++)
		if (mask >> i & 1)
			all |= (unsigned)static_cast<vote *>(args[i])->is_set << i;
	for (int i = 0; i < 32; i++)
		if (mask >> i & 1)
			static_cast<vote *>(args[i])->ballot = all;
}

unsigned ballot(const char *file, int line, unsigned mask, int is_set)
{
	vote v = {is_set, 0};
	meet(file, line, mask, complete_ballot, &v);
	return v.ballot;
}

void *dynamic_shared()
{
	return block.shared;
}

// --- copies that land late ----------------------------------------------------------------------------------------

void copy_async(void *to_shared, const void *from)
{
	if ((uintptr_t)to_shared % 16 || (uintptr_t)from % 16)
		stop("a copy of 16 bytes from or to an address that is not a multiple of 16");
	if (from)
		watch(from, 16, 0);
	watch(to_shared, 16, 1);
	watch_copy(to_shared, 16, 1);
	current->copies.push_back({to_shared, from, 16, current->n_group});
}

void copy_commit()
{
	current->n_group++;
}

void copy_wait(int n)
{
	std::vector<pending_copy> &copies = current->copies;
	size_t done = 0;
	for (; done < copies.size() && copies[done].group < current->n_group - n; done++) {
		const pending_copy &c = copies[done];
		watch_copy(c.to, c.bytes, 0);
		watch(c.to, c.bytes, 1);
		if (c.from)
			memcpy(c.to, c.from, c.bytes);
		else
			memset(c.to, 0, c.bytes);
	}
	copies.erase(copies.begin(), copies.begin() + (ptrdiff_t)done);
}

// --- launches -----------------------------------------------------------------------------------------------------

static std::map<const void *, size_t> &shared_allowed()
{
	static std::map<const void *, size_t> allowed;
	return allowed;
}

void allow_shared(const void *kernel, size_t bytes)
{
	shared_allowed()[kernel] = bytes;
}

void check_shared(const char *name, const void *kernel, size_t bytes)
{
	const auto found = shared_allowed().find(kernel);
	if (bytes <= (found == shared_allowed().end() ? (size_t)SHARED_UNASKED : found->second))
		return;
	fprintf(stderr, "emulated device: kernel %s: %zu bytes of shared memory, which it was not allowed\n", name,
	        bytes);
	abort();
}

// Static shared memory is this module's thread-local memory (cuda_runtime.h). All kernels' is poisoned, so once a
// launch must do; dynamic shared memory is poisoned for every block.
static int poison_module(struct dl_phdr_info *info, size_t, void *found)
{
	const char *mine = &shared_anchor, *from = (const char *)info->dlpi_tls_data;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const size_t bytes = info->dlpi_phdr[i].p_memsz;
		if (info->dlpi_phdr[i].p_type == PT_TLS && from && mine >= from && mine < from + bytes) {
			memset(info->dlpi_tls_data, 0xff, bytes);
			*(area *)found = {(unsigned char *)info->dlpi_tls_data, bytes};
			return 1;
		}
	}
	return 0;
}

static void run_block(int is_reversed)
{
	block.n_ended = block.n_at_barrier = 0;
	memset(block.n_met, 0, sizeof(block.n_met));
	for (int i = 0; i < block.n_thread; i++) {
		fiber &f = block.fibers[(size_t)i];
		f.number = i;
		f.thread_index = {(unsigned)i % blockDim.x, (unsigned)i / blockDim.x % blockDim.y,
		        (unsigned)i / (blockDim.x * blockDim.y)};
		f.state = RUNNABLE;
		f.is_in_kernel = 0;
		f.n_group = 0;
		f.copies.clear();
		f.stack_pointer = stack_begin(block.stacks + (size_t)(i + 1) * STACK, fiber_main);
	}
	while (block.n_ended < block.n_thread) {
		int n_run = 0;
		for (int i = 0; i < block.n_thread; i++) {
			fiber &f = block.fibers[(size_t)(is_reversed ? block.n_thread - 1 - i : i)];
			if (f.state != RUNNABLE)
				continue;
			n_run++;
			current = &f;
			emulate_switch(&block.scheduler, f.stack_pointer);
		}
		// A real barrier lets threads off that have ended; here one that some skip is a mistake.
		if (!n_run)
			stop("threads wait for some that never come");
	}
	current = nullptr;
}

void run_kernel(const char *name, dim3 grid, dim3 threads, size_t shared_bytes, const std::function<void()> &thread)
{
	const size_t n = (size_t)threads.x * threads.y * threads.z;
	block.kernel = name;
	block.thread = &thread;
	gridDim = grid;
	blockDim = threads;
	blockIdx = {0, 0, 0};
	if (n < 1 || n > MOST_THREADS || shared_bytes > MOST_SHARED || grid.y > 65535 || grid.z > 65535 || !grid.x ||
	        !grid.y || !grid.z) {
		fprintf(stderr,
		        "emulated device: kernel %s: grid (%u, %u, %u), %zu threads, %zu bytes of shared memory\n",
		        name, grid.x, grid.y, grid.z, n, shared_bytes);
		abort();
	}
	if (!block.stacks) { // each stack's lowest page is a guard
		block.stacks = (unsigned char *)mmap(nullptr, (size_t)MOST_THREADS * STACK, PROT_READ | PROT_WRITE,
		        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		block.shared = (unsigned char *)mmap(
		        nullptr, MOST_SHARED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (block.stacks == MAP_FAILED || block.shared == MAP_FAILED)
			abort();
		for (size_t i = 0; i < MOST_THREADS; i++)
			mprotect(block.stacks + i * STACK, GUARD, PROT_NONE);
	}
	block.n_thread = (int)n;
	block.fibers.resize(n);
	unsigned i = 0;
	area static_shared = {};
	shared_anchor = 1;
	dl_iterate_phdr(poison_module, &static_shared);
	watch_launch();
	for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
		for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
			for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
				memset(block.shared, 0xff, shared_bytes);
				watch_block(i, {block.shared, shared_bytes}, static_shared,
				        {block.stacks, (size_t)MOST_THREADS * STACK});
				run_block(i++ % 2);
			}
}
} // namespace emulate
