// SPDX-License-Identifier: MIT
// The emulated device's memory, stream and graphs.
#include <cstdio>
#include <map>
#include <memory>
#include <sys/mman.h>

#include "tests/emulate/cuda_runtime.h"

struct emulated_stream {
	int unused;
};
struct emulated_event {
	int unused;
};
struct emulated_graph {
	std::vector<std::function<void()>> nodes;
};

namespace
{
enum { PAGE = 4096, MOST_QUEUED = 256 };

struct region {
	unsigned char *map;
	size_t map_bytes, bytes;
};
std::map<unsigned char *, region> device_memory, pinned_memory;
std::vector<std::function<void()>> queue;
emulated_graph *capturing;
size_t used_bytes;
cudaError_t last_error;

size_t total_bytes()
{
	const char *text = getenv("KVLAB_EMULATED_BYTES"); // a smaller card, to see what happens when it is full
	return text && *text ? strtoull(text, nullptr, 10) : (size_t)8 << 30;
}

void protect(int protection)
{
	for (const auto &[at, r] : device_memory)
		mprotect(r.map, r.map_bytes - PAGE, protection);
}

void flush()
{
	if (queue.empty())
		return;
	protect(PROT_READ | PROT_WRITE);
	for (const auto &work : queue)
		work();
	queue.clear();
	protect(PROT_NONE);
}

cudaError_t fail(cudaError_t error)
{
	last_error = error;
	return error;
}

const region *region_of(const std::map<unsigned char *, region> &memory, const void *at)
{
	auto next = memory.upper_bound((unsigned char *)at);
	if (next == memory.begin())
		return nullptr;
	const auto &[from, r] = *--next;
	return (unsigned char *)at < from + r.bytes ? &r : nullptr;
}

void need_device(const void *at, size_t bytes, const char *what)
{
	const region *r = region_of(device_memory, at);
	if (bytes && (!r || (const unsigned char *)at + bytes > r->map + r->map_bytes - PAGE)) {
		fprintf(stderr, "emulated device: %s of %zu bytes at %p, which is not the device's\n", what, bytes, at);
		abort();
	}
}
} // namespace

void emulate::enqueue(std::function<void()> work)
{
	if (capturing) {
		capturing->nodes.push_back(std::move(work));
		return;
	}
	queue.push_back(std::move(work));
	if (queue.size() >= MOST_QUEUED)
		flush();
}

