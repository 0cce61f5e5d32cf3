// SPDX-License-Identifier: MIT
// Rows in the types that caches and weights are kept in: written, read, looked up by token. What is written has the
// CPU's bytes (num/dtype.c).
#include "harness/num/cuda/cuda.cuh"
#include "harness/num/cuda/dtype.cuh"
#include "harness/num/cuda/reduce.cuh"
#include "harness/num/stored.h"

enum { N = DTYPE_BLOCK, THREADS = 256, WARPS = THREADS / 32, HALF_NAN = 0x7e00, HALF_INFINITY = 0x7c00 };

// --- reading ------------------------------------------------------------------------------------------------------

// Number j of a row at `position` of sequence b, of S.
static __device__ float number_at(const struct stored *s, int b, int position, int S, int j)
{
	const unsigned char *sequence = s->at + b * s->b_bytes;
	j += s->from;
	if (!s->tail)
		return dtype_number(s->dtype, sequence + position * s->row_bytes, s->columns, j);
	if (position / N * N + N > S)
		return s->tail[((ptrdiff_t)b * N + position % N) * s->columns + j];
	return dtype_number(s->dtype, sequence + position / N * s->row_bytes + j * s->channel_bytes, N, position % N);
}

static __global__ void __launch_bounds__(THREADS)
        read_rows(struct strided_out out, const struct stored from, int position, int n, int S, int at, int d)
{
	const long i = (long)blockIdx.x * THREADS + threadIdx.x;
	const int b = (int)blockIdx.y;
	if (i >= (long)n * d)
		return;
	const int t = (int)(i / d), j = (int)(i % d);
	const float x = number_at(&from, b, position + t, S, at + j);
	float *to = out.x + b * out.b_stride + t * out.t_stride + j;
	*to = out.accumulate ? *to + x : x;
}

void cuda_read_rows(const struct exec *, struct strided_out out, const struct stored *from, int B, int position, int n,
        int S, int at, int d)
{
	if (B < 1 || n < 1 || d < 1)
		return;
	LAUNCH(read_rows, dim3((unsigned)cuda_blocks((long)n * d, THREADS), (unsigned)B), THREADS, 0, cuda.stream, out,
	        *from, position, n, S, at, d);
	cuda_launched("read_rows");
}

// A row of out a block.
static __global__ void __launch_bounds__(THREADS) embed(float *out, const struct stored table, const float *position,
        const int *tokens, int T, int C, int first, const int *shift)
{
	const ptrdiff_t row = blockIdx.x;
	const float *at = position ? position + (ptrdiff_t)(first + *shift + row % T) * C : nullptr;
	for (int j = (int)threadIdx.x; j < C; j += THREADS) {
		const float x = number_at(&table, 0, tokens[row], tokens[row] + 1, j);
		out[row * C + j] = at ? x + at[j] : x;
	}
}

void cuda_embed_stored(const struct exec *exec, real *out, const struct stored *table, const real *position,
        const int *tokens, int B, int T, int C, int first)
{
	if (B * T < 1)
		return;
	const struct arena_mark mark = arena_mark(exec->scratch);
	const int *to_tokens = cuda_tokens(exec, tokens, B * T);
	LAUNCH(embed, B * T, THREADS, 0, cuda.stream, out, *table, position, to_tokens, T, C, first, cuda.shift);
	cuda_launched("embed");
	arena_rewind(exec->scratch, mark);
}

void cuda_embed(const struct exec *exec, real *out, const real *table, const real *position, const int *tokens, int B,
        int T, int C, int first)
{
	struct stored rows = {};
	rows.dtype = DTYPE_F32;
	rows.at = (const unsigned char *)table;
	rows.row_bytes = C * (ptrdiff_t)sizeof(real);
	rows.columns = C;
	cuda_embed_stored(exec, out, &rows, position, tokens, B, T, C, first);
}

// --- writing ------------------------------------------------------------------------------------------------------

// Whole numbers nearest to (x - origin) / scale; 0 where the scale is so small that it reads as 0.
static __device__ int round_number(float x, float origin, float scale, float least, float most)
{
	return scale == 0 ? 0 : (int)fminf(fmaxf(rintf((x - origin) / scale), least), most);
}

static __device__ void write_half(unsigned char *to, unsigned half)
{
	to[0] = (unsigned char)half;
	to[1] = (unsigned char)(half >> 8);
}

// The bits of a float as a number in the order of the floats, and back.
static __device__ int ordered(int bits)
{
	return bits ^ (bits >> 31 & 0x7fffffff);
}

