// SPDX-License-Identifier: MIT
// Tiles of rows on their way to the tensor cores: bytes as they lie, brought to shared memory by cp.async where a
// block is alone with its rows (decoding: the bytes are the time), then numbers in bf16.
//
// A line is the part of a row that a block needs; with scales per channel, of a unit. Lines begin anywhere (a head's
// blocks of q8 are 34 bytes), so what travels is the aligned chunks of 16 bytes that cover them, and a line keeps its
// place within a chunk. Numbers are made eight at a time; odd widths and addresses go number by number.
#ifndef KVLAB_NUM_CUDA_TILE_CUH
#define KVLAB_NUM_CUDA_TILE_CUH
#include "harness/num/cuda/rows.cuh"

enum { TILE_WARPS = 4, TILE_THREADS = 32 * TILE_WARPS, LINE_CHUNK = 16 };

struct span {
	int from, to; // bytes
};

// Where numbers j..j+n-1 of a row lie: whole blocks where the type has scales.
static __host__ __device__ inline struct span span_of(int dtype, int columns, int j, int n)
{
	struct span s;
	const int number = dtype == DTYPE_F32 ? 4 : 2;
	s.from = j * number, s.to = (j + n) * number;
	if (dtype != DTYPE_Q8 && dtype != DTYPE_Q4)
		return s;
	const int block = dtype == DTYPE_Q8 ? (int)Q8_BLOCK_BYTES : (int)Q4_BLOCK_BYTES,
	          last = (j + n - 1) / DTYPE_BLOCK;
	const int left = columns - last * DTYPE_BLOCK, in_last = left < DTYPE_BLOCK ? left : (int)DTYPE_BLOCK;
	s.from = j / DTYPE_BLOCK * block;
	s.to = last * block + (dtype == DTYPE_Q8 ? 2 + in_last : 4 + (in_last + 1) / 2);
	return s;
}

// Shared memory of a line of so many bytes.
static __host__ __device__ inline int line_stride(int bytes)
{
	return (bytes + 2 * (LINE_CHUNK - 1)) / LINE_CHUNK * LINE_CHUNK;
}

// A warp to a line: its chunks are neighbours in memory.
static __device__ inline void stage_lines(
        unsigned char *to, int stride, const unsigned char *first, ptrdiff_t apart, int bytes, int n_line)
{
	const int lane = (int)threadIdx.x % 32;
	for (int line = (int)threadIdx.x / 32; line < n_line; line += TILE_WARPS) {
		const unsigned char *at = first + line * apart;
		const int skip = (int)((uintptr_t)at % LINE_CHUNK);
		for (int c = lane * LINE_CHUNK; c < skip + bytes; c += 32 * LINE_CHUNK)
			copy_async(to + line * stride + c, at - skip + c);
	}
}

// Rows of a tile, in device memory or staged: row i begins at at + i * stride, and, staged, so far into its chunk.
struct tile_rows {
	const unsigned char *at;
	ptrdiff_t stride;
	unsigned first, apart, mask;
};
static __device__ inline struct tile_rows rows_in_place(const unsigned char *first, ptrdiff_t apart)
{
	struct tile_rows r = {first, apart, 0, 0, 0};
	return r;
}
// `skipped`: bytes of a row before its line; `first` is the first line's address in device memory.
static __device__ inline struct tile_rows rows_staged(
        const unsigned char *staged, int stride, const unsigned char *first, ptrdiff_t apart, int skipped)
{
	struct tile_rows r = {staged - skipped, stride, (unsigned)((uintptr_t)first % LINE_CHUNK),
	        (unsigned)apart % LINE_CHUNK, LINE_CHUNK - 1};
	return r;
}
static __device__ inline const unsigned char *tile_row(const struct tile_rows *r, int i)
{
	return r->at + i * r->stride + ((r->first + (unsigned)i * r->apart) & r->mask);
}

static __device__ inline int is_aligned(const void *at, int bytes)
{
	return (uintptr_t)at % (unsigned)bytes == 0;
}

