// SPDX-License-Identifier: MIT
// How numbers are kept in a cache: types, their bytes, and rows of reals written to and read from them.
//
// Quantised types go by blocks of DTYPE_BLOCK numbers, the last one shorter when the row does not divide:
//   q8   f16 scale, then a signed byte a number:        x = scale * n,          n in -127..127, scale = max|x| / 127
//   q4   f16 scale, f16 least, then 4 bits a number:    x = least + scale * n,  n in 0..15, scale = (most - least) / 15
// (the layouts of llama.cpp's q8_0 and q4_1: two numbers of a q4 byte lie half a block apart, the first in its low
// bits). Numbers are rounded against the scales as stored. A block is consecutive numbers of one token's row, or, in a
// stream with scales per channel, one channel over consecutive tokens (KIVI; harness/model/cache.h).
#ifndef KVLAB_NUM_DTYPE_H
#define KVLAB_NUM_DTYPE_H
#include <stddef.h>

#include "harness/num/real.h"
#ifdef __cplusplus
extern "C" {
#endif

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8, DTYPE_Q4, N_DTYPE };
enum { DTYPE_BLOCK = 32 };
#define DTYPE_CHOICES "f32|f16|bf16|q8|q4"

extern const char *const dtype_name[N_DTYPE];
// Bytes of a row of n numbers, with its scales. (f32 means `real`: 8 bytes in the double flavour.)
size_t dtype_row_bytes(enum dtype dtype, int n);
// Rounds to nearest, ties to even; beyond the type's range: infinity in f16 and bf16. A block that holds a number that
// is not finite, or whose scales f16 cannot hold (beyond 8e6 in q8, 65504 in q4), reads back as NaN throughout. Rows
// may lie at any address.
void dtype_write(enum dtype dtype, void *row, const real *x, int n);
void dtype_read(enum dtype dtype, real *x, const void *row, int n);
// Numbers from..from+count-1 alone of a row of n.
void dtype_read_columns(enum dtype dtype, real *x, const void *row, int n, int from, int count);

#ifdef __cplusplus
}
#endif
#endif