// One block of n numbers by one warp: lane i has number i, lanes from n on have number 0.
static __device__ void write_block(int dtype, unsigned char *to, float x, int n)
{
	const int lane = (int)threadIdx.x % 32, is_mine = lane < n;
	if (dtype == DTYPE_F32) {
		if (is_mine)
			((float *)to)[lane] = x;
	} else if (dtype == DTYPE_F16) {
		if (is_mine)
			((__half *)to)[lane] = __float2half_rn(x);
	} else if (dtype == DTYPE_BF16) {
		if (is_mine)
			((__nv_bfloat16 *)to)[lane] = __float2bfloat16_rn(x);
	} else if (dtype == DTYPE_Q8) {
		const unsigned largest = over_warp<most_of>(__float_as_uint(x) & 0x7fffffffU); // NaN above infinity
		const __half scale = __float2half_rn(__uint_as_float(largest) / 127);
		const int is_bad = __half_as_ushort(scale) >= HALF_INFINITY;
		if (is_mine)
			to[2 + lane] = is_bad ? 0 : (unsigned char)round_number(x, 0, __half2float(scale), -127, 127);
		if (lane == 0)
			write_half(to, is_bad ? (unsigned)HALF_NAN : __half_as_ushort(scale));
	} else {
		const int place = ordered(__float_as_int(x)), n_byte = (n + 1) / 2;
		const float least = __int_as_float(ordered(over_warp<least_of>(place)));
		const float most = __int_as_float(ordered(over_warp<most_of>(place)));
		const __half scale = __float2half_rn((most - least) / 15), origin = __float2half_rn(least);
		const int is_bad = __half_as_ushort(scale) >= HALF_INFINITY ||
		                   (__half_as_ushort(origin) & 0x7fff) >= HALF_INFINITY;
		const int q = is_bad ? 0 : round_number(x, __half2float(origin), __half2float(scale), 0, 15);
		const int upper = __shfl_sync(0xffffffffU, q, (lane + n_byte) % 32);
		if (lane < n_byte)
			to[4 + lane] = (unsigned char)(lane + n_byte < n ? q | upper << 4 : q);
		if (lane == 0) {
			write_half(to, is_bad ? (unsigned)HALF_NAN : __half_as_ushort(scale));
			write_half(to + 2, is_bad ? 0U : __half_as_ushort(origin));
		}
	}
}

static __device__ int block_bytes(int dtype)
{
	return dtype == DTYPE_F32  ? 4 * N
	       : dtype == DTYPE_Q8 ? (int)Q8_BLOCK_BYTES
	       : dtype == DTYPE_Q4 ? (int)Q4_BLOCK_BYTES
	                           : 2 * N;
}

// A block of 32 numbers of a row a warp. grid: (rows of a sequence * blocks / warps, B)
static __global__ void __launch_bounds__(THREADS)
        store_rows(const struct stored to, struct strided x, int T, int first, const int *shift)
{
	const int n_block = (to.columns + N - 1) / N, at = (int)(blockIdx.x * WARPS + threadIdx.x / 32);
	const int t = at / n_block, from = at % n_block * N, b = (int)blockIdx.y;
	if (t >= T)
		return;
	const int n = min((int)N, to.columns - from), lane = (int)threadIdx.x % 32;
	const float *row = x.x + b * x.b_stride + t * x.t_stride + from;
	unsigned char *out = (unsigned char *)to.at + b * to.b_bytes + (first + *shift + t) * to.row_bytes;
	write_block(to.dtype, out + (ptrdiff_t)(from / N) * block_bytes(to.dtype), row[lane < n ? lane : 0], n);
}

// Scales per channel: a channel of a unit that is full now a warp; its positions before the new ones are in the tail.
// grid: (units that T rows can fill * channels / warps, B)
static __global__ void __launch_bounds__(THREADS)
        store_units(const struct stored to, struct strided x, int T, int first, const int *shift)
{
	const int begin = first + *shift, at = (int)(blockIdx.x * WARPS + threadIdx.x / 32), b = (int)blockIdx.y;
	const int unit = begin / N + at / to.columns, c = at % to.columns, lane = (int)threadIdx.x % 32;
	const int position = unit * N + lane;
	if ((unit + 1) * N > begin + T)
		return;
	const float number = position < begin ? to.tail[((ptrdiff_t)b * N + lane) * to.columns + c]
	                                      : x.x[b * x.b_stride + (position - begin) * x.t_stride + c];
	write_block(to.dtype, (unsigned char *)to.at + b * to.b_bytes + unit * to.row_bytes + c * to.channel_bytes,
	        number, N);
}

// After it: the newest row of each place of the tail. grid: (rows, at most 32, B)
static __global__ void __launch_bounds__(THREADS)
        store_tail(const struct stored to, struct strided x, int T, int first, const int *shift)
{
	const int t = T - 1 - (int)blockIdx.x, b = (int)blockIdx.y, place = (first + *shift + t) % N;
	float *row = (float *)to.tail + ((ptrdiff_t)b * N + place) * to.columns;
	for (int j = (int)threadIdx.x; j < to.columns; j += THREADS)
		row[j] = x.x[b * x.b_stride + t * x.t_stride + j];
}

void cuda_store_rows(const struct exec *, const struct stored *to, struct strided x, int B, int T, int first)
{
	if (B < 1 || T < 1)
		return;
	const int n_block = (to->columns + N - 1) / N;
	if (!to->tail) {
		LAUNCH(store_rows, dim3((unsigned)cuda_blocks((long)T * n_block, WARPS), (unsigned)B), THREADS, 0,
		        cuda.stream, *to, x, T, first, cuda.shift);
		cuda_launched("store_rows");
		return;
	}
	// However the shift falls: one more than whole units in T.
	LAUNCH(store_units, dim3((unsigned)cuda_blocks((T / N + 1L) * to->columns, WARPS), (unsigned)B), THREADS, 0,
	        cuda.stream, *to, x, T, first, cuda.shift);
	LAUNCH(store_tail, dim3((unsigned)(T < N ? T : N), (unsigned)B), THREADS, 0, cuda.stream, *to, x, T, first,
	        cuda.shift);
	cuda_launched("store_rows by channel");
}
