// SPDX-License-Identifier: MIT
// Gradients of embeddings, without atomic adds: the block of the first row with a token adds up all rows that have it,
// in their order, and the blocks of its later rows have nothing to do. Tokens are 4 bytes a row, so looking through
// them costs little beside the rows themselves. The bits are the CPU's.
#include "harness/num/cuda/cuda.cuh"

enum { THREADS = 256 };

// Which of the rows from..from+THREADS-1, below `rows`, have the token: a bit each, in every thread's `seen`.
static __device__ void look(unsigned *seen, unsigned *shared, const int *tokens, int token, int from, int rows)
{
	const int me = (int)threadIdx.x;
	const unsigned votes = __ballot_sync(0xffffffffU, from + me < rows && tokens[from + me] == token);
	if (me % 32 == 0)
		shared[me / 32] = votes;
	__syncthreads();
	for (int i = 0; i < THREADS / 32; i++)
		seen[i] = shared[i];
	__syncthreads();
}

// Block (row, columns).
static __global__ void __launch_bounds__(THREADS)
        embed_table_backward(float *dtable, const float *dout, const int *tokens, int rows, int C)
{
	__shared__ unsigned shared[THREADS / 32];
	unsigned seen[THREADS / 32];
	const int row = (int)blockIdx.x, token = tokens[row], j = (int)(blockIdx.y * THREADS + threadIdx.x);
	for (int from = 0; from < row; from += THREADS) {
		unsigned any = 0;
		look(seen, shared, tokens, token, from, row);
		for (int i = 0; i < THREADS / 32; i++)
			any |= seen[i];
		if (any)
			return; // an earlier row's block does it
	}
	float *to = dtable + (ptrdiff_t)token * C + j;
	float sum = j < C ? *to : 0;
	for (int from = row; from < rows; from += THREADS) {
		look(seen, shared, tokens, token, from, rows);
		for (int i = 0; i < THREADS / 32; i++)
			for (unsigned left = seen[i], bit = 0; left; left >>= 1, bit++)
				if (j < C && left % 2)
					sum += dout[(ptrdiff_t)(from + 32 * i + (int)bit) * C + j];
	}
	if (j < C)
		*to = sum;
}

static __global__ void __launch_bounds__(THREADS)
        embed_position_backward(float *dposition, const float *dout, int B, int T, int C)
{
	const int j = (int)(blockIdx.y * THREADS + threadIdx.x);
	const ptrdiff_t t = blockIdx.x;
	if (j >= C)
		return;
	float sum = dposition[t * C + j];
	for (int b = 0; b < B; b++)
		sum += dout[((ptrdiff_t)b * T + t) * C + j];
	dposition[t * C + j] = sum;
}

void cuda_embed_backward(const struct exec *exec, real *dtable, int n_vocab, int accumulate_table, real *dposition,
        int n_ctx, int accumulate_position, const real *dout, const int *tokens, int B, int T, int C, int first)
{
	const unsigned n_column_block = (unsigned)cuda_blocks(C, THREADS);
	const struct arena_mark mark = arena_mark(exec->scratch);
	if (dtable && !accumulate_table)
		cuda_clear(exec, dtable, (size_t)n_vocab * (size_t)C * sizeof(*dtable));
	if (dposition && !accumulate_position)
		cuda_clear(exec, dposition, (size_t)n_ctx * (size_t)C * sizeof(*dposition));
	if (dtable && B * T > 0)
		LAUNCH(embed_table_backward, dim3((unsigned)(B * T), n_column_block), THREADS, 0, cuda.stream, dtable,
		        dout, cuda_tokens_again(exec, tokens, B * T), B * T, C);
	if (dposition && B * T > 0)
		LAUNCH(embed_position_backward, dim3((unsigned)T, n_column_block), THREADS, 0, cuda.stream,
		        dposition + (ptrdiff_t)first * C, dout, B, T, C);
	cuda_launched("embed_backward");
	arena_rewind(exec->scratch, mark);
}
