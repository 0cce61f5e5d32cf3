// SPDX-License-Identifier: MIT
// Between the files of convert*.c.
#ifndef KVLAB_MODEL_CONVERT_HEADS_H
#define KVLAB_MODEL_CONVERT_HEADS_H
#include "harness/model/convert.h"
#ifdef __cplusplus
extern "C" {
#endif

// Brings a layer to dims, which has a divisor of its key and value heads: each group of them becomes its mean.
void convert_pool_heads(struct attn_source *source, const struct attn_dims *dims, const struct attn_conversion *how);
// Layer `layer` of m; memory of all of it from arena.
struct attn_source convert_source(
        const struct model *m, int layer, const struct calibration *calibration, struct arena *arena);
// 0, or -1 with the sentence why ranks cannot be shared out so.
int convert_check_ranks(const struct model_config *config, const struct model_conversion *c, struct err *err);
// The setting with a rank for each layer, as how.ranks says; NULL with the sentence why not.
void *convert_share_ranks(const struct model *in, const struct model_config *config, const struct model_conversion *c,
        struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
