// SPDX-License-Identifier: MIT
// Gradients that are sums over rows: of biases, norms, embeddings, heads' gains. Partial sums belong to fixed blocks of
// rows and are added in order; nothing is added atomically, so a step has the same bits every time.
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/reduce.cuh"

enum { THREADS = 256, ROWS = 64, WARP = 32 };

static __device__ __forceinline__ void put(float *at, float x, int accumulate)
{
	*at = accumulate ? *at + x : x;
}

// out (n) = [out +] parts (n_part, n) added in order.
static __global__ void __launch_bounds__(THREADS)
        add_parts(float *out, const float *parts, int n_part, int n, int accumulate)
{
	const int j = (int)(blockIdx.x * THREADS + threadIdx.x);
	float sum = 0;
	if (j >= n)
		return;
	for (int part = 0; part < n_part; part++)
		sum += parts[(ptrdiff_t)part * n + j];
	put(out + j, sum, accumulate);
}

static void launch_add_parts(float *out, const float *parts, int n_part, int n, int accumulate)
{
	LAUNCH(add_parts, cuda_blocks(n, THREADS), THREADS, 0, cuda.stream, out, parts, n_part, n, accumulate);
	cuda_launched("add_parts");
}

// A column a thread. grid: (columns, blocks of rows)
static __global__ void __launch_bounds__(THREADS) sum_columns(float *parts, const float *x, ptrdiff_t ldx, int m, int n)
{
	const int j = (int)(blockIdx.x * THREADS + threadIdx.x), from = (int)blockIdx.y * ROWS;
	float sum = 0;
	if (j >= n)
		return;
	for (int i = from; i < min(m, from + ROWS); i++)
		sum += x[i * ldx + j];
	parts[(ptrdiff_t)blockIdx.y * n + j] = sum;
}

void cuda_column_sum(const struct exec *exec, real *out, const real *x, ptrdiff_t ldx, int m, int n, int accumulate)
{
	const int n_block = cuda_blocks(m, ROWS);
	const struct arena_mark mark = arena_mark(exec->scratch);
	if (n < 1)
		return;
	float *parts = cuda_scratch<float>(exec, (long)n_block * n);
	if (n_block) // a grid of nothing is an error
		LAUNCH(sum_columns, dim3((unsigned)cuda_blocks(n, THREADS), (unsigned)n_block), THREADS, 0, cuda.stream,
		        parts, x, ldx, m, n);
	launch_add_parts(out, parts, n_block, n, accumulate);
	arena_rewind(exec->scratch, mark);
}

// --- norms --------------------------------------------------------------------------------------------------------

// dx of a row a block: r (g - mean(g) - xhat mean(g xhat)), g = dout gain; without mean(g) in the root mean square.
static __global__ void __launch_bounds__(THREADS) norm_input(float *dx, int accumulate, const float *dout,
        const float *x, const float *stat, const float *gain, int n, int is_rms)
{
	__shared__ float part[THREADS / WARP];
	const ptrdiff_t row = (ptrdiff_t)blockIdx.x * n;
	const float mean = stat[2 * (ptrdiff_t)blockIdx.x], r = stat[2 * (ptrdiff_t)blockIdx.x + 1];
	float sum = 0, sum_x = 0;
	for (int j = (int)threadIdx.x; j < n; j += THREADS) {
		const float g = dout[row + j] * gain[j];
		sum += g;
		sum_x += g * ((x[row + j] - mean) * r);
	}
	const float g_mean = over_block<THREADS, sum_of>(sum, part) / (float)n;
	const float gx_mean = over_block<THREADS, sum_of>(sum_x, part) / (float)n;
	for (int j = (int)threadIdx.x; j < n; j += THREADS) {
		const float xhat = (x[row + j] - mean) * r;
		put(dx + row + j, r * (dout[row + j] * gain[j] - (is_rms ? 0 : g_mean) - xhat * gx_mean), accumulate);
	}
}

// Parts of dgain and dbias, (blocks of rows, n) each; a column a thread.
static __global__ void __launch_bounds__(THREADS) norm_weights(
        float *gain_parts, float *bias_parts, const float *dout, const float *x, const float *stat, int m, int n)
{
	const int j = (int)(blockIdx.x * THREADS + threadIdx.x), from = (int)blockIdx.y * ROWS;
	float to_gain = 0, to_bias = 0;
	if (j >= n)
		return;
	for (int i = from; i < min(m, from + ROWS); i++) {
		const float d = dout[(ptrdiff_t)i * n + j];
		to_gain += d * ((x[(ptrdiff_t)i * n + j] - stat[2 * (ptrdiff_t)i]) * stat[2 * (ptrdiff_t)i + 1]);
		to_bias += d;
	}
	gain_parts[(ptrdiff_t)blockIdx.y * n + j] = to_gain;
	bias_parts[(ptrdiff_t)blockIdx.y * n + j] = to_bias;
}

