// SPDX-License-Identifier: MIT
// Rows that lie in memory in another type than `real`: cached streams, quantised weights. A tensor of such rows has
// `stored` set and no values of its own (x is NULL); ops either compute on the rows as they lie (op_attention,
// op_linear, op_linear_heads), or take a copy in reals first (op_reals).
#ifndef KVLAB_NUM_STORED_H
#define KVLAB_NUM_STORED_H
#include "harness/num/backend.h"
#include "harness/num/dtype.h"
#ifdef __cplusplus
extern "C" {
#endif

struct stored {
	enum dtype dtype;
	const unsigned char *at; // row 0 of sequence 0; NULL when counting
	ptrdiff_t b_bytes,
	        row_bytes;  // to the next sequence, to the next row (by channel: to the next DTYPE_BLOCK rows)
	int columns;        // numbers of a row as it was written
	int from;           // which of them is the tensor's first
	const void *origin; // views of the same rows have the same one
	// Scales per channel (model/cache.h): DTYPE_BLOCK rows are one unit, channel after channel, and rows of the
	// unit that is not yet full are reals in tail (B, DTYPE_BLOCK, columns). NULL: scales per row.
	const real *tail;
	ptrdiff_t channel_bytes;
	const struct rope *turn; // rows are to be turned by their positions when read; NULL: they are what they say
};

// Bytes of one row, whole.
double stored_row_bytes(const struct stored *s);
// 1 when kernels may begin at number `from` and take d numbers: blocks with a scale are not cut.
int stored_is_whole(const struct stored *s, int from, int d);

#ifdef __cplusplus
}
#endif
#endif
