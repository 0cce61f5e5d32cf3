// SPDX-License-Identifier: MIT
// The device: found once, its memory, and copies.
#include <stdio.h>
#include <stdlib.h>

#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/matmul.cuh"

struct cuda cuda;

void cuda_fault(const char *what, const char *cause)
{
	die("the CUDA device failed at %s: %s", what, cause);
}

int cuda_start(struct err *err)
{
	static int is_started;
	int n_device = 0, driver = 0, runtime = 0;
	struct cudaDeviceProp device;
	if (is_started)
		return 0;
	cudaError_t error = cudaGetDeviceCount(&n_device);
	if (error != cudaSuccess || n_device < 1)
		return err_set(err, "no CUDA device: %s (look at nvidia-smi, or use --device cpu)",
		        error == cudaSuccess ? "the driver knows none" : cudaGetErrorString(error));
	error = cudaSetDevice(cuda_ranks_device(n_device));
	if (error == cudaSuccess)
		error = cudaGetDeviceProperties(&device, cuda_ranks_device(n_device));
	if (error != cudaSuccess)
		return err_fault(err, "the CUDA device does not answer: %s", cudaGetErrorString(error));
	if (device.major < 8)
		return err_set(err,
		        "the CUDA device %s has compute capability %d.%d; kernels need 8.0 (use --device cpu)",
		        device.name, device.major, device.minor);
	error = cudaStreamCreateWithFlags(&cuda.stream, cudaStreamNonBlocking);
	if (error == cudaSuccess)
		error = cudaMalloc(&cuda.shift, sizeof(*cuda.shift));
	if (error == cudaSuccess)
		error = cudaMemsetAsync(cuda.shift, 0, sizeof(*cuda.shift), cuda.stream);
	if (error == cudaSuccess)
		error = cudaMalloc(&cuda.dropout_shift, sizeof(*cuda.dropout_shift));
	if (error == cudaSuccess)
		error = cudaMemsetAsync(cuda.dropout_shift, 0, sizeof(*cuda.dropout_shift), cuda.stream);
	if (error != cudaSuccess)
		return err_fault(err, "the CUDA device %s cannot be used: %s", device.name, cudaGetErrorString(error));
	if (cuda_matmul_start(err) || cuda_graph_start(err))
		return -1;
	cuda.n_multiprocessor = device.multiProcessorCount;
	cudaDriverGetVersion(&driver);
	cudaRuntimeGetVersion(&runtime);
	snprintf(cuda.library, sizeof(cuda.library), "%.120s, driver for CUDA %d.%d, runtime %d.%d, %s", device.name,
	        driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, cuda_matmul_library());
	is_started = 1;
	return 0;
}

const char *cuda_library(void)
{
	return cuda.library;
}

// --- memory -------------------------------------------------------------------------------------------------------

static void *take(size_t bytes)
{
	void *at;
	const cudaError_t error = cudaMalloc(&at, bytes);
	if (error == cudaErrorMemoryAllocation)
		die_no_memory(bytes);
	cuda_check(error, "allocation");
	return at;
}

static void give(void *at, size_t)
{
	cuda_check(cudaFree(at), "release of memory");
}

static double available(void)
{
	size_t free_bytes, total;
	cuda_check(cudaMemGetInfo(&free_bytes, &total), "size of memory");
	return (double)free_bytes;
}

const struct memory_source cuda_memory = {take, give, available};

// --- copies -------------------------------------------------------------------------------------------------------

void cuda_upload(const struct exec *, void *to, const void *from, size_t bytes)
{
	if (!bytes || cuda_refuse("a copy from the host's memory"))
		return;
	cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda.stream), "upload");
}

void cuda_download(const struct exec *, void *to, const void *from, size_t bytes)
{
	if (cuda_refuse("a copy to the host's memory"))
		return;
	if (bytes)
		cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, cuda.stream), "download");
	cuda_check(cudaStreamSynchronize(cuda.stream), "download");
}

static void copy(void *to, const void *from, size_t bytes)
{
	cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, cuda.stream), "move");
}

void cuda_move(const struct exec *exec, void *to, const void *from, size_t bytes)
{
	const char *target = (const char *)to, *source = (const char *)from;
	if (!bytes || to == from)
		return;
	if (target + bytes <= source || source + bytes <= target) {
		copy(to, from, bytes);
		return;
	}
	const struct arena_mark mark = arena_mark(exec->scratch);
	char *between = cuda_scratch<char>(exec, (long)bytes);
	copy(between, from, bytes);
	copy(to, between, bytes);
	arena_rewind(exec->scratch, mark);
}

void cuda_clear(const struct exec *, void *at, size_t bytes)
{
	if (bytes)
		cuda_check(cudaMemsetAsync(at, 0, bytes, cuda.stream), "clear");
}
