// SPDX-License-Identifier: MIT
// What kernels ask of the machine beyond C++: launches, tensor cores, copies that go on by themselves. Its twin
// tests/emulate/primitives.cuh does the same on a processor; which one is included is the compiler's search path.
//
// Fragments of mma, per lane, with g = lane / 4 and t = lane % 4; two 16-bit numbers to a register, the first in its
// low half:
//   a (16 x 16)  a[0]: row g, columns 2t, 2t+1     a[1]: row g+8     a[2]: row g, columns 2t+8, 2t+9     a[3]: row g+8
//   b (16 x 8)   b[0]: rows 2t, 2t+1 of column g   b[1]: rows 2t+8, 2t+9
//   d (16 x 8)   d[0], d[1]: row g, columns 2t, 2t+1   d[2], d[3]: row g+8
#ifndef KVLAB_NUM_CUDA_PRIMITIVES_CUH
#define KVLAB_NUM_CUDA_PRIMITIVES_CUH
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

// LAUNCH(kernel, grid, block, shared_bytes, stream, args...); a template's name in parentheses: (scale<4, 2>).
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                         \
	kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)

// The block's shared memory of the size that LAUNCH was given, aligned to 16 bytes.
static __device__ __forceinline__ void *dynamic_shared()
{
	extern __shared__ uint4 dynamic_shared_memory[];
	return dynamic_shared_memory;
}

// d += a b
static __device__ __forceinline__ void mma_bf16(float *d, const uint32_t *a, const uint32_t *b)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
	             "{%0,%1,%2,%3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ void mma_f16(float *d, const uint32_t *a, const uint32_t *b)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
	             "{%0,%1,%2,%3};"
	             : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	             : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 x 8 matrices of 16-bit numbers from shared memory: lane l gives the address of row l % 8 of matrix l / 8 (16
// bytes, aligned); r[i] gets row g, columns 2t, 2t+1 of matrix i, or, transposed, rows 2t, 2t+1 of column g.
static __device__ __forceinline__ void load_matrices(uint32_t *r, const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
	             : "r"((uint32_t)__cvta_generic_to_shared(row))
	             : "memory");
}

static __device__ __forceinline__ void load_matrices_transposed(uint32_t *r, const void *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
	             : "r"((uint32_t)__cvta_generic_to_shared(row))
	             : "memory");
}

// 16 bytes from device to shared memory, both aligned to 16, or zeros; there after copy_wait and a barrier.
static __device__ __forceinline__ void copy_async(void *to_shared, const void *from, bool is_there = true)
{
	asm volatile(
	        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to_shared)),
	        "l"(from), "r"(is_there ? 16 : 0)
	        : "memory");
}

// What was asked for since the last commit becomes one group.
static __device__ __forceinline__ void copy_commit()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

// Until all but the n newest groups of this thread have landed.
template <int n> static __device__ __forceinline__ void copy_wait()
{
	asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

#endif
