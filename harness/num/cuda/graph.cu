// SPDX-License-Identifier: MIT
// Steps taken down once and played again. Tokens lie in one place of the device that every graph's embed reads; play
// writes them and the shift before the graph and clears the shift after it, all on the one stream.
#include <string.h>

#include "harness/num/cuda/cuda.cuh"

// Numbers that go to the device as an argument of a launch: nothing of the host's must outlive the call.
enum { TOKENS_A_LAUNCH = 512, MOST_GRAPH_TOKENS = 1 << 18, MOST_CALLS = 8 };
struct token_batch {
	int n, token[TOKENS_A_LAUNCH];
};

struct graph {
	cudaGraphExec_t exec;
	int n_token, n_target;
	struct graph_update update;
};

// On the device: what play writes before a graph and, of the results, reads after it. (MOST_GRAPH_TOKENS) each.
static int *graph_tokens, *graph_targets, *graph_hits;
static double *graph_losses, *graph_scale;
// Of the graph that is being taken down, and the calls that its tokens came by.
static int n_recorded, n_recorded_target, n_call;
static struct {
	const int *tokens, *at;
	int n;
} calls[MOST_CALLS];
static const char *refusal;

static __global__ void write_tokens(int *to, const struct token_batch batch)
{
	for (int i = (int)threadIdx.x; i < batch.n; i += (int)blockDim.x)
		to[i] = batch.token[i];
}

static __global__ void write_shift(int *to, int shift)
{
	*to = shift;
}

static void put_tokens(int *to, const int *tokens, int n)
{
	if (n > 8 * TOKENS_A_LAUNCH) { // a prefill: the driver's own staging, which waits for the stream
		cuda_check(cudaMemcpyAsync(to, tokens, (size_t)n * sizeof(*to), cudaMemcpyHostToDevice, cuda.stream),
		        "upload of tokens");
		return;
	}
	for (int from = 0; from < n; from += TOKENS_A_LAUNCH) {
		struct token_batch batch;
		batch.n = n - from < TOKENS_A_LAUNCH ? n - from : TOKENS_A_LAUNCH;
		memcpy(batch.token, tokens + from, (size_t)batch.n * sizeof(*tokens));
		LAUNCH(write_tokens, 1, 128, 0, cuda.stream, to + from, batch);
		cuda_launched("write_tokens");
	}
}

const int *cuda_tokens(const struct exec *exec, const int *tokens, int n)
{
	if (!cuda.is_recording) {
		int *to = cuda_scratch<int>(exec, n);
		put_tokens(to, tokens, n);
		return to;
	}
	if (n_recorded + n > MOST_GRAPH_TOKENS) {
		cuda_refuse("so many tokens");
		return graph_tokens;
	}
	n_recorded += n;
	if (n_call < MOST_CALLS)
		calls[n_call].tokens = tokens, calls[n_call].n = n, calls[n_call++].at = graph_tokens + n_recorded - n;
	return graph_tokens + n_recorded - n;
}

const int *cuda_tokens_again(const struct exec *exec, const int *tokens, int n)
{
	if (!cuda.is_recording)
		return cuda_tokens(exec, tokens, n);
	for (int i = 0; i < n_call; i++)
		if (calls[i].tokens == tokens && calls[i].n == n)
			return calls[i].at;
	cuda_refuse("tokens that were not embedded in it");
	return graph_tokens;
}

int cuda_graph_targets(struct graph_targets *at, int n)
{
	if (n_recorded_target + n > MOST_GRAPH_TOKENS) {
		cuda_refuse("so many targets");
		return 0;
	}
	at->target = graph_targets + n_recorded_target;
	at->grad_scale = graph_scale;
	at->loss = graph_losses + n_recorded_target;
	at->hit = graph_hits + n_recorded_target;
	n_recorded_target += n;
	return 1;
}

int cuda_graph_losses(const double **loss)
{
	*loss = graph_losses;
	return n_recorded_target;
}

template <typename T> static cudaError_t take(T **at, long n)
{
	return cudaMalloc(at, (size_t)n * sizeof(T));
}