cudaError_t cudaGetDeviceCount(int *n)
{
	*n = 1;
	return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
	return device == 0 ? cudaSuccess : fail(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
	*p = {};
	snprintf(p->name, sizeof(p->name), "emulated device");
	p->totalGlobalMem = total_bytes();
	p->sharedMemPerBlock = 48 << 10;
	p->sharedMemPerBlockOptin = 227 << 10;
	p->major = 9;
	p->multiProcessorCount = 2;
	p->l2CacheSize = 1 << 20;
	p->warpSize = 32;
	return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
	*value = attribute == cudaDevAttrMultiProcessorCount ? 2 : 227 << 10;
	return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
	*version = 0;
	return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
	*version = 0;
	return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
	*total = total_bytes();
	*free_bytes = *total > used_bytes ? *total - used_bytes : 0;
	return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
	const cudaError_t error = last_error;
	last_error = cudaSuccess;
	return error;
}

cudaError_t cudaPeekAtLastError()
{
	return last_error;
}

const char *cudaGetErrorString(cudaError_t error)
{
	return error == cudaSuccess                         ? "no error"
	       : error == cudaErrorMemoryAllocation         ? "out of memory"
	       : error == cudaErrorNoDevice                 ? "no CUDA-capable device is detected"
	       : error == cudaErrorLaunchFailure            ? "unspecified launch failure"
	       : error == cudaErrorStreamCaptureUnsupported ? "operation not permitted when stream is capturing"
	                                                    : "invalid argument";
}

// --- memory -------------------------------------------------------------------------------------------------------

// The first addresses behind the newest allocation's where nothing is, from the beginning again after the last.
static void *place(size_t bytes)
{
	static const emulate::area all = emulate::device_addresses();
	static unsigned char *next = all.from;
	for (int is_again = 0; is_again < 2; is_again++, next = all.from) {
		for (const auto &[at, r] : device_memory)
			if (r.map < next + bytes && next < r.map + r.map_bytes)
				next = r.map + r.map_bytes;
		if (next + bytes <= all.from + all.bytes) {
			next += bytes;
			return next - bytes;
		}
	}
	return nullptr;
}

cudaError_t cudaMalloc(void **at, size_t bytes)
{
	const size_t rounded = (bytes + 255) / 256 * 256, map_bytes = (rounded + PAGE - 1) / PAGE * PAGE + PAGE;
	if (used_bytes + rounded > total_bytes())
		return fail(cudaErrorMemoryAllocation);
	void *map = place(map_bytes);
	if (!map || mmap(map, map_bytes, PROT_READ | PROT_WRITE,
	                    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return fail(cudaErrorMemoryAllocation);
	if (map_bytes > 4 << 20)
		madvise(map, map_bytes, MADV_HUGEPAGE); // protection changes often
	memset(map, 0xff, map_bytes - PAGE);
	mprotect(map, map_bytes, PROT_NONE);
	// It ends where its last page does: what is written behind it is caught.
	unsigned char *from = (unsigned char *)map + (map_bytes - PAGE - rounded);
	device_memory[from] = {(unsigned char *)map, map_bytes, rounded};
	used_bytes += rounded;
	*at = from;
	return cudaSuccess;
}

cudaError_t cudaFree(void *at)
{
	if (!at)
		return cudaSuccess;
	flush();
	const auto found = device_memory.find((unsigned char *)at);
	if (found == device_memory.end())
		return fail(cudaErrorInvalidValue);
	used_bytes -= found->second.bytes;
	mmap(found->second.map, found->second.map_bytes, PROT_NONE,
	        MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	device_memory.erase(found);
	return cudaSuccess;
}

cudaError_t cudaMallocHost(void **at, size_t bytes)
{
	*at = malloc(bytes ? bytes : 1);
	if (!*at)
		return fail(cudaErrorMemoryAllocation);
	pinned_memory[(unsigned char *)*at] = {nullptr, 0, bytes};
	return cudaSuccess;
}

cudaError_t cudaFreeHost(void *at)
{
	flush();
	pinned_memory.erase((unsigned char *)at);
	free(at);
	return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
	if (kind == cudaMemcpyDeviceToHost) {
		need_device(from, bytes, "copy");
		if (region_of(pinned_memory, to)) {
			emulate::enqueue([=] { memcpy(to, from, bytes); });
			return cudaSuccess;
		}
		if (capturing)
			return fail(cudaErrorStreamCaptureUnsupported);
		flush();
		protect(PROT_READ);
		memcpy(to, from, bytes);
		protect(PROT_NONE);
		return cudaSuccess;
	}
	need_device(to, bytes, "copy");
	if (kind == cudaMemcpyHostToDevice && !region_of(pinned_memory, from)) { // staged before the call returns
		if (capturing)
			return fail(cudaErrorStreamCaptureUnsupported);
		auto staged = std::make_shared<std::vector<unsigned char>>(
		        (const unsigned char *)from, (const unsigned char *)from + bytes);
		emulate::enqueue([=] { memcpy(to, staged->data(), bytes); });
		return cudaSuccess;
	}
	if (kind == cudaMemcpyDeviceToDevice) {
		need_device(from, bytes, "copy");
		if ((char *)to < (const char *)from + bytes && (const char *)from < (char *)to + bytes) {
			fprintf(stderr, "emulated device: a copy onto itself\n");
			abort();
		}
	}
	(void)stream;
	emulate::enqueue([=] { memcpy(to, from, bytes); });
	return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
	const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
	return error == cudaSuccess ? cudaDeviceSynchronize() : error;
}

cudaError_t cudaMemsetAsync(void *at, int byte, size_t bytes, cudaStream_t)
{
	need_device(at, bytes, "memset");
	emulate::enqueue([=] { memset(at, byte, bytes); });
	return cudaSuccess;
}

// --- streams, events, graphs --------------------------------------------------------------------------------------

cudaError_t cudaDeviceSynchronize()
{
	if (capturing)
		return fail(cudaErrorStreamCaptureUnsupported);
	flush();
	static const char *const most =
	        getenv("KVLAB_EMULATED_WAITS"); // after so many a kernel fails, to see what then happens
	static long n_wait;
	return most && ++n_wait > atol(most) ? fail(cudaErrorLaunchFailure) : cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
	*stream = new emulated_stream{};
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	flush();
	delete stream;
	return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
	return cudaDeviceSynchronize();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
	*event = new emulated_event{};
	return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
	return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
	return cudaDeviceSynchronize();
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	delete event;
	return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
	if (capturing)
		return fail(cudaErrorStreamCaptureUnsupported);
	capturing = new emulated_graph{};
	return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
	*graph = capturing;
	capturing = nullptr;
	return *graph ? cudaSuccess : fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
	*exec = new emulated_graph(*graph);
	return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t)
{
	for (const auto &node : exec->nodes)
		emulate::enqueue(node);
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
	flush();
	delete exec;
	return cudaSuccess;
}
