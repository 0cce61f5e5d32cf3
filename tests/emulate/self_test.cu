// SPDX-License-Identifier: MIT
// What the emulator promises, shown with kernels of its own (tests/num/test_emulator.c asks for them by name): tensor
// cores against plain products, meetings of warps, copies that land late, and mistakes that must end the program.
#include <cstring>

#include "tests/emulate/primitives.cuh"

namespace
{
// d (16, 8) = a (16, 16) b (16, 8), a by ldmatrix, b by its transpose.
template <int is_bf16> void multiply(float *d, const uint16_t *a, const uint16_t *b)
{
	__shared__ __align__(16) uint16_t to_a[16][16], to_b[16][8];
	const int lane = (int)threadIdx.x, g = lane / 4, t = lane % 4;
	uint32_t fa[4], fb[4];
	float sum[4] = {};
	for (int i = lane; i < 256; i += 32)
		to_a[i / 16][i % 16] = a[i];
	for (int i = lane; i < 128; i += 32)
		to_b[i / 8][i % 8] = b[i];
	__syncwarp();
	load_matrices(fa, &to_a[lane % 16][lane / 16 * 8]);
	load_matrices_transposed(fb, &to_b[lane % 16][0]); // the upper half of the lanes says the same again
	if (is_bf16)
		mma_bf16(sum, fa, fb);
	else
		mma_f16(sum, fa, fb);
	d[g * 8 + 2 * t] = sum[0], d[g * 8 + 2 * t + 1] = sum[1];
	d[(g + 8) * 8 + 2 * t] = sum[2], d[(g + 8) * 8 + 2 * t + 1] = sum[3];
}

// Sums over a block of any size: warps by shuffles, then one number a warp.
void sum_block(float *out, const float *x)
{
	__shared__ float part[32];
	float sum = x[threadIdx.x];
	const unsigned full = __ballot_sync(0xffffffffU, 1);
	for (int apart = 16; apart; apart /= 2) {
		const float other = __shfl_down_sync(0xffffffffU, sum, apart);
		sum += threadIdx.x % 32 + (unsigned)apart < (unsigned)__popc(full) ? other : 0;
	}
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = sum;
	__syncthreads();
	if (threadIdx.x)
		return;
	*out = 0;
	for (unsigned i = 0; i * 32 < blockDim.x; i++)
		*out += part[i];
}

// Copies are there when they have been waited for; the newest group is still on its way then.
void late_copy(float *out, const float *x)
{
	float *shared = (float *)dynamic_shared();
	copy_async(shared, x);
	copy_commit();
	copy_async(shared + 4, x + 4);
	copy_async(shared + 8, x, false);
	copy_commit();
	copy_wait<1>();
	out[0] = shared[0];
	copy_wait<0>();
	out[1] = shared[4], out[2] = shared[8];
}

void early_look(float *x)
{
	float *shared = (float *)dynamic_shared();
	copy_async(shared, x);
	copy_commit();
	copy_async(shared + 4, x + 4);
	copy_commit();
	copy_wait<1>();
	x[8] = shared[0] + shared[4];
}

void unwritten(float *x)
{
	__shared__ float shared[2];
	shared[0] = x[0];
	x[0] = shared[threadIdx.x + 1];
}

// A warp's number is read by the next warp.
void no_barrier(float *x)
{
	__shared__ float shared[64];
	shared[threadIdx.x] = 0;
	__syncthreads();
	shared[threadIdx.x] = x[0];
	x[threadIdx.x] = shared[(threadIdx.x + 32) % 64];
}

// The second turn writes what other warps may not have read yet.
void no_second_barrier(float *x)
{
	__shared__ float shared[64];
	for (int turn = 0; turn < 2; turn++) {
		shared[threadIdx.x] = x[turn];
		__syncthreads();
		x[threadIdx.x] = shared[63 - threadIdx.x];
	}
}

void no_warp_barrier(float *x)
{
	__shared__ float shared[32];
	shared[threadIdx.x] = 0;
	__syncwarp();
	shared[threadIdx.x] = x[0];
	x[threadIdx.x] = shared[31 - threadIdx.x];
}

// The same with what each of the three lacks: right, and said to be.
void all_barriers(float *x)
{
	__shared__ float shared[64];
	for (int turn = 0; turn < 2; turn++) {
		shared[threadIdx.x] = x[turn];
		__syncthreads();
		x[threadIdx.x] = shared[63 - threadIdx.x];
		__syncthreads();
		shared[threadIdx.x] = x[threadIdx.x];
		__syncwarp();
		x[threadIdx.x] = shared[threadIdx.x ^ 31];
		__syncthreads();
	}
}

void two_blocks(float *x)
{
	x[threadIdx.x] = (float)blockIdx.x;
}

void neighbour(float *x)
{
	x[blockIdx.x] = x[blockIdx.x + 1];
}

void beyond_shared(float *x)
{
	((float *)dynamic_shared())[threadIdx.x] = x[0];
}

void skipped_barrier(int)
{
	if (threadIdx.x)
		__syncthreads();
}

void lonely_shuffle(int)
{
	if (threadIdx.x < 16)
		__shfl_sync(0xffffffffU, 1, 0);
}

void two_barriers(int)
{
	if (threadIdx.x < 16)
		__syncthreads();
	else
		__syncthreads();
}

void outside(float *x)
{
	x[1 << 20] = 1;
}

const struct {
	const char *name;
	void (*run)(float *x);
} kernels[] = {
        {"skipped barrier", [](float *) { LAUNCH(skipped_barrier, 1, 40, 0, nullptr, 0); }},
        {"lonely shuffle", [](float *) { LAUNCH(lonely_shuffle, 1, 32, 0, nullptr, 0); }},
        {"two barriers", [](float *) { LAUNCH(two_barriers, 1, 32, 0, nullptr, 0); }},
        {"early look", [](float *x) { LAUNCH(early_look, 1, 1, 32, nullptr, x); }},
        {"unwritten", [](float *x) { LAUNCH(unwritten, 1, 1, 0, nullptr, x); }},
        {"no barrier", [](float *x) { LAUNCH(no_barrier, 1, 64, 0, nullptr, x); }},
        {"no second barrier", [](float *x) { LAUNCH(no_second_barrier, 1, 64, 0, nullptr, x); }},
        {"no warp barrier", [](float *x) { LAUNCH(no_warp_barrier, 1, 32, 0, nullptr, x); }},
        {"all barriers", [](float *x) { LAUNCH(all_barriers, 1, 64, 0, nullptr, x); }},
        {"two blocks", [](float *x) { LAUNCH(two_blocks, 2, 1, 0, nullptr, x); }},
        {"neighbour", [](float *x) { LAUNCH(neighbour, 2, 1, 0, nullptr, x); }},
        {"beyond shared", [](float *x) { LAUNCH(beyond_shared, 1, 33, 128, nullptr, x); }},
        {"unasked shared", [](float *x) { LAUNCH(beyond_shared, 1, 1, 49153, nullptr, x); }},
        {"host memory", [](float *) { LAUNCH(two_blocks, 1, 1, 0, nullptr, (float *)malloc(64)); }},
        {"outside", [](float *x) { LAUNCH(outside, 1, 1, 0, nullptr, x); }},
};
} // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void emulator_multiply(float *d, const uint16_t *a, const uint16_t *b, int is_bf16)
{
	float *to;
	uint16_t *from;
	cudaMalloc(&to, 128 * sizeof(*to));
	cudaMalloc(&from, 384 * sizeof(*from));
	cudaMemcpy(from, a, 256 * sizeof(*from), cudaMemcpyHostToDevice);
	cudaMemcpy(from + 256, b, 128 * sizeof(*from), cudaMemcpyHostToDevice);
	if (is_bf16)
		LAUNCH((multiply<1>), 1, 32, 0, nullptr, to, from, from + 256);
	else
		LAUNCH((multiply<0>), 1, 32, 0, nullptr, to, from, from + 256);
	cudaMemcpy(d, to, 128 * sizeof(*to), cudaMemcpyDeviceToHost);
	cudaFree(to);
	cudaFree(from);
}

