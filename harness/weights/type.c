// SPDX-License-Identifier: MIT
// Types of numbers in files, and how they become ours. Loops are over fixed blocks of plain integer arithmetic, which
// the compiler turns into vectors: reading runs at the speed of memory.
//
//     Q8_0   f16 scale, 32 signed bytes:                 x = scale * n
//     Q4_0   f16 scale, 16 bytes of two numbers each:    x = scale * (n - 8)
//     Q4_1   f16 scale, f16 least, 16 such bytes:        x = least + scale * n
// Byte j of a 4-bit block holds number j in its low half and number j + 16 in its high half.
#include <string.h>

#include "harness/weights/internal.h"

enum { QUANT = 32, PIECE = 1024 }; // numbers of a quantised block; numbers converted at a time on their way to bf16

static float float_of(uint32_t bits)
{
	float x;
	memcpy(&x, &bits, sizeof(x));
	return x;
}

static inline float from_f16(uint16_t h)
{
	const uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = (uint32_t)(h & 0x7fff) << 13;
	// Subnormal: as the fraction of a number of exponent 2^-14, from which that power is taken away again. Exact,
	// and no slow subnormal float on the way.
	const float small = float_of(magnitude + (113u << 23)) - 0x1p-14f;
	uint32_t small_bits;
	memcpy(&small_bits, &small, sizeof(small_bits));
	const uint32_t normal = magnitude + ((magnitude >= 0x7c00u << 13 ? 224u : 112u) << 23);
	return float_of(sign | (magnitude < 0x0400u << 13 ? small_bits : normal));
}

static void read_f64(real *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double x;
		memcpy(&x, (const char *)in + i * sizeof(x), sizeof(x));
		out[i] = (real)x;
	}
}

static void read_f32(real *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float x;
		memcpy(&x, (const char *)in + i * sizeof(x), sizeof(x));
		out[i] = x;
	}
}

static void read_f16(real *restrict out, const void *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h;
		memcpy(&h, (const char *)in + i * sizeof(h), sizeof(h));
		out[i] = from_f16(h);
	}
}

static void read_bf16(real *restrict out, const void *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t h;
		memcpy(&h, (const char *)in + i * sizeof(h), sizeof(h));
		out[i] = float_of((uint32_t)h << 16);
	}
}

static float f16_at(const unsigned char *p)
{
	uint16_t h;
	memcpy(&h, p, sizeof(h));
	return from_f16(h);
}

// Every product below is exact in f32 (11 bits times at most 8), so contraction changes no bit.
static void read_q8_0(real *restrict out, const void *restrict in, size_t n)
{
	const unsigned char *block = in;
	for (size_t i = 0; i < n; i += QUANT, block += 34) {
		const float scale = f16_at(block);
		for (int j = 0; j < QUANT; j++)
			out[i + (size_t)j] = scale * (float)(signed char)block[2 + j];
	}
}

static void read_q4_0(real *restrict out, const void *restrict in, size_t n)
{
	const unsigned char *block = in;
	for (size_t i = 0; i < n; i += QUANT, block += 18) {
		const float scale = f16_at(block);
		for (int j = 0; j < QUANT / 2; j++) {
			out[i + (size_t)j] = scale * (float)((block[2 + j] & 15) - 8);
			out[i + (size_t)j + QUANT / 2] = scale * (float)((block[2 + j] >> 4) - 8);
		}
	}
}

static void read_q4_1(real *restrict out, const void *restrict in, size_t n)
{
	const unsigned char *block = in;
	for (size_t i = 0; i < n; i += QUANT, block += 20) {
		const float scale = f16_at(block), least = f16_at(block + 2);
		for (int j = 0; j < QUANT / 2; j++) {
			out[i + (size_t)j] = scale * (float)(block[4 + j] & 15) + least;
			out[i + (size_t)j + QUANT / 2] = scale * (float)(block[4 + j] >> 4) + least;
		}
	}
}

