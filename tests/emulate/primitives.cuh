// SPDX-License-Identifier: MIT
// The twin of harness/num/cuda/native/primitives.cuh, which says what each does.
#ifndef KVLAB_TESTS_EMULATE_PRIMITIVES_CUH
#define KVLAB_TESTS_EMULATE_PRIMITIVES_CUH
#include "tests/emulate/cuda_bf16.h"
#include "tests/emulate/cuda_fp16.h"
#include "tests/emulate/cuda_runtime.h"

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                         \
	((void)(stream), emulate::launch(#kernel, (grid), (block), (shared_bytes),                                     \
	                         [=](auto... args) { kernel(args...); } __VA_OPT__(, ) __VA_ARGS__))

static inline void *dynamic_shared()
{
	return emulate::dynamic_shared();
}

void mma_bf16(float *d, const uint32_t *a, const uint32_t *b);
void mma_f16(float *d, const uint32_t *a, const uint32_t *b);
void load_matrices(uint32_t *r, const void *row);
void load_matrices_transposed(uint32_t *r, const void *row);

static inline void copy_async(void *to_shared, const void *from, bool is_there = true)
{
	emulate::fiber *f = emulate::current;
	if ((uintptr_t)to_shared % 16 || (is_there && (uintptr_t)from % 16))
		abort();
	f->copies.push_back({to_shared, is_there ? from : nullptr, 16, f->n_group});
}

static inline void copy_commit()
{
	emulate::current->n_group++;
}

template <int n> static inline void copy_wait()
{
	emulate::fiber *f = emulate::current;
	size_t done = 0;
	for (; done < f->copies.size() && f->copies[done].group < f->n_group - n; done++) {
		const emulate::pending_copy &c = f->copies[done];
		if (c.from)
			memcpy(c.to, c.from, c.bytes);
		else
			memset(c.to, 0, c.bytes);
	}
	f->copies.erase(f->copies.begin(), f->copies.begin() + (ptrdiff_t)done);
}

#endif
