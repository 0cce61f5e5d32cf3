// SPDX-License-Identifier: MIT
#include "harness/num/stored.h"

enum { N = DTYPE_BLOCK };

double stored_row_bytes(const struct stored *s)
{
	return s->tail || s->channel_bytes ? (double)s->row_bytes / N : (double)dtype_row_bytes(s->dtype, s->columns);
}

int stored_is_whole(const struct stored *s, int from, int d)
{
	return (s->dtype != DTYPE_Q8 && s->dtype != DTYPE_Q4) || ((s->from + from) % N == 0 && d % N == 0);
}
