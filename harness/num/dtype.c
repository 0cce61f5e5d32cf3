// SPDX-License-Identifier: MIT
// Each type writes and reads blocks of DTYPE_BLOCK floats; rows are cut into blocks here. (In the double flavour
// numbers become floats on their way into a type that is narrower than both.)
#include "harness/num/dtype.h"

#include <math.h>

#include "harness/num/cpu/half.h"

const char *const dtype_name[N_DTYPE] = {"f32", "f16", "bf16", "q8", "q4"};

enum { N = DTYPE_BLOCK, HALF_NAN = 0x7e00, HALF_INFINITY = 0x7c00, FLOAT_INFINITY = 0x7f800000 };

// n of at most DTYPE_BLOCK things; most blocks are whole, and their size is known to the compiler.
static inline void copy(void *restrict to, const void *restrict from, int n, size_t size)
{
	memcpy(to, from, n == N ? N * size : (size_t)n * size);
}

// --- f16, bf16 ----------------------------------------------------------------------------------------------------

static void write_f16(unsigned char *restrict to, const float *restrict x, int n)
{
	uint16_t half[N];
	halves_of_floats(half, x, N);
	copy(to, half, n, sizeof(*half));
}

static void read_f16(float *restrict x, const unsigned char *restrict from, int n)
{
	uint16_t half[N] = {0};
	copy(half, from, n, sizeof(*half));
	floats_of_halves(x, half, N);
}

static void write_bf16(unsigned char *restrict to, const float *restrict x, int n)
{
	uint16_t upper[N];
	for (int i = 0; i < N; i++) {
		const uint32_t bits = float_bits(x[i]);
		const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
		const uint32_t nan = bits >> 16 | 0x40; // rounding could carry a NaN into infinity or zero
		upper[i] = (uint16_t)((bits & 0x7fffffff) > FLOAT_INFINITY ? nan : rounded);
	}
	copy(to, upper, n, sizeof(*upper));
}

static void read_bf16(float *restrict x, const unsigned char *restrict from, int n)
{
	uint16_t upper[N] = {0};
	copy(upper, from, n, sizeof(*upper));
	for (int i = 0; i < N; i++)
		x[i] = float_of_bits((uint32_t)upper[i] << 16);
}

// --- q8, q4 -------------------------------------------------------------------------------------------------------

static inline float load_half(const unsigned char *from)
{
	uint16_t half;
	memcpy(&half, from, sizeof(half));
	return float_of_half(half);
}

// Stores a scale or least value and returns what it will read as: numbers are rounded against that.
static inline float store_half(unsigned char *to, uint16_t half)
{
	memcpy(to, &half, sizeof(half));
	return float_of_half(half);
}

// Whole numbers nearest to (x - origin) / scale, within least..most; 0 where the scale is so small that it reads as 0.
static inline void round_block(
        int *restrict q, const float *restrict x, float origin, float scale, float least, float most)
{
	if (scale == 0) {
		memset(q, 0, N * sizeof(*q));
		return;
	}
	for (int i = 0; i < N; i++) {
		float n = rintf((x[i] - origin) / scale);
		n = n < least ? least : n;
		n = n > most ? most : n;
		q[i] = (int)n;
	}
}

static void write_q8(unsigned char *restrict to, const float *restrict x, int n)
{
	uint32_t largest = 0; // bits of magnitudes are ordered as these are, NaN above infinity
	for (int i = 0; i < N; i++) {
		const uint32_t size = float_bits(x[i]) & 0x7fffffff;
		largest = size > largest ? size : largest;
	}
	uint16_t half = half_of_float(float_of_bits(largest) / 127);
	if (half >= HALF_INFINITY) {
		memset(to, 0, sizeof(half) + (size_t)n);
		store_half(to, HALF_NAN);
		return;
	}
	int q[N];
	signed char byte[N];
	round_block(q, x, 0, store_half(to, half), -127, 127);
	for (int i = 0; i < N; i++)
		byte[i] = (signed char)q[i];
	copy(to + sizeof(half), byte, n, 1);
}

static void read_q8(float *restrict x, const unsigned char *restrict from, int n)
{
	signed char byte[N] = {0};
	const float scale = load_half(from);
	copy(byte, from + sizeof(uint16_t), n, 1);
	for (int i = 0; i < N; i++)
		x[i] = scale * (float)byte[i];
}

// The bits of a float as a signed number in the order of the floats, and back.
static inline int32_t ordered(uint32_t bits)
{
	return (int32_t)(bits ^ ((uint32_t) - (int32_t)(bits >> 31) & 0x7fffffff));
}

