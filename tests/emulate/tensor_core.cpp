// SPDX-License-Identifier: MIT
// mma and ldmatrix: the lanes of a warp meet, one of them gathers the matrices and computes.
#include "tests/emulate/primitives.cuh"

namespace
{
struct product {
	float *d;
	const uint32_t *a, *b;
};

struct matrices {
	uint32_t *r;
	const void *row;
	int is_transposed;
};

uint16_t half_of(uint32_t two, int which)
{
	return (uint16_t)(which ? two >> 16 : two);
}

float bf16_value(uint16_t bits)
{
	return __bfloat162float({bits});
}

float f16_value(uint16_t bits)
{
	return __half2float({bits});
}

template <float (*value)(uint16_t)> void multiply(void **args, unsigned mask)
{
	float a[16][16], b[16][8];
	if (mask != 0xffffffffU)
		abort(); // .aligned: the whole warp
	for (int lane = 0; lane < 32; lane++) {
		const auto *p = static_cast<product *>(args[lane]);
		const int g = lane / 4, t = lane % 4;
		for (int i = 0; i < 2; i++) {
			for (int r = 0; r < 4; r++)
				a[g + r % 2 * 8][2 * t + i + r / 2 * 8] = value(half_of(p->a[r], i));
			for (int r = 0; r < 2; r++)
				b[2 * t + i + r * 8][g] = value(half_of(p->b[r], i));
		}
	}
	for (int lane = 0; lane < 32; lane++) {
		const auto *p = static_cast<product *>(args[lane]);
		for (int i = 0; i < 4; i++) {
			const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
			float sum = p->d[i];
			for (int k = 0; k < 16; k++)
				sum += a[row][k] * b[k][column];
			p->d[i] = sum;
		}
	}
}

void gather(void **args, unsigned mask)
{
	uint16_t m[4][8][8];
	if (mask != 0xffffffffU)
		abort();
	for (int lane = 0; lane < 32; lane++) {
		const void *row = static_cast<matrices *>(args[lane])->row;
		if ((uintptr_t)row % 16)
			abort();
		memcpy(m[lane / 8][lane % 8], row, 16);
	}
	for (int lane = 0; lane < 32; lane++) {
		const auto *p = static_cast<matrices *>(args[lane]);
		const int g = lane / 4, t = lane % 4;
		for (int i = 0; i < 4; i++) {
			const uint16_t low = p->is_transposed ? m[i][2 * t][g] : m[i][g][2 * t];
			const uint16_t high = p->is_transposed ? m[i][2 * t + 1][g] : m[i][g][2 * t + 1];
			p->r[i] = low | (uint32_t)high << 16;
		}
	}
}
} // namespace

void mma_bf16(float *d, const uint32_t *a, const uint32_t *b)
{
	product p = {d, a, b};
	emulate::meet("mma_bf16", 0, 0xffffffffU, multiply<bf16_value>, &p);
}

void mma_f16(float *d, const uint32_t *a, const uint32_t *b)
{
	product p = {d, a, b};
	emulate::meet("mma_f16", 0, 0xffffffffU, multiply<f16_value>, &p);
}

void load_matrices(uint32_t *r, const void *row)
{
	matrices p = {r, row, 0};
	emulate::watch(row, 16, 0);
	emulate::meet("load_matrices", 0, 0xffffffffU, gather, &p);
}

void load_matrices_transposed(uint32_t *r, const void *row)
{
	matrices p = {r, row, 1};
	emulate::watch(row, 16, 0);
	emulate::meet("load_matrices_transposed", 0, 0xffffffffU, gather, &p);
}
