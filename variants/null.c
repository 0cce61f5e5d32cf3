// SPDX-License-Identifier: MIT
// No attention at all: positions do not meet. It measures the harness itself: what a run costs without the part under
// study, and what accuracy a task gives away without looking back.
//   out = x
// Cached per token and layer: nothing. No parameters, no options; rotary positions have nothing to turn.
// Source: none; every benchmark needs its zero.
#include "variants/variant.h"

static int params(const struct attn_dims *d, const void *config, struct param_shape *table)
{
	(void)d, (void)config, (void)table;
	return 0;
}

static int streams(const struct attn_dims *d, const void *config, struct stream_shape *table)
{
	(void)d, (void)config, (void)table;
	return 0;
}

static struct tensor *forward(struct attn *a)
{
	return a->x_q;
}

const struct variant variant_null = {
        .name = "null",
        .summary = "no attention, nothing cached: measures the harness itself",
        .version = 1,
        .options = (const struct option[]){{NULL}},
        .params = params,
        .streams = streams,
        .forward = forward,
};
