// SPDX-License-Identifier: MIT
// Qwen2: pre-norm with RMS norms, rotary positions, SwiGLU, grouped queries, biases of queries, keys and values alone.
// Presets: Qwen2 0.5B and 1.5B, whose head is the token table.
#include <stddef.h>

#include "harness/model/family.h"

extern const struct family family_qwen2; // presets point to it, it points to them

static const struct family_key keys[] = {
        {"hidden_size", "d_model", NULL, NULL},
        {"num_hidden_layers", "n_layer", NULL, NULL},
        {"num_attention_heads", "n_head", NULL, NULL},
        {"num_key_value_heads", "n_kv_head", NULL, NULL},
        {"head_dim", "d_head", "0", NULL},
        {"intermediate_size", "d_ff", NULL, NULL},
        {"vocab_size", "n_vocab", NULL, NULL},
        {"max_position_embeddings", "n_ctx", NULL, NULL},
        {"hidden_act", "activation", "silu", "silu=swiglu"},
        {"rms_norm_eps", "norm_eps", "1e-06", NULL},
        {"tie_word_embeddings", "tied_head", "false", NULL},
        FAMILY_ROPE_KEYS("rope_theta"),
        {"use_sliding_window", NULL, "false", "false"},
        {"layer_types", NULL, "full_attention", "full_attention"},
        {"quantization_config", NULL, "null", "null"},
        {NULL},
};

static const struct family_tensor tensors[] = {
        {"token", "model.embed_tokens.weight"},
        {"norm1_gain", "model.layers.%d.input_layernorm.weight"},
        {"w_q", "model.layers.%d.self_attn.q_proj.weight"},
        {"w_k", "model.layers.%d.self_attn.k_proj.weight"},
        {"w_v", "model.layers.%d.self_attn.v_proj.weight"},
        {"b_q", "model.layers.%d.self_attn.q_proj.bias"},
        {"b_k", "model.layers.%d.self_attn.k_proj.bias"},
        {"b_v", "model.layers.%d.self_attn.v_proj.bias"},
        {"w_o", "model.layers.%d.self_attn.o_proj.weight"},
        {"norm2_gain", "model.layers.%d.post_attention_layernorm.weight"},
        {"ff_in", "model.layers.%d.mlp.gate_proj.weight", .own_part = 0, .n_own_part = 2},
        {"ff_in", "model.layers.%d.mlp.up_proj.weight", .own_part = 1, .n_own_part = 2},
        {"ff_out", "model.layers.%d.mlp.down_proj.weight"},
        {"norm_gain", "model.norm.weight"},
        {"head", "lm_head.weight"},
        {NULL},
};

static const struct family_format formats[] = {
        {.format = "safetensors",
                .type_key = "model_type",
                .types = "qwen2",
                .architectures = "Qwen2ForCausalLM",
                .keys = keys,
                .tensors = tensors,
                .prefix = "model.",
                .ignored = (const char *const[]){"model.layers.%d.self_attn.rotary_emb.inv_freq", NULL}},
        {NULL},
};

static const struct family presets[] = {
        {"qwen2-0.5b", "Qwen2 of 24 layers",
                FAMILY_SET(
                        {"n_layer", "24"}, {"d_model", "896"}, {"n_head", "14"}, {"n_kv_head", "2"}, {"d_ff", "4864"}),
                &family_qwen2},
        {"qwen2-1.5b", "Qwen2 of 28 layers",
                FAMILY_SET(
                        {"n_layer", "28"}, {"d_model", "1536"}, {"n_head", "12"}, {"n_kv_head", "2"}, {"d_ff", "8960"}),
                &family_qwen2},
        {NULL},
};

const struct family family_qwen2 = {
        .name = "qwen2",
        .summary = "Qwen2: RMS norms, rotary positions, SwiGLU, grouped queries, biases of q, k and v",
        .defaults = FAMILY_SET({"causal", "true"}, {"norm_place", "pre"}, {"norm", "rms"}, {"norm_eps", "1e-6"},
                {"bias", "false"}, {"attention_bias", "qkv"}, {"position", "rope"}, {"rope_base", "1e6"},
                {"activation", "swiglu"}, {"tied_head", "true"}, {"init", "normal"}, {"n_vocab", "151936"},
                {"n_ctx", "131072"}),
        .presets = presets,
        .formats = formats,
};