// Numbers j..j+7 of a row, where they are all there and can be read together; else 0 is returned.
template <int dtype> static __device__ inline int eight_numbers(float *x, const unsigned char *row, int columns, int j)
{
	if (dtype == DTYPE_F32 && is_aligned(row + 4 * j, 16)) {
		const float4 low = *(const float4 *)(row + 4 * j), high = *(const float4 *)(row + 4 * j + 16);
		x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
		x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
		return 1;
	}
	if ((dtype == DTYPE_F16 || dtype == DTYPE_BF16) && is_aligned(row + 2 * j, 16)) {
		const uint4 all = *(const uint4 *)(row + 2 * j);
		const unsigned two[4] = {all.x, all.y, all.z, all.w};
#pragma unroll
		for (int i = 0; i < 4; i++) {
			x[2 * i] = dtype == DTYPE_BF16 ? __uint_as_float(two[i] << 16)
			                               : __half2float(__ushort_as_half((unsigned short)two[i]));
			x[2 * i + 1] = dtype == DTYPE_BF16
			                       ? __uint_as_float(two[i] & 0xffff0000)
			                       : __half2float(__ushort_as_half((unsigned short)(two[i] >> 16)));
		}
		return 1;
	}
	if (dtype == DTYPE_Q8 && j % 8 == 0 && is_aligned(row, 2)) {
		const unsigned char *block = row + j / DTYPE_BLOCK * Q8_BLOCK_BYTES;
		const unsigned short *two = (const unsigned short *)(block + 2 + j % DTYPE_BLOCK);
		const float scale = __half2float(*(const __half *)block);
#pragma unroll
		for (int i = 0; i < 4; i++) {
			const unsigned pair = two[i];
			x[2 * i] = scale * (float)(signed char)(pair & 255);
			x[2 * i + 1] = scale * (float)(signed char)(pair >> 8);
		}
		return 1;
	}
	if (dtype == DTYPE_Q4 && j % 8 == 0 && is_aligned(row, 4) &&
	        j / DTYPE_BLOCK * DTYPE_BLOCK + DTYPE_BLOCK <= columns) {
		const unsigned *block = (const unsigned *)(row + j / DTYPE_BLOCK * Q4_BLOCK_BYTES);
		const float scale = __half2float(__ushort_as_half((unsigned short)block[0]));
		const float least = __half2float(__ushort_as_half((unsigned short)(block[0] >> 16)));
		const int shift = j % DTYPE_BLOCK < 16 ? 0 : 4;
#pragma unroll
		for (int i = 0; i < 8; i++)
			x[i] = least + scale * (float)(block[1 + j % 16 / 4 + i / 4] >> (i % 4 * 8 + shift) & 15);
		return 1;
	}
	return 0;
}

static __device__ inline uint32_t bf16_pair(float low, float high)
{
	return __bfloat16_as_ushort(__float2bfloat16_rn(low)) |
	       (uint32_t)__bfloat16_as_ushort(__float2bfloat16_rn(high)) << 16;
}

static __device__ inline void store_eight(uint16_t *to, const float *x)
{
	*(uint4 *)to =
	        make_uint4(bf16_pair(x[0], x[1]), bf16_pair(x[2], x[3]), bf16_pair(x[4], x[5]), bf16_pair(x[6], x[7]));
}

// Which numbers of which rows: n_row rows of a tile of n_tile (the others become 0), numbers `from`..from+width-1 of a
// row of `columns`, to (n_tile, ld) with zeros up to `padded` (a multiple of 8).
struct tile_shape {
	int n_tile, n_row, columns, from, width, padded, ld;
};

// The hardware's sine is good to 2^-21, and what it turns is rounded to bf16.
static __device__ inline struct rotor rough_rotor_at(const struct turn *t, int pair, int position)
{
	const uint64_t phase = (uint64_t)(int64_t)(position + t->first) * t->fraction[pair];
	struct rotor r;
	__sincosf((float)(int32_t)(phase >> 32) * (0x1p-31F * 3.14159265358979F), &r.s, &r.c);
	return r;
}

// Numbers c..c+7 of a head one by one, turned or not, those beyond its width as 0: any type, width and address.
static __device__ __noinline__ void convert_slowly(uint16_t *to, const unsigned char *row, int dtype,
        const struct tile_shape *s, int c, const struct turn *t, int position)
{
#pragma unroll 1
	for (int i = c; i < c + 8; i++, to++) {
		float x = i < s->width ? dtype_number(dtype, row, s->columns, s->from + i) : 0;
		int pair, is_second;
		const int partner = t && i < s->width ? turn_partner(t, i, &pair, &is_second) : -1;
		if (partner >= 0) {
			const struct rotor r = rough_rotor_at(t, pair, position);
			const float y = dtype_number(dtype, row, s->columns, s->from + partner);
			x = is_second ? y * r.s + x * r.c : x * r.c - y * r.s;
		}
		*to = __bfloat16_as_ushort(__float2bfloat16_rn(x));
	}
}

