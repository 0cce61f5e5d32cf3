// SPDX-License-Identifier: MIT
// The shape of a transformer: one struct, one option table; families are rows of defaults over it.
#ifndef KVLAB_MODEL_CONFIG_H
#define KVLAB_MODEL_CONFIG_H
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

enum norm_kind { NORM_LAYER, NORM_RMS };
enum norm_place { NORM_PRE, NORM_POST };
enum activation { ACT_GELU, ACT_RELU, ACT_SWIGLU, ACT_GELU_NEW };
enum position_kind { POSITION_NONE, POSITION_LEARNED, POSITION_SINUSOIDAL, POSITION_ROPE };
enum residual { RESIDUAL_SEQUENTIAL, RESIDUAL_PARALLEL };
enum attention_bias { ATTENTION_BIAS_FOLLOW, ATTENTION_BIAS_NONE, ATTENTION_BIAS_QKV, ATTENTION_BIAS_ALL };
enum rope_pairs { ROPE_PAIRS_HALVES, ROPE_PAIRS_NEIGHBOURS };
enum init_kind {
	INIT_KIND_TORCH,  // weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)), embeddings N(0, 1): library default
	INIT_KIND_NORMAL, // weights and embeddings N(0, init_std), biases 0
	INIT_KIND_XAVIER, // weights U(-a, a), a = sqrt(6 / (fan_in + fan_out)), biases 0; embeddings N(0, 1)
	// Papers C and D (reference D.2): attention as XAVIER, all else as TORCH. Their q, k and v are one matrix,
	// whose fan_out counts them all: so do neighbouring attention weights of the same width here.
	INIT_KIND_TORCH_XAVIER,
};
enum head_kind { HEAD_LINEAR, HEAD_MLP };
enum token_input { TOKEN_INPUT_TABLE, TOKEN_INPUT_ONE_HOT };

struct model_config {
	int n_layer, d_model, n_head, n_kv_head, d_head, d_ff;
	int n_vocab, n_ctx; // 0: what the task needs
	int causal, bias, tied_head, head_bias;
	int norm, norm_place, final_norm, activation, position, init; // the enums above
	double init_std, norm_eps, dropout;
	int rope_pairs; // enum rope_pairs
	double rope_base, rope_fraction;
	int head, token_input; // the enums above
	int dropout_embedding, dropout_hidden;
	int residual, attention_bias; // the enums above
	struct rope_scaling rope_scaling;
	int score_scale; // enum score_scale
};

extern const struct option model_options[];
extern const unsigned long model_config_bytes;

// Fills what is 0 for "follow the others": n_kv_head = n_head, d_head = d_model / n_head, n_vocab, n_ctx.
// Called once after all options are set. 0, or -1 with the sentence why the shape is impossible.
int model_config_resolve(struct model_config *config, int task_vocab, int task_T, struct err *err);
struct attn_dims model_attn_dims(const struct model_config *config);

#ifdef __cplusplus
}
#endif
#endif
