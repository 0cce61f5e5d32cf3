// SPDX-License-Identifier: MIT
// The text of both sets of row kernels (rows.h): rows_avx2.c and rows_portable.c say how eight numbers of each type
// become a vector (block_scale, block_load, load_part) and include this. Every function is compiled for a constant
// type and constant numbers of vectors and rows, so that eight sums stay in registers.
#ifndef KVLAB_NUM_CPU_ROWS_TEMPLATE_H
#define KVLAB_NUM_CPU_ROWS_TEMPLATE_H

enum {
	BLOCK = DTYPE_BLOCK,
	VECTORS = DTYPE_BLOCK / VEC,
	SUMS = 8, // chains of multiply-adds that run side by side: more of them take the registers of operands
	LINE = 64,
	PIECE = 8,   // blocks of four and more vectors that stay in L1 while rows are multiplied with them,
	AT_ONCE = 8, // so many rows
	MANY = 32,   // and so many vectors
};
static const struct scale no_scale;
#define UNROLL _Pragma("GCC unroll 16")
#define ALWAYS_INLINE __attribute__((always_inline)) static inline

static const int block_bytes[N_DTYPE] = {[DTYPE_F32] = 4 * BLOCK,
        [DTYPE_F16] = 2 * BLOCK,
        [DTYPE_BF16] = 2 * BLOCK,
        [DTYPE_Q8] = 2 + BLOCK,
        [DTYPE_Q4] = 4 + BLOCK / 2};

ALWAYS_INLINE void fetch(const unsigned char *block, ptrdiff_t ahead, const enum dtype type)
{
	for (int at = 0; at < block_bytes[type]; at += LINE)
		__builtin_prefetch(block + ahead + at, 0, 2);
}

// Sum of the lanes of each of eight vectors, all by the same tree.
ALWAYS_INLINE vec sums_of(const vec v[VEC])
{
	const vec_mask even = {0, 2, 8, 10, 4, 6, 12, 14}, odd = {1, 3, 9, 11, 5, 7, 13, 15};
	const vec_mask low = {0, 1, 2, 3, 8, 9, 10, 11}, high = {4, 5, 6, 7, 12, 13, 14, 15};
	vec pair[4], four[2];
	UNROLL
	for (int i = 0; i < 4; i++)
		pair[i] = __builtin_shuffle(v[2 * i], v[2 * i + 1], even) +
		          __builtin_shuffle(v[2 * i], v[2 * i + 1], odd);
	UNROLL
	for (int i = 0; i < 2; i++)
		four[i] = __builtin_shuffle(pair[2 * i], pair[2 * i + 1], even) +
		          __builtin_shuffle(pair[2 * i], pair[2 * i + 1], odd);
	return __builtin_shuffle(four[0], four[1], low) + __builtin_shuffle(four[0], four[1], high);
}

// Blocks c0..c1-1 of m vectors times r rows (m * r is at most SUMS), added to to[i * r + j].
ALWAYS_INLINE void dot_blocks(vec to[SUMS], const real *x, ptrdiff_t ldx, const unsigned char *at,
        const struct rows *rows, int c0, int c1, const enum dtype type, const int m, const int r)
{
	vec sum[SUMS]; // in registers
	UNROLL
	for (int i = 0; i < m * r; i++)
		sum[i] = to[i];
	for (int c = c0; c < c1; c++) {
		const unsigned char *block[SUMS];
		struct scale scale[SUMS];
		UNROLL
		for (int j = 0; j < r; j++) {
			block[j] = at + j * rows->row_bytes + (ptrdiff_t)c * block_bytes[type];
			if (rows->ahead)
				fetch(block[j], rows->ahead, type);
			scale[j] = block_scale(block[j], type);
			UNROLL
			for (int v = 0; v < VECTORS && m <= 2; v++) {
				const vec w = block_load(block[j], v, scale[j], type);
				UNROLL
				for (int i = 0; i < m; i++)
					sum[i * r + j] += vec_load(x + i * ldx + c * BLOCK + v * VEC) * w;
			}
		}
		UNROLL
		for (int v = 0; v < VECTORS && m > 2; v++) {
			vec w[SUMS];
			UNROLL
			for (int j = 0; j < r; j++)
				w[j] = block_load(block[j], v, scale[j], type);
			UNROLL
			for (int i = 0; i < m; i++) {
				const vec xi = r == 2 ? once(vec_load(x + i * ldx + c * BLOCK + v * VEC))
				                      : vec_load(x + i * ldx + c * BLOCK + v * VEC);
				UNROLL
				for (int j = 0; j < r; j++)
					sum[i * r + j] += xi * w[j];
			}
		}
	}
	UNROLL
	for (int i = 0; i < m * r; i++)
		to[i] = sum[i];
}