// Numbers c..c+7 of a head. Turned halves are read and written with their partners, `half` further on.
template <int dtype>
static __device__ inline void convert_eight(
        uint16_t *to, const unsigned char *row, const struct tile_shape *s, int c, const struct turn *t, int position)
{
	float x[8], other[8];
	const int n_rotary = t ? t->n_rotary : 0, half = n_rotary / 2, in = t ? c - t->from : 0;
	if (in + 8 <= 0 || in >= n_rotary) {
		if (c + 8 <= s->width && eight_numbers<dtype>(x, row, s->columns, s->from + c))
			store_eight(to, x);
		else
			convert_slowly(to, row, dtype, s, c, NULL, 0);
		return;
	}
	const int is_paired = t->halves && t->from % 8 == 0 && half % 8 == 0;
	const int first = is_paired && in >= half ? c - half : c; // either half is right about whether both can be read
	if (!is_paired || !eight_numbers<dtype>(x, row, s->columns, s->from + first) ||
	        !eight_numbers<dtype>(other, row, s->columns, s->from + first + half)) {
		convert_slowly(to, row, dtype, s, c, t, position);
		return;
	}
	if (in >= half)
		return;
#pragma unroll
	for (int i = 0; i < 8; i++) {
		const struct rotor r = rough_rotor_at(t, in + i, position);
		const float u = x[i], v = other[i];
		x[i] = u * r.c - v * r.s, other[i] = u * r.s + v * r.c;
	}
	store_eight(to, x);
	store_eight(to + half, other);
}

// turn NULL: rows are what they say; else the first one is at `position`.
template <int dtype>
static __device__ inline void convert_rows(
        uint16_t *to, const struct tile_rows *rows, const struct tile_shape *s, const struct turn *turn, int position)
{
	const int chunks = s->padded / 8, p_step = TILE_THREADS / chunks, c_step = TILE_THREADS % chunks;
	int p = (int)threadIdx.x / chunks, c = (int)threadIdx.x % chunks;
	while (p < s->n_tile) {
		uint16_t *at = to + p * s->ld + c * 8;
		if (p < s->n_row)
			convert_eight<dtype>(at, tile_row(rows, p), s, c * 8, turn, position + p);
		else
			*(uint4 *)at = make_uint4(0, 0, 0, 0);
		p += p_step, c += c_step;
		if (c >= chunks)
			c -= chunks, p++;
	}
}

static __device__ inline void convert(uint16_t *to, int dtype, const struct tile_rows *rows, const struct tile_shape *s,
        const struct turn *turn, int position)
{
	switch (dtype) {
	case DTYPE_F32:
		return convert_rows<DTYPE_F32>(to, rows, s, turn, position);
	case DTYPE_F16:
		return convert_rows<DTYPE_F16>(to, rows, s, turn, position);
	case DTYPE_BF16:
		return convert_rows<DTYPE_BF16>(to, rows, s, turn, position);
	case DTYPE_Q8:
		return convert_rows<DTYPE_Q8>(to, rows, s, turn, position);
	default:
		return convert_rows<DTYPE_Q4>(to, rows, s, turn, position);
	}
}

// Scales per channel: a unit's rows (`units`: its channels begin at channel s->from) hold eight positions of a channel
// side by side. Turned keys and the rows of the tail go number by number.
static __device__ inline void convert_channels(uint16_t *to, const struct rows *x, const struct tile_rows *units,
        const struct tile_shape *s, const struct turn *turn, int b, int position, int S)
{
	for (int i = (int)threadIdx.x; i < s->n_tile / 8 * s->padded; i += TILE_THREADS) {
		const int c = i % s->padded, p0 = i / s->padded * 8, unit = p0 / DTYPE_BLOCK;
		const int is_whole = position + unit * DTYPE_BLOCK + DTYPE_BLOCK <= S;
		uint16_t *at = to + p0 * s->ld + c;
		if (c < s->width && is_whole && !turn) {
			const unsigned char *channel = tile_row(units, unit) + (s->from + c) * x->channel_bytes;
			float eight[8];
			const int is_read =
			        x->dtype == DTYPE_Q8
			                ? eight_numbers<DTYPE_Q8>(eight, channel, DTYPE_BLOCK, p0 % DTYPE_BLOCK)
			                : eight_numbers<DTYPE_Q4>(eight, channel, DTYPE_BLOCK, p0 % DTYPE_BLOCK);
#pragma unroll
			for (int l = 0; is_read && l < 8; l++)
				at[l * s->ld] =
				        p0 + l < s->n_row ? __bfloat16_as_ushort(__float2bfloat16_rn(eight[l])) : 0;
			if (is_read)
				continue;
		}
#pragma unroll 1
		for (int l = 0; l < 8; l++) {
			float y = 0;
			if (p0 + l < s->n_row && c < s->width)
				y = turned_at(x, turn, b, position + p0 + l, S, s->from - x->from, c);
			at[l * s->ld] = __bfloat16_as_ushort(__float2bfloat16_rn(y));
		}
	}
}

#endif