static const struct weights_type types[] = {
        // name, block, its bytes, in safetensors, number in GGUF, read
        {"F32", 1, 4, 1, 0, read_f32},
        {"F16", 1, 2, 1, 1, read_f16},
        {"BF16", 1, 2, 1, 30, read_bf16},
        {"F64", 1, 8, 1, 28, read_f64},
        {"Q8_0", QUANT, 34, 0, 8, read_q8_0},
        {"Q4_0", QUANT, 18, 0, 2, read_q4_0},
        {"Q4_1", QUANT, 20, 0, 3, read_q4_1},
        // Listed only: masks and counters that published files carry along, and quantisations of others.
        {"BOOL", 1, 1, 1, -1, NULL},
        {"U8", 1, 1, 1, -1, NULL},
        {"I8", 1, 1, 1, 24, NULL},
        {"U16", 1, 2, 1, -1, NULL},
        {"I16", 1, 2, 1, 25, NULL},
        {"U32", 1, 4, 1, -1, NULL},
        {"I32", 1, 4, 1, 26, NULL},
        {"U64", 1, 8, 1, -1, NULL},
        {"I64", 1, 8, 1, 27, NULL},
        {"C64", 1, 8, 1, -1, NULL},
        {"F8_E4M3", 1, 1, 1, -1, NULL},
        {"F8_E5M2", 1, 1, 1, -1, NULL},
        {"F8_E8M0", 1, 1, 1, -1, NULL},
        {"Q5_0", QUANT, 22, 0, 6, NULL},
        {"Q5_1", QUANT, 24, 0, 7, NULL},
        {"Q8_1", QUANT, 40, 0, 9, NULL},
        {"Q2_K", 256, 84, 0, 10, NULL},
        {"Q3_K", 256, 110, 0, 11, NULL},
        {"Q4_K", 256, 144, 0, 12, NULL},
        {"Q5_K", 256, 176, 0, 13, NULL},
        {"Q6_K", 256, 210, 0, 14, NULL},
        {"Q8_K", 256, 292, 0, 15, NULL},
        {"IQ2_XXS", 256, 66, 0, 16, NULL},
        {"IQ2_XS", 256, 74, 0, 17, NULL},
        {"IQ3_XXS", 256, 98, 0, 18, NULL},
        {"IQ1_S", 256, 50, 0, 19, NULL},
        {"IQ4_NL", QUANT, 18, 0, 20, NULL},
        {"IQ3_S", 256, 110, 0, 21, NULL},
        {"IQ2_S", 256, 82, 0, 22, NULL},
        {"IQ4_XS", 256, 136, 0, 23, NULL},
        {"IQ1_M", 256, 56, 0, 29, NULL},
        {"TQ1_0", 256, 54, 0, 34, NULL},
        {"TQ2_0", 256, 66, 0, 35, NULL},
        {"MXFP4", QUANT, 17, 0, 39, NULL},
};
enum { N_TYPE = sizeof(types) / sizeof(types[0]) };

const struct weights_type *weights_type(const char *name)
{
	for (int i = 0; i < N_TYPE; i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

const struct weights_type *type_of_ggml(uint32_t number)
{
	for (int i = 0; i < N_TYPE; i++)
		if (types[i].ggml >= 0 && (uint32_t)types[i].ggml == number)
			return &types[i];
	return NULL;
}

static const void *rows_from(const struct weights_tensor *t, long row, long n_row)
{
	if (row < 0 || n_row < 0 || row > t->rows - n_row)
		BUG("rows %ld to %ld of %ld of tensor '%s'", row, row + n_row, t->rows, t->name);
	if (!t->type->read)
		BUG("tensor '%s' has type %s, which is not read", t->name, t->type->name);
	return (const char *)t->data +
	       (size_t)row * (size_t)(t->columns / t->type->block) * (size_t)t->type->block_bytes;
}

void weights_read(const struct weights_tensor *tensor, long row, long n_row, real *out)
{
	const void *in = rows_from(tensor, row, n_row);
	tensor->type->read(out, in, (size_t)n_row * (size_t)tensor->columns);
}

static void to_bf16(uint16_t *restrict out, const real *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const float x = (float)in[i];
		uint32_t bits;
		memcpy(&bits, &x, sizeof(bits));
		const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
		out[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
	}
}

void weights_read_bf16(const struct weights_tensor *tensor, long row, long n_row, uint16_t *out)
{
	const char *in = rows_from(tensor, row, n_row);
	const size_t n = (size_t)n_row * (size_t)tensor->columns;
	real piece[PIECE];
	if (tensor->type->read == read_bf16) {
		if (n)
			memcpy(out, in, n * sizeof(*out));
		return;
	}
	for (size_t i = 0; i < n; i += PIECE) {
		const size_t now = n - i < PIECE ? n - i : PIECE;
		tensor->type->read(piece, in, now);
		to_bf16(out + i, piece, now);
		in += now / (size_t)tensor->type->block * (size_t)tensor->type->block_bytes;
	}
}

const real *weights_in_place(const struct weights_tensor *tensor)
{
	const int is_real = tensor->type->read == (sizeof(real) == 8 ? read_f64 : read_f32);
	return is_real && (uintptr_t)tensor->data % sizeof(real) == 0 ? tensor->data : NULL;
}
