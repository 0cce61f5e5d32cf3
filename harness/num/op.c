// SPDX-License-Identifier: MIT
#include "harness/num/op.h"

#include <string.h>

int op_gradient_take(struct tensor *t)
{
	int live = t->is_live;
	t->is_live = 1;
	return live;
}

void op_gradient_clear(struct tensor *t)
{
	for (int b = 0; b < t->B; b++)
		for (int i = 0; i < t->T; i++)
			memset(t->dx + b * t->b_stride + i * t->t_stride, 0, (size_t)t->C * sizeof(real));
}

void *op_record(struct tape *tape, const struct tensor *out, void (*backward)(struct tape *, void *), size_t bytes)
{
	return out->dx ? tape_record(tape, backward, bytes) : NULL;
}

struct exec op_exec(const struct tape *tape)
{
	return (struct exec){tape->n_thread, tape->scratch};
}