EXPORT float emulator_sum(const float *x, int n)
{
	float *at, sum;
	cudaMalloc(&at, ((size_t)n + 1) * sizeof(*at));
	cudaMemcpy(at, x, (size_t)n * sizeof(*at), cudaMemcpyHostToDevice);
	LAUNCH(sum_block, 1, (unsigned)n, 0, nullptr, at + n, at);
	cudaMemcpy(&sum, at + n, sizeof(sum), cudaMemcpyDeviceToHost);
	cudaFree(at);
	return sum;
}

EXPORT void emulator_late_copy(float out[3], const float x[8])
{
	float *at;
	cudaMalloc(&at, 24 * sizeof(*at));
	cudaMemcpy(at, x, 8 * sizeof(*at), cudaMemcpyHostToDevice);
	LAUNCH(late_copy, 1, 1, 48, nullptr, at + 8, at);
	cudaMemcpy(out, at + 8, 3 * sizeof(*at), cudaMemcpyDeviceToHost);
	cudaFree(at);
}

// Runs a kernel that is wrong; comes back only where nobody noticed.
EXPORT void emulator_mistake(const char *name)
{
	float *at;
	cudaMalloc(&at, 256);
	cudaMemsetAsync(at, 0, 256, nullptr);
	for (const auto &kernel : kernels)
		if (!strcmp(kernel.name, name))
			kernel.run(at);
	cudaDeviceSynchronize();
}

EXPORT float emulator_peek()
{
	float *at;
	cudaMalloc(&at, 256);
	return *at;
}
