// SPDX-License-Identifier: MIT
// Between the files of convert*.c.
#ifndef KVLAB_MODEL_CONVERT_HEADS_H
#define KVLAB_MODEL_CONVERT_HEADS_H
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

// Brings a layer to dims, which has a divisor of its key and value heads: each group of them becomes its mean.
void convert_pool_heads(struct attn_source *source, const struct attn_dims *dims, const struct attn_conversion *how);

#ifdef __cplusplus
}
#endif
#endif
