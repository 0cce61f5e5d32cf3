// SPDX-License-Identifier: MIT
#include "harness/num/cpu/cpu.h"

// Rows of a product up to which weights are read faster as they lie than copied or packed.
enum { FEW_ROWS = 32 };

// Slots that both tables share.
#define SLOTS                                                                                                          \
	.upload = cpu_copy_bytes, .download = cpu_copy_bytes, .move = cpu_copy_bytes, .clear = cpu_clear,              \
	.few_rows = FEW_ROWS, .library = cpu_library, .embed_stored = cpu_embed_stored, .store_rows = cpu_store_rows,  \
	.read_rows = cpu_read_rows, .map_gain = cpu_map_gain, .map_bias = cpu_map_bias,                                \
	.map_bias_backward = cpu_map_bias_backward, .gemm = cpu_gemm, .column_sum = cpu_column_sum,                    \
	.embed = cpu_embed, .embed_backward = cpu_embed_backward, .norm = cpu_norm,                                    \
	.norm_backward = cpu_norm_backward, .unary = cpu_unary, .unary_backward = cpu_unary_backward,                  \
	.swiglu = cpu_swiglu, .swiglu_backward = cpu_swiglu_backward, .add = cpu_add, .copy = cpu_copy,                \
	.dropout = cpu_dropout, .copy_columns = cpu_copy_columns, .scale_heads = cpu_scale_heads,                      \
	.dot_heads = cpu_dot_heads, .rope = cpu_rope, .attention = cpu_attention,                                      \
	.attention_backward = cpu_attention_backward, .cross_entropy = cpu_cross_entropy,                              \
	.sum_squares = cpu_sum_squares, .adam = cpu_adam

// In the double flavour nothing decodes: attention and products go by the slots above.
#ifdef KVLAB_DOUBLE
#define STORED(kernels)
#else
#define STORED(kernels) .attention_stored = cpu_attention_stored##kernels, .linear_stored = cpu_linear_stored##kernels
#endif

const struct backend backend_cpu = {.name = "cpu", SLOTS, STORED()};
const struct backend backend_cpu_portable = {.name = "cpu, portable", SLOTS, STORED(_portable)};
