// SPDX-License-Identifier: MIT
// The twin of harness/num/cuda/native/primitives.cuh, which says what each does.
#ifndef KVLAB_TESTS_EMULATE_PRIMITIVES_CUH
#define KVLAB_TESTS_EMULATE_PRIMITIVES_CUH
#include "tests/emulate/cuda_bf16.h"
#include "tests/emulate/cuda_fp16.h"
#include "tests/emulate/cuda_runtime.h"

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                         \
	((void)(stream), emulate::launch(#kernel, (const void *)(kernel), (grid), (block), (shared_bytes),             \
	                         [run = (kernel)](auto... args) {                                                      \
		                         const auto own = run;                                                         \
		                         emulate::begin_thread();                                                      \
		                         own(args...);                                                                 \
		                         emulate::end_thread();                                                        \
	                         } __VA_OPT__(, ) __VA_ARGS__))

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
	emulate::copy_async(to_shared, is_there ? from : nullptr);
}

static inline void copy_commit()
{
	emulate::copy_commit();
}

template <int n> static inline void copy_wait()
{
	emulate::copy_wait(n);
}

#endif
