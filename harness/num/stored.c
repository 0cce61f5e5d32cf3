// SPDX-License-Identifier: MIT
#include "harness/num/stored.h"

#include <string.h>

enum { N = DTYPE_BLOCK };

double stored_row_bytes(const struct stored *s)
{
	return s->tail || s->channel_bytes ? (double)s->row_bytes / N : (double)dtype_row_bytes(s->dtype, s->columns);
}

static void read_unit(
        const struct stored *s, real *x, ptrdiff_t ldx, const unsigned char *unit, int t0, int n, int from, int d)
{
	for (int c = 0; c < d; c++) {
		real channel[N];
		dtype_read(s->dtype, channel, unit + (from + c) * s->channel_bytes, N);
		for (int t = 0; t < n; t++)
			x[t * ldx + c] = channel[t0 + t];
	}
}

void stored_read(const struct stored *s, real *x, ptrdiff_t ldx, int b, int position, int n, int S, int from, int d)
{
	const unsigned char *sequence = s->at + b * s->b_bytes;
	from += s->from;
	if (s->tail && position / N * N + N <= S) {
		read_unit(s, x, ldx, sequence + position / N * s->row_bytes, position % N, n, from, d);
		return;
	}
	for (int t = 0; t < n; t++) {
		if (s->tail)
			memcpy(x + t * ldx, s->tail + ((ptrdiff_t)b * N + (position + t) % N) * s->columns + from,
			        (size_t)d * sizeof(*x));
		else
			dtype_read_columns(
			        s->dtype, x + t * ldx, sequence + (position + t) * s->row_bytes, s->columns, from, d);
	}
}

int stored_is_whole(const struct stored *s, int from, int d)
{
	return (s->dtype != DTYPE_Q8 && s->dtype != DTYPE_Q4) || ((s->from + from) % N == 0 && d % N == 0);
}