// Numbers p..p+7 of a row, of which n are there; zeros for the rest. Types without scales.
ALWAYS_INLINE vec load_at(const unsigned char *row, int p, int n, const enum dtype type)
{
	if (n < VEC)
		return load_part(row, p, n, type);
	return block_load(row + (ptrdiff_t)p * (block_bytes[type] / BLOCK), 0, no_scale, type);
}

ALWAYS_INLINE vec vector_at(const real *x, int n)
{
	return n < VEC ? vec_load_first(x, n) : vec_load(x);
}

// Numbers past the last whole block, and the sums of the lanes.
ALWAYS_INLINE void dot_end(real *out, ptrdiff_t ldo, vec sum[SUMS], const real *x, ptrdiff_t ldx,
        const unsigned char *at, const struct rows *rows, const enum dtype type, const int m, const int r)
{
	for (int p = rows->d / BLOCK * BLOCK; p < rows->d; p += VEC) {
		const int n = rows->d - p;
		UNROLL
		for (int i = 0; i < m; i++) {
			const vec xi = vector_at(x + i * ldx + p, n);
			UNROLL
			for (int j = 0; j < r; j++)
				sum[i * r + j] += xi * load_at(at + j * rows->row_bytes, p, n, type);
		}
	}
	real total[SUMS];
	UNROLL
	for (int i = 0; i < m * r; i += VEC)
		vec_store(total + i, sums_of(sum + i));
	UNROLL
	for (int i = 0; i < m; i++)
		memcpy(out + i * ldo, total + i * r, (size_t)r * sizeof(real));
}

ALWAYS_INLINE void dot_tile(real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, const unsigned char *at,
        const struct rows *rows, const enum dtype type, const int m, const int r)
{
	vec sum[SUMS] = {{0}};
	dot_blocks(sum, x, ldx, at, rows, 0, rows->d / BLOCK, type, m, r);
	dot_end(out, ldo, sum, x, ldx, at, rows, type, m, r);
}

// m vectors and all rows, r at a time.
ALWAYS_INLINE void dot_few(real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, const struct rows *rows,
        const enum dtype type, const int m, const int r)
{
	int j = 0;
	for (; j + r <= rows->n; j += r)
		dot_tile(out + j, ldo, x, ldx, rows->at + j * rows->row_bytes, rows, type, m, r);
	for (; j < rows->n; j++)
		dot_tile(out + j, ldo, x, ldx, rows->at + j * rows->row_bytes, rows, type, m, 1);
}

// Fours of vectors (m of them in all) and AT_ONCE rows: a piece of the vectors stays in L1 while all rows are
// multiplied with it.
ALWAYS_INLINE void dot_many(real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, const unsigned char *at,
        const struct rows *rows, const enum dtype type)
{
	vec sum[MANY / 4][AT_ONCE / 2][SUMS];
	memset(sum, 0, (size_t)(m / 4) * sizeof(*sum));
	const int n_block = rows->d / BLOCK;
	for (int c = 0; c < n_block; c += PIECE) {
		const int end = c + PIECE < n_block ? c + PIECE : n_block;
		for (int i = 0; i < m / 4; i++)
			for (int j = 0; j < AT_ONCE / 2; j++)
				dot_blocks(sum[i][j], x + 4 * i * ldx, ldx, at + 2 * j * rows->row_bytes, rows, c, end,
				        type, 4, 2);
	}
	for (int i = 0; i < m / 4; i++)
		for (int j = 0; j < AT_ONCE / 2; j++)
			dot_end(out + 4 * i * ldo + 2 * j, ldo, sum[i][j], x + 4 * i * ldx, ldx,
			        at + 2 * j * rows->row_bytes, rows, type, 4, 2);
}

