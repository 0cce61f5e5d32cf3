// SPDX-License-Identifier: MIT
// What the decode benches share: shapes in words, and the bandwidth that a sample is held against.
#ifndef KVLAB_BENCH_DECODE_H
#define KVLAB_BENCH_DECODE_H
#include "harness/bench/bench.h"
#include "harness/registry.h"
#include "harness/run/engine.h"
#ifdef __cplusplus
extern "C" {
#endif

// A family or preset, and settings as a spec would spell them.
struct decode_shape {
	const char *family, *variant, *options, *model_options;
};
// Configs of n_layer layers (0: all) with room for n_ctx positions, memory from arena; NULL, with the sentence, when
// something refuses.
const struct variant *decode_shape_resolve(const struct decode_shape *shape, int n_layer, int n_ctx,
        struct model_config **model, void **variant_config, struct arena *arena, struct err *err);

struct decode_yardstick {
	const real *x;
	long n;
	int n_thread;
};
void decode_yardstick_init(struct decode_yardstick *yardstick, int n_thread, struct arena *arena);
// Bytes a second that n_thread threads read just now, from memory that no cache holds.
double decode_bandwidth(void *yardstick);

// The attention of a decode step alone, variant by variant.
int bench_decode_attention(struct bench *bench, struct decode_yardstick *yardstick, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