int cuda_graph_start(struct err *err)
{
	cudaError_t error = take(&graph_tokens, MOST_GRAPH_TOKENS);
	if (error == cudaSuccess)
		error = take(&graph_targets, MOST_GRAPH_TOKENS);
	if (error == cudaSuccess)
		error = take(&graph_hits, MOST_GRAPH_TOKENS);
	if (error == cudaSuccess)
		error = take(&graph_losses, MOST_GRAPH_TOKENS);
	if (error == cudaSuccess)
		error = take(&graph_scale, 1);
	if (error != cudaSuccess)
		return err_fault(err, "memory of the CUDA device: %s", cudaGetErrorString(error));
	return cuda_update_start(err);
}

int cuda_refuse(const char *why)
{
	if (cuda.is_recording && !refusal)
		refusal = why;
	return cuda.is_recording;
}

static void begin(const struct exec *)
{
	n_recorded = n_recorded_target = n_call = 0;
	refusal = NULL;
	cuda_update_begin();
	cuda_check(cudaStreamBeginCapture(cuda.stream, cudaStreamCaptureModeRelaxed), "taking down a graph");
	cuda.is_recording = 1;
}

static struct graph *end(const struct exec *, struct err *err)
{
	cudaGraph_t taken = NULL;
	cuda.is_recording = 0;
	cudaError_t error = cudaStreamEndCapture(cuda.stream, &taken);
	struct graph *graph = new struct graph();
	graph->n_token = n_recorded;
	graph->n_target = n_recorded_target;
	graph->update = cuda_update_end();
	if (refusal)
		err_set(err, "%s cannot be part of a graph", refusal);
	else if (error == cudaSuccess)
		error = cudaGraphInstantiate(&graph->exec, taken, 0);
	if (!refusal && error != cudaSuccess)
		err_fault(err, "a step cannot be taken down as a graph: %s", cudaGetErrorString(error));
	if (taken)
		cudaGraphDestroy(taken);
	if (!graph->exec) {
		cudaGetLastError(); // it has been told
		delete graph;
		return NULL;
	}
	return graph;
}

static void play(const struct exec *, struct graph *graph, const int *tokens, int n_token, int shift)
{
	if (n_token != graph->n_token)
		BUG("a graph of %d tokens played with %d", graph->n_token, n_token);
	put_tokens(graph_tokens, tokens, n_token);
	LAUNCH(write_shift, 1, 1, 0, cuda.stream, cuda.shift, shift);
	cuda_check(cudaGraphLaunch(graph->exec, cuda.stream), "a graph");
	LAUNCH(write_shift, 1, 1, 0, cuda.stream, cuda.shift, 0);
	cuda_launched("write_shift");
}

static __global__ void write_training(double *to_scale, double scale, uint64_t *to_shift, uint64_t shift)
{
	*to_scale = scale;
	*to_shift = shift;
}

static void play_training(const struct exec *exec, struct graph *graph, const struct graph_training *p)
{
	if (p->n_token != graph->n_token || p->n_target != graph->n_target)
		BUG("a graph of %d tokens and %d targets played with %d and %d", graph->n_token, graph->n_target,
		        p->n_token, p->n_target);
	put_tokens(graph_tokens, p->tokens, p->n_token);
	put_tokens(graph_targets, p->targets, p->n_target);
	LAUNCH(write_training, 1, 1, 0, cuda.stream, graph_scale, p->grad_scale, cuda.dropout_shift, p->dropout_shift);
	cuda_update_put(&graph->update, p);
	cuda_check(cudaGraphLaunch(graph->exec, cuda.stream), "a graph");
	LAUNCH(write_training, 1, 1, 0, cuda.stream, graph_scale, 0.0, cuda.dropout_shift, (uint64_t)0);
	cuda_launched("write_training");
	cuda_download(exec, p->loss, graph_losses, (size_t)p->n_target * sizeof(*p->loss));
	cuda_download(exec, p->hit, graph_hits, (size_t)p->n_target * sizeof(*p->hit));
	if (p->norm)
		*p->norm = cuda_update_norm(exec, &graph->update);
}

static void release(struct graph *graph)
{
	if (!graph)
		return;
	cuda_check(cudaStreamSynchronize(cuda.stream), "a graph");
	cudaGraphExecDestroy(graph->exec);
	delete graph;
}

const struct graph_slots cuda_graph_slots = {begin, end, play, release, play_training};