ALWAYS_INLINE void dot(
        real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, const struct rows *rows, const enum dtype type)
{
	for (; m >= 4 && rows->d <= PIECE * BLOCK; m -= 4, out += 4 * ldo, x += 4 * ldx)
		dot_few(out, ldo, x, ldx, rows, type, 4, 2);
	for (; m >= 4; m -= 4) {
		const int many = m < MANY ? m / 4 * 4 : MANY;
		struct rows rest = *rows;
		for (; rest.n >= AT_ONCE; rest.n -= AT_ONCE, rest.at += AT_ONCE * rest.row_bytes)
			dot_many(out + rows->n - rest.n, ldo, x, ldx, many, rest.at, rows, type);
		for (int i = 0; i < many && rest.n; i += 4)
			dot_few(out + i * ldo + rows->n - rest.n, ldo, x + i * ldx, ldx, &rest, type, 4, 2);
		out += many * ldo, x += many * ldx, m -= many - 4;
	}
	if (m >= 2) {
		dot_few(out, ldo, x, ldx, rows, type, 2, 4);
		out += 2 * ldo, x += 2 * ldx, m -= 2;
	}
	if (m)
		dot_few(out, ldo, x, ldx, rows, type, 1, 8);
}

// m vectors of weights; nv vectors of columns from block c on, m * nv at most 8.
ALWAYS_INLINE void sum_tile(real *out, ptrdiff_t ldo, const real *w, ptrdiff_t ldw, const struct rows *rows, int c,
        const enum dtype type, const int m, const int nv)
{
	vec sum[SUMS];
	UNROLL
	for (int i = 0; i < m; i++)
		UNROLL
	for (int v = 0; v < nv; v++)
		sum[i * nv + v] = vec_load(out + i * ldo + c * BLOCK + v * VEC);
	const unsigned char *block = rows->at + (ptrdiff_t)c * block_bytes[type];
	for (int j = 0; j < rows->n; j++, block += rows->row_bytes)
		UNROLL
	for (int b = 0; b < nv / VECTORS; b++) {
		const unsigned char *at = block + (ptrdiff_t)b * block_bytes[type];
		const struct scale scale = block_scale(at, type);
		if (rows->ahead)
			fetch(at, rows->ahead, type);
		UNROLL
		for (int v = 0; v < VECTORS; v++) {
			const vec x = block_load(at, v, scale, type);
			UNROLL
			for (int i = 0; i < m; i++)
				sum[i * nv + b * VECTORS + v] += vec_set(w[i * ldw + j]) * x;
		}
	}
	UNROLL
	for (int i = 0; i < m; i++)
		UNROLL
	for (int v = 0; v < nv; v++)
		vec_store(out + i * ldo + c * BLOCK + v * VEC, sum[i * nv + v]);
}

// Numbers past the last whole block.
ALWAYS_INLINE void sum_rest(real *out, const real *w, const struct rows *rows, const enum dtype type)
{
	for (int p = rows->d / BLOCK * BLOCK; p < rows->d; p += VEC) {
		const int n = rows->d - p;
		vec sum = vector_at(out + p, n);
		for (int j = 0; j < rows->n; j++)
			sum += vec_set(w[j]) * load_at(rows->at + j * rows->row_bytes, p, n, type);
		if (n < VEC)
			vec_store_first(out + p, sum, n);
		else
			vec_store(out + p, sum);
	}
}

