// SPDX-License-Identifier: MIT
// What the kernels use of CUDA's language and runtime library (emulate.h says how it behaves). Names are CUDA's.
#ifndef KVLAB_TESTS_EMULATE_CUDA_RUNTIME_H
#define KVLAB_TESTS_EMULATE_CUDA_RUNTIME_H
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "tests/emulate/emulate.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
// One copy a block, since blocks run one after the other. In thread-local memory because the emulator can find and
// poison that as a whole.
#define __shared__ static thread_local

#define threadIdx (emulate::current->thread_index)
extern uint3 blockIdx;
extern dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

struct alignas(8) float2 {
	float x, y;
};
struct alignas(16) float4 {
	float x, y, z, w;
};
struct alignas(8) int2 {
	int x, y;
};
struct alignas(16) int4 {
	int x, y, z, w;
};
struct alignas(8) uint2 {
	unsigned x, y;
};
struct alignas(16) uint4 {
	unsigned x, y, z, w;
};
struct alignas(16) double2 {
	double x, y;
};
static inline float2 make_float2(float x, float y)
{
	return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
	return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y)
{
	return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
	return {x, y, z, w};
}
static inline int2 make_int2(int x, int y)
{
	return {x, y};
}
static inline int4 make_int4(int x, int y, int z, int w)
{
	return {x, y, z, w};
}

// --- of a block and a warp ----------------------------------------------------------------------------------------
#define __syncthreads() emulate::sync_block(__FILE__, __LINE__)
#define EMULATE_MASK(...) EMULATE_MASK_(__VA_ARGS__ __VA_OPT__(, ) 0xffffffffU)
#define EMULATE_MASK_(mask, ...) mask
#define __syncwarp(...) emulate::sync_warp(__FILE__, __LINE__, EMULATE_MASK(__VA_ARGS__))
#define __shfl_sync(mask, value, from) emulate::take_from(__FILE__, __LINE__, mask, value, (from)&31)
#define __shfl_xor_sync(mask, value, bits) emulate::take_from(__FILE__, __LINE__, mask, value, emulate::lane() ^ (bits))
#define __shfl_down_sync(mask, value, n) emulate::take_from(__FILE__, __LINE__, mask, value, emulate::lane() + (int)(n))
#define __shfl_up_sync(mask, value, n) emulate::take_from(__FILE__, __LINE__, mask, value, emulate::lane() - (int)(n))
#define __ballot_sync(mask, is_set) emulate::ballot(__FILE__, __LINE__, mask, (is_set) != 0)
#define __any_sync(mask, is_set) (__ballot_sync(mask, is_set) != 0)
#define __all_sync(mask, is_set) (__ballot_sync(mask, is_set) == (mask))

static inline void __threadfence()
{
}
static inline int atomicAdd(int *at, int n) // fibers change places at meetings only
{
	const int before = *at;
	*at += n;
	return before;
}
static inline unsigned atomicAdd(unsigned *at, unsigned n)
{
	const unsigned before = *at;
	*at += n;
	return before;
}
static inline unsigned atomicInc(unsigned *at, unsigned most)
{
	const unsigned before = *at;
	*at = before >= most ? 0 : before + 1;
	return before;
}

// --- arithmetic ---------------------------------------------------------------------------------------------------
template <typename T> static inline T __ldg(const T *at)
{
	return *at;
}
template <typename T> static inline T __ldcs(const T *at)
{
	return *at;
}
template <typename A, typename B> static inline auto min(A a, B b) -> decltype(a + b)
{
	return a < b ? a : b;
}
template <typename A, typename B> static inline auto max(A a, B b) -> decltype(a + b)
{
	return a > b ? a : b;
}
template <typename To, typename From> static inline To emulate_bits(From from)
{
	To to;
	static_assert(sizeof(to) == sizeof(from));
	memcpy(&to, &from, sizeof(to));
	return to;
}
static inline float __uint_as_float(unsigned x)
{
	return emulate_bits<float>(x);
}
static inline unsigned __float_as_uint(float x)
{
	return emulate_bits<unsigned>(x);
}
static inline float __int_as_float(int x)
{
	return emulate_bits<float>(x);
}
static inline int __float_as_int(float x)
{
	return emulate_bits<int>(x);
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
	return (unsigned)((uint64_t)a * b >> 32);
}
static inline int __popc(unsigned x)
{
	return __builtin_popcount(x);
}
#define __expf(x) expf(x)
#define __logf(x) logf(x)
static inline float __fdividef(float a, float b)
{
	return a / b;
}
#define __sincosf(x, s, c) sincosf(x, s, c) // a macro: the C library has the name too
static inline void sincospif(float x, float *s, float *c)
{
	*s = (float)sin((double)x * M_PI), *c = (float)cos((double)x * M_PI);
}
static inline float rsqrtf(float x)
{
	return 1 / sqrtf(x);
}
static inline float __frcp_rn(float x)
{
	return 1 / x;
}

// --- the runtime library ------------------------------------------------------------------------------------------
enum cudaError_t {
	cudaSuccess = 0,
	cudaErrorInvalidValue = 1,
	cudaErrorMemoryAllocation = 2,
	cudaErrorNoDevice = 100,
	cudaErrorLaunchFailure = 719,
	cudaErrorStreamCaptureUnsupported = 900,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureMode {
	cudaStreamCaptureModeGlobal,
	cudaStreamCaptureModeThreadLocal,
	cudaStreamCaptureModeRelaxed
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97, cudaDevAttrMultiProcessorCount = 16 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0 };

typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_event *cudaEvent_t;
typedef struct emulated_graph *cudaGraph_t;
typedef struct emulated_graph *cudaGraphExec_t;

struct cudaDeviceProp {
	char name[256];
	size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
	int major, minor, multiProcessorCount, l2CacheSize, warpSize;
};

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaDeviceSynchronize();

cudaError_t cudaMalloc(void **at, size_t bytes);
cudaError_t cudaFree(void *at);
cudaError_t cudaMallocHost(void **at, size_t bytes);
cudaError_t cudaFreeHost(void *at);
template <typename T> static inline cudaError_t cudaMalloc(T **at, size_t bytes)
{
	return cudaMalloc((void **)at, bytes);
}
template <typename T> static inline cudaError_t cudaMallocHost(T **at, size_t bytes)
{
	return cudaMallocHost((void **)at, bytes);
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemsetAsync(void *at, int byte, size_t bytes, cudaStream_t stream);
template <typename F> static inline cudaError_t cudaFuncSetAttribute(F *kernel, cudaFuncAttribute, int value)
{
	if (value > 227 * 1024)
		return cudaErrorInvalidValue;
	emulate::allow_shared((const void *)kernel, (size_t)value);
	return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

#endif
