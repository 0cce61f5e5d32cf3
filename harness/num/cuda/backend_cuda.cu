// SPDX-License-Identifier: MIT
// The table of slots, twice: in f32 throughout, and with products and attention on tensor cores. What is NULL is not
// there, and a run that needs it is refused before it starts.
#include <limits.h>

#include "harness/num/cuda/cuda.cuh"

// In the order of struct backend, which C++ asks for.
#define SLOTS(exactness)                                                                                               \
	.memory = &cuda_memory, .upload = cuda_upload, .download = cuda_download, .move = cuda_move,                   \
	.clear = cuda_clear, .graph = &cuda_graph_slots, .few_rows = INT_MAX, .library = cuda_library,                 \
	.gemm = cuda_gemm_##exactness, .column_sum = cuda_column_sum, .embed = cuda_embed,                             \
	.embed_stored = cuda_embed_stored, .embed_backward = cuda_embed_backward, .norm = cuda_norm,                   \
	.norm_backward = cuda_norm_backward, .unary = cuda_unary, .unary_backward = cuda_unary_backward,               \
	.swiglu = cuda_swiglu, .swiglu_backward = cuda_swiglu_backward, .add = cuda_add, .copy = cuda_copy,            \
	.dropout = cuda_dropout, .copy_columns = cuda_copy_columns, .scale_heads = cuda_scale_heads,                   \
	.dot_heads = cuda_dot_heads, .rope = cuda_rope, .attention = cuda_attention_##exactness,                       \
	.attention_backward = cuda_attention_backward_##exactness,                                                     \
	.attention_stored = cuda_attention_stored_##exactness, .linear_stored = cuda_linear_stored_##exactness,        \
	.store_rows = cuda_store_rows, .read_rows = cuda_read_rows, .map_gain = cuda_map_gain,                         \
	.map_bias = cuda_map_bias, .map_bias_backward = cuda_map_bias_backward, .cross_entropy = cuda_cross_entropy,   \
	.sum_squares = cuda_sum_squares, .adam = cuda_adam, .probe_product = cuda_probe_product

static struct backend backend_exact = {.name = "cuda, exact", SLOTS(exact)};
static struct backend backend_rounded = {.name = "cuda", SLOTS(rounded)};

// What the program looks up in the plugin. NULL, with the cause, where there is no device.
extern "C" __attribute__((visibility("default"))) const struct backend *kvlab_cuda_open(int is_exact, struct err *err)
{
	const struct rank_slots *ranks;
	if (cuda_ranks_start(&ranks, err) || cuda_start(err))
		return NULL;
	backend_exact.ranks = backend_rounded.ranks = ranks;
	return is_exact ? &backend_exact : &backend_rounded;
}