static void write_q4(unsigned char *restrict to, const float *restrict x, int n)
{
	int32_t lowest = INT32_MAX, highest = INT32_MIN;
	for (int i = 0; i < N; i++) {
		const int32_t place = ordered(float_bits(x[i]));
		lowest = place < lowest ? place : lowest;
		highest = place > highest ? place : highest;
	}
	const float least = float_of_bits((uint32_t)ordered((uint32_t)lowest));
	const float most = float_of_bits((uint32_t)ordered((uint32_t)highest));
	const uint16_t half_scale = half_of_float((most - least) / 15), half_least = half_of_float(least);
	const int n_byte = (n + 1) / 2;
	// A number that is not finite is the least or the most, and then the scale is not finite either.
	if (half_scale >= HALF_INFINITY || (half_least & 0x7fff) >= HALF_INFINITY) {
		memset(to, 0, 2 * sizeof(half_scale) + (size_t)n_byte);
		store_half(to, HALF_NAN);
		return;
	}
	int q[N];
	const float scale = store_half(to, half_scale), origin = store_half(to + sizeof(half_scale), half_least);
	round_block(q, x, origin, scale, 0, 15);
	unsigned char *pair = to + 2 * sizeof(half_scale), byte[N / 2];
	for (int i = 0; i < N / 2; i++) // a short block's second half begins earlier
		byte[i] = (unsigned char)(q[i] | q[n_byte + i] << 4);
	if (n % 2)
		byte[n_byte - 1] &= 15;
	memcpy(pair, byte, (size_t)n_byte);
}

static void read_q4(float *restrict x, const unsigned char *restrict from, int n)
{
	unsigned char byte[N / 2] = {0};
	const float scale = load_half(from), least = load_half(from + sizeof(uint16_t));
	const int n_byte = (n + 1) / 2;
	memcpy(byte, from + 2 * sizeof(uint16_t), (size_t)n_byte);
	for (int i = 0; i < N / 2; i++)
		x[i] = least + scale * (float)(byte[i] & 15);
	for (int i = 0; i < N / 2; i++)
		x[n_byte + i] = least + scale * (float)(byte[i] >> 4);
}

// --- rows ---------------------------------------------------------------------------------------------------------

// x has room for DTYPE_BLOCK numbers also where n is less; when writing, those past n are repetitions of the first.
static const struct format {
	int head_bytes, bits; // a block's scales; each number
	void (*write)(unsigned char *restrict to, const float *restrict x, int n);
	void (*read)(float *restrict x, const unsigned char *restrict from, int n);
} formats[N_DTYPE] = {
        [DTYPE_F32] = {0, 8 * sizeof(real), NULL, NULL}, // as it is
        [DTYPE_F16] = {0, 16, write_f16, read_f16},
        [DTYPE_BF16] = {0, 16, write_bf16, read_bf16},
        [DTYPE_Q8] = {2, 8, write_q8, read_q8},
        [DTYPE_Q4] = {4, 4, write_q4, read_q4},
};

static size_t block_bytes(const struct format *f, int n)
{
	return n ? (size_t)(f->head_bytes + (n * f->bits + 7) / 8) : 0;
}

static inline void floats_of_reals(float *restrict to, const real *restrict x, int n)
{
	for (int i = 0; i < n; i++)
		to[i] = (float)x[i];
}

static inline void reals_of_floats(real *restrict x, const float *restrict from, int n)
{
	for (int i = 0; i < n; i++)
		x[i] = (real)from[i];
}

size_t dtype_row_bytes(enum dtype dtype, int n)
{
	const struct format *f = &formats[dtype];
	return (size_t)(n / N) * block_bytes(f, N) + block_bytes(f, n % N);
}

void dtype_write(enum dtype dtype, void *row, const real *x, int n)
{
	const struct format *f = &formats[dtype];
	unsigned char *to = row;
	if (!f->write) {
		memcpy(row, x, (size_t)n * sizeof(*x));
		return;
	}
	float block[N];
	int at = 0;
	for (; at + N <= n; at += N, to += block_bytes(f, N)) {
		floats_of_reals(block, x + at, N);
		f->write(to, block, N);
	}
	if (at == n)
		return;
	floats_of_reals(block, x + at, n - at);
	for (int i = n - at; i < N; i++)
		block[i] = block[0];
	f->write(to, block, n - at);
}

void dtype_read(enum dtype dtype, real *x, const void *row, int n)
{
	const struct format *f = &formats[dtype];
	const unsigned char *from = row;
	if (!f->read) {
		memcpy(x, row, (size_t)n * sizeof(*x));
		return;
	}
	float block[N];
	int at = 0;
	for (; at + N <= n; at += N, from += block_bytes(f, N)) {
		f->read(block, from, N);
		reals_of_floats(x + at, block, N);
	}
	if (at == n)
		return;
	f->read(block, from, n - at);
	reals_of_floats(x + at, block, n - at);
}

void dtype_read_columns(enum dtype dtype, real *x, const void *row, int n, int from, int count)
{
	const struct format *f = &formats[dtype];
	if (!f->read) {
		memcpy(x, (const real *)row + from, (size_t)count * sizeof(*x));
		return;
	}
	for (int at = from / N * N; at < from + count; at += N) {
		float block[N];
		f->read(block, (const unsigned char *)row + (ptrdiff_t)(at / N) * (ptrdiff_t)block_bytes(f, N),
		        n - at < N ? n - at : N);
		const int first = at > from ? at : from, last = at + N < from + count ? at + N : from + count;
		reals_of_floats(x + first - from, block + first - at, last - first);
	}
}
