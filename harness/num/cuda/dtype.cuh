// SPDX-License-Identifier: MIT
// Numbers in the types of dtype.h, read one by one wherever they lie, or eight by eight where rows are aligned.
#ifndef KVLAB_NUM_CUDA_DTYPE_CUH
#define KVLAB_NUM_CUDA_DTYPE_CUH
#include <primitives.cuh>

#include "harness/num/dtype.h"

enum { Q8_BLOCK_BYTES = 2 + DTYPE_BLOCK, Q4_BLOCK_BYTES = 4 + DTYPE_BLOCK / 2, CHUNK = 8 };

static __device__ __forceinline__ float float_of_half_bits(unsigned bits)
{
	return __half2float(__ushort_as_half((unsigned short)bits));
}

// Number j of a row of `columns`, at any address that its type allows (q8, q4: any at all).
static __device__ inline float dtype_number(int dtype, const unsigned char *row, int columns, int j)
{
	if (dtype == DTYPE_F32)
		return ((const float *)row)[j];
	if (dtype == DTYPE_F16)
		return __half2float(((const __half *)row)[j]);
	if (dtype == DTYPE_BF16)
		return __bfloat162float(((const __nv_bfloat16 *)row)[j]);
	const int block = j / DTYPE_BLOCK, i = j % DTYPE_BLOCK;
	if (dtype == DTYPE_Q8) {
		row += (long)block * Q8_BLOCK_BYTES;
		return float_of_half_bits(row[0] | row[1] << 8) * (float)(signed char)row[2 + i];
	}
	const int left = columns - block * DTYPE_BLOCK;
	const int n_byte =
	        ((left < DTYPE_BLOCK ? left : (int)DTYPE_BLOCK) + 1) / 2; // a short block's second half is nearer
	row += (long)block * Q4_BLOCK_BYTES;
	const unsigned pair = row[4 + (i < n_byte ? i : i - n_byte)];
	return float_of_half_bits(row[2] | row[3] << 8) +
	       float_of_half_bits(row[0] | row[1] << 8) * (float)(i < n_byte ? pair & 15 : pair >> 4);
}

// --- chunks of eight ------------------------------------------------------------------------------------------------
// A row is chunks of eight numbers, each for one lane: loaded raw first, so that several are on their way, then made
// floats. Four numbers begin at chunk_first, four at chunk_second: beside them, or, in q4, half a block on, as its
// bytes have them. f32, f16 and bf16 ask for rows aligned to 16 bytes and columns in eights, q8 and q4 for columns in
// whole blocks and rows aligned to 2 and 4 bytes.
template <int dtype> struct chunk;

static inline int chunk_row_alignment(int dtype)
{
	return dtype == DTYPE_Q8 ? 2 : dtype == DTYPE_Q4 ? 4 : 16;
}

static inline int chunk_columns(int dtype)
{
	return dtype == DTYPE_Q8 || dtype == DTYPE_Q4 ? (int)DTYPE_BLOCK : (int)CHUNK;
}

template <int dtype> static __device__ __forceinline__ int chunk_first(int i)
{
	return dtype == DTYPE_Q4 ? i / 4 * DTYPE_BLOCK + i % 4 * 4 : i * CHUNK;
}

template <int dtype> static __device__ __forceinline__ int chunk_second(int i)
{
	return chunk_first<dtype>(i) + (dtype == DTYPE_Q4 ? DTYPE_BLOCK / 2 : 4);
}

template <> struct chunk<DTYPE_F32> {
	float4 first, second;
	__device__ __forceinline__ void load(const unsigned char *row, int i)
	{
		first = __ldg((const float4 *)row + 2 * i);
		second = __ldg((const float4 *)row + 2 * i + 1);
	}
	__device__ __forceinline__ void floats(float *x) const
	{
		x[0] = first.x, x[1] = first.y, x[2] = first.z, x[3] = first.w;
		x[4] = second.x, x[5] = second.y, x[6] = second.z, x[7] = second.w;
	}
};

template <> struct chunk<DTYPE_F16> {
	uint4 raw;
	__device__ __forceinline__ void load(const unsigned char *row, int i)
	{
		raw = __ldg((const uint4 *)row + i);
	}
	__device__ __forceinline__ void floats(float *x) const
	{
		const unsigned word[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
		for (int i = 0; i < 4; i++) {
			x[2 * i] = float_of_half_bits(word[i] & 0xffff);
			x[2 * i + 1] = float_of_half_bits(word[i] >> 16);
		}
	}
};

template <> struct chunk<DTYPE_BF16> {
	uint4 raw;
	__device__ __forceinline__ void load(const unsigned char *row, int i)
	{
		raw = __ldg((const uint4 *)row + i);
	}
	__device__ __forceinline__ void floats(float *x) const
	{
		const unsigned word[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
		for (int i = 0; i < 4; i++) {
			x[2 * i] = __uint_as_float(word[i] << 16);
			x[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000);
		}
	}
};

// Blocks of 34 bytes: no lane finds more than two bytes aligned.
template <> struct chunk<DTYPE_Q8> {
	unsigned short scale, pair[4];
	__device__ __forceinline__ void load(const unsigned char *row, int i)
	{
		const unsigned short *block = (const unsigned short *)(row + (long)(i / 4) * Q8_BLOCK_BYTES);
		scale = __ldg(block);
#pragma unroll
		for (int j = 0; j < 4; j++)
			pair[j] = __ldg(block + 1 + i % 4 * 4 + j);
	}
	__device__ __forceinline__ void floats(float *x) const
	{
		const float s = float_of_half_bits(scale);
#pragma unroll
		for (int j = 0; j < 4; j++) {
			x[2 * j] = s * (float)(signed char)(pair[j] & 0xff);
			x[2 * j + 1] = s * (float)(signed char)(pair[j] >> 8);
		}
	}
};

template <> struct chunk<DTYPE_Q4> {
	unsigned scales, bytes;
	__device__ __forceinline__ void load(const unsigned char *row, int i)
	{
		const unsigned *block = (const unsigned *)(row + (long)(i / 4) * Q4_BLOCK_BYTES);
		scales = __ldg(block);
		bytes = __ldg(block + 1 + i % 4);
	}
	__device__ __forceinline__ void floats(float *x) const
	{
		const float scale = float_of_half_bits(scales & 0xffff), least = float_of_half_bits(scales >> 16);
#pragma unroll
		for (int j = 0; j < 4; j++) {
			x[j] = least + scale * (float)(bytes >> (8 * j) & 15);
			x[4 + j] = least + scale * (float)(bytes >> (8 * j + 4) & 15);
		}
	}
};

#endif