void cuda_norm_backward(const struct exec *exec, real *dx, int accumulate_x, real *dgain, int accumulate_gain,
        real *dbias, int accumulate_bias, const real *dout, const real *x, const real *stat, const real *gain, int m,
        int n, int is_rms)
{
	const int n_block = cuda_blocks(m, ROWS);
	const struct arena_mark mark = arena_mark(exec->scratch);
	if (m < 1)
		return;
	float *gain_parts = cuda_scratch<float>(exec, (long)n_block * n);
	float *bias_parts = cuda_scratch<float>(exec, (long)n_block * n);
	LAUNCH(norm_weights, dim3((unsigned)cuda_blocks(n, THREADS), (unsigned)n_block), THREADS, 0, cuda.stream,
	        gain_parts, bias_parts, dout, x, stat, m, n);
	if (dx)
		LAUNCH(norm_input, m, THREADS, 0, cuda.stream, dx, accumulate_x, dout, x, stat, gain, n, is_rms);
	cuda_launched("norm_backward");
	if (dgain)
		launch_add_parts(dgain, gain_parts, n_block, n, accumulate_gain);
	if (dbias)
		launch_add_parts(dbias, bias_parts, n_block, n, accumulate_bias);
	arena_rewind(exec->scratch, mark);
}

// --- heads --------------------------------------------------------------------------------------------------------

// One head of a block of rows. grid: (heads, blocks of rows)
static __global__ void __launch_bounds__(THREADS)
        dot_heads(float *parts, struct strided a, struct strided b, int T, int d, int n_row)
{
	__shared__ float part[THREADS / WARP];
	const int from = (int)blockIdx.y * ROWS, n = min((int)ROWS, n_row - from) * d;
	float sum = 0;
	for (int i = (int)threadIdx.x; i < n; i += THREADS) {
		const int row = from + i / d, j = (int)blockIdx.x * d + i % d;
		sum += a.x[row / T * a.b_stride + row % T * a.t_stride + j] *
		       b.x[row / T * b.b_stride + row % T * b.t_stride + j];
	}
	sum = over_block<THREADS, sum_of>(sum, part);
	if (threadIdx.x == 0)
		parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

void cuda_dot_heads(
        const struct exec *exec, real *out, struct strided a, struct strided b, int B, int T, int C, int n_head)
{
	const int n_block = cuda_blocks((long)B * T, ROWS);
	const struct arena_mark mark = arena_mark(exec->scratch);
	float *parts = cuda_scratch<float>(exec, (long)n_block * n_head);
	if (n_block)
		LAUNCH(dot_heads, dim3((unsigned)n_head, (unsigned)n_block), THREADS, 0, cuda.stream, parts, a, b, T,
		        C / n_head, B * T);
	cuda_launched("dot_heads");
	launch_add_parts(out, parts, n_block, n_head, 0);
	arena_rewind(exec->scratch, mark);
}

// --- embeddings ---------------------------------------------------------------------------------------------------

// A row a block, and only where it is its token's first: that block adds up all rows of the token, in their order. A
// token is looked for among all rows by every block; they stay in L2, and 32K of them are 1 GB of reads from there.
static __global__ void __launch_bounds__(THREADS)
        embed_table(float *dtable, const float *dout, const int *tokens, int n_row, int C)
{
	const int row = (int)blockIdx.x, token = tokens[row];
	int is_again = 0;
	__shared__ int seen[THREADS / WARP], found[THREADS];
	for (int i = (int)threadIdx.x; i < row; i += THREADS)
		is_again |= tokens[i] == token;
	if (over_block<THREADS, most_of>(is_again, seen))
		return;
	for (int from = row; from < n_row; from += THREADS) {
		const int i = from + (int)threadIdx.x;
		found[threadIdx.x] = i < n_row && tokens[i] == token;
		__syncthreads();
		for (int k = 0; k < min((int)THREADS, n_row - from); k++)
			for (int j = (int)threadIdx.x; found[k] && j < C; j += THREADS)
				dtable[(ptrdiff_t)token * C + j] += dout[(ptrdiff_t)(from + k) * C + j];
		__syncthreads();
	}
}

// A position a block: the rows of all sequences.
static __global__ void __launch_bounds__(THREADS)
        embed_position(float *dposition, const float *dout, int B, int T, int C, int first)
{
	const int t = (int)blockIdx.x;
	for (int j = (int)threadIdx.x; j < C; j += THREADS) {
		float sum = 0;
		for (int b = 0; b < B; b++)
			sum += dout[((ptrdiff_t)b * T + t) * C + j];
		dposition[(ptrdiff_t)(first + t) * C + j] += sum;
	}
}

void cuda_embed_backward(const struct exec *exec, real *dtable, int n_vocab, int accumulate_table, real *dposition,
        int n_ctx, int accumulate_position, const real *dout, const int *tokens, int B, int T, int C, int first)
{
	const struct arena_mark mark = arena_mark(exec->scratch);
	if (dtable && !accumulate_table)
		cuda_clear(exec, dtable, (size_t)n_vocab * (size_t)C * sizeof(*dtable));
	if (dposition && !accumulate_position)
		cuda_clear(exec, dposition, (size_t)n_ctx * (size_t)C * sizeof(*dposition));
	if (dtable)
		LAUNCH(embed_table, B * T, THREADS, 0, cuda.stream, dtable, dout,
		        cuda_tokens_again(exec, tokens, B * T), B * T, C);
	if (dposition)
		LAUNCH(embed_position, T, THREADS, 0, cuda.stream, dposition, dout, B, T, C, first);
	cuda_launched("embed_backward");
	arena_rewind(exec->scratch, mark);
}
