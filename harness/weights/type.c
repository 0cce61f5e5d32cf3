// SPDX-License-Identifier: MIT
// Types of numbers in files, and how they become ours: those that a cache has too (harness/num/dtype.h) by the same
// code.
//
//     Q8_0   f16 scale, 32 signed bytes:                 x = scale * n
//     Q4_0   f16 scale, 16 bytes of two numbers each:    x = scale * (n - 8)
//     Q4_1   f16 scale, f16 least, 16 such bytes:        x = least + scale * n
// Byte j of a 4-bit block holds number j in its low half and number j + 16 in its high half.
#include <limits.h>
#include <string.h>

#include "harness/num/dtype.h"
#include "harness/weights/internal.h"

enum { QUANT = 32, HALF_BYTES = 2, PIECE = 1024 }; // PIECE: numbers at a time

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

// Rows of a cache are as long as an int; a matrix of weights may have more numbers.
static inline void read_dtype(enum dtype dtype, real *out, const void *in, size_t n)
{
	const size_t most = INT_MAX / QUANT * QUANT, bytes = dtype_row_bytes(dtype, (int)most);
	const char *from = in;
	for (; n > most; n -= most, out += most, from += bytes)
		dtype_read(dtype, out, from, (int)most);
	dtype_read(dtype, out, from, (int)n);
}

static void read_f16(real *out, const void *in, size_t n)
{
	read_dtype(DTYPE_F16, out, in, n);
}

static void read_bf16(real *out, const void *in, size_t n)
{
	read_dtype(DTYPE_BF16, out, in, n);
}

static void read_q8_0(real *out, const void *in, size_t n)
{
	read_dtype(DTYPE_Q8, out, in, n);
}

static void read_q4_1(real *out, const void *in, size_t n)
{
	read_dtype(DTYPE_Q4, out, in, n);
}

// A Q4_1 block whose least number is -8 times the scale, which f16 cannot always hold: hence by itself. The product is
// exact (11 bits times 4), so contraction changes no bit.
static void read_q4_0(real *restrict out, const void *restrict in, size_t n)
{
	const unsigned char *block = in;
	for (size_t i = 0; i < n; i += QUANT, block += HALF_BYTES + QUANT / 2) {
		real scale;
		dtype_read(DTYPE_F16, &scale, block, 1);
		for (int j = 0; j < QUANT / 2; j++) {
			const int pair = block[HALF_BYTES + j];
			out[i + (size_t)j] = scale * (real)((pair & 15) - 8);
			out[i + (size_t)j + QUANT / 2] = scale * (real)((pair >> 4) - 8);
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
		dtype_write(DTYPE_BF16, out + i, piece, (int)now);
		in += now / (size_t)tensor->type->block * (size_t)tensor->type->block_bytes;
	}
}

const real *weights_in_place(const struct weights_tensor *tensor)
{
	const int is_real = tensor->type->read == (sizeof(real) == 8 ? read_f64 : read_f32);
	return is_real && (uintptr_t)tensor->data % sizeof(real) == 0 ? tensor->data : NULL;
}