ALWAYS_INLINE void sum(
        real *out, ptrdiff_t ldo, const real *w, ptrdiff_t ldw, int m, const struct rows *rows, const enum dtype type)
{
	const int n_block = rows->d / BLOCK;
	int i = 0;
	for (; i + 2 <= m; i += 2)
		for (int c = 0; c < n_block; c++)
			sum_tile(out + i * ldo, ldo, w + i * ldw, ldw, rows, c, type, 2, VECTORS);
	if (i < m) {
		int c = 0;
		for (; c + 2 <= n_block; c += 2)
			sum_tile(out + i * ldo, ldo, w + i * ldw, ldw, rows, c, type, 1, 2 * VECTORS);
		if (c < n_block)
			sum_tile(out + i * ldo, ldo, w + i * ldw, ldw, rows, c, type, 1, VECTORS);
	}
	for (i = 0; i < m && n_block * BLOCK < rows->d; i++)
		sum_rest(out + i * ldo, w + i * ldw, rows, type);
}

ALWAYS_INLINE void copy(real *out, ptrdiff_t ldo, const struct rows *rows, const enum dtype type)
{
	for (int j = 0; j < rows->n; j++) {
		const unsigned char *row = rows->at + j * rows->row_bytes;
		int p = 0;
		for (; p + BLOCK <= rows->d; p += BLOCK) {
			const unsigned char *block = row + (ptrdiff_t)(p / BLOCK) * block_bytes[type];
			const struct scale scale = block_scale(block, type);
			if (rows->ahead)
				fetch(block, rows->ahead, type);
			UNROLL
			for (int v = 0; v < VECTORS; v++)
				vec_store(out + j * ldo + p + v * VEC, block_load(block, v, scale, type));
		}
		for (; p < rows->d; p += VEC) {
			const vec x = load_at(row, p, rows->d - p, type);
			if (rows->d - p < VEC)
				vec_store_first(out + j * ldo + p, x, rows->d - p);
			else
				vec_store(out + j * ldo + p, x);
		}
	}
}

#define ROW_KERNELS(name, type)                                                                                        \
	static void dot_##name(real *out, ptrdiff_t ldo, const real *x, ptrdiff_t ldx, int m, const struct rows *rows) \
	{                                                                                                              \
		dot(out, ldo, x, ldx, m, rows, type);                                                                  \
	}                                                                                                              \
	static void sum_##name(real *out, ptrdiff_t ldo, const real *w, ptrdiff_t ldw, int m, const struct rows *rows) \
	{                                                                                                              \
		sum(out, ldo, w, ldw, m, rows, type);                                                                  \
	}                                                                                                              \
	static void copy_##name(real *out, ptrdiff_t ldo, const struct rows *rows)                                     \
	{                                                                                                              \
		copy(out, ldo, rows, type);                                                                            \
	}
ROW_KERNELS(f32, DTYPE_F32)
ROW_KERNELS(f16, DTYPE_F16)
ROW_KERNELS(bf16, DTYPE_BF16)
ROW_KERNELS(q8, DTYPE_Q8)
ROW_KERNELS(q4, DTYPE_Q4)
#undef ROW_KERNELS

#define ROW_KERNELS_TABLE                                                                                              \
	.dot = {[DTYPE_F32] = dot_f32,                                                                                 \
	        [DTYPE_F16] = dot_f16,                                                                                 \
	        [DTYPE_BF16] = dot_bf16,                                                                               \
	        [DTYPE_Q8] = dot_q8,                                                                                   \
	        [DTYPE_Q4] = dot_q4},                                                                                  \
	.sum = {[DTYPE_F32] = sum_f32,                                                                                 \
	        [DTYPE_F16] = sum_f16,                                                                                 \
	        [DTYPE_BF16] = sum_bf16,                                                                               \
	        [DTYPE_Q8] = sum_q8,                                                                                   \
	        [DTYPE_Q4] = sum_q4},                                                                                  \
	.copy = {[DTYPE_F32] = copy_f32,                                                                               \
	        [DTYPE_F16] = copy_f16,                                                                                \
	        [DTYPE_BF16] = copy_bf16,                                                                              \
	        [DTYPE_Q8] = copy_q8,                                                                                  \
	        [DTYPE_Q4] = copy_q4}

#endif
