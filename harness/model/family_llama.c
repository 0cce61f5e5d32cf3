// SPDX-License-Identifier: MIT
// Llama: pre-norm with RMS norms, rotary positions, SwiGLU, grouped queries, no biases; Mistral and SmolLM2 are the
// same block. Read from Hugging Face folders, and from the two formats that keep rotary pairs as neighbours: GGUF
// (after llama.cpp's conversion) and llama2.c. Presets: Llama 3.2, whose frequencies are stretched and whose head is
// the token table; Mistral 7B with a context of 4,096, within which its sliding window is full attention; SmolLM2; B's
// two (reference B.2.6, with the vocabulary of its task, and B.2.7 with Mistral's tokenizer).
#include <stddef.h>

#include "harness/model/family.h"

extern const struct family family_llama; // presets point to it, it points to them

// --- Hugging Face folders ------------------------------------------------------------------------------------------

static const struct family_key keys[] = {
        {"hidden_size", "d_model", NULL, NULL},
        {"num_hidden_layers", "n_layer", NULL, NULL},
        {"num_attention_heads", "n_head", NULL, NULL},
        {"num_key_value_heads", "n_kv_head", "0", NULL},
        {"head_dim", "d_head", "0", NULL},
        {"intermediate_size", "d_ff", NULL, NULL},
        {"vocab_size", "n_vocab", NULL, NULL},
        {"max_position_embeddings", "n_ctx", NULL, NULL},
        {"hidden_act", "activation", "silu", "silu=swiglu"},
        {"rms_norm_eps", "norm_eps", "1e-06", NULL},
        {"tie_word_embeddings", "tied_head", "false", NULL},
        {"attention_bias", "attention_bias", "false", "false=none true=all"},
        {"mlp_bias", "bias", "false", NULL},
        FAMILY_ROPE_KEYS("rope_theta"),
        {"sliding_window", NULL, "null", ">=n_ctx"},
        {"rope_interleaved", NULL, "false", "false"},
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
        {"b_o", "model.layers.%d.self_attn.o_proj.bias"},
        {"norm2_gain", "model.layers.%d.post_attention_layernorm.weight"},
        {"ff_in", "model.layers.%d.mlp.gate_proj.weight", .own_part = 0, .n_own_part = 2},
        {"ff_in", "model.layers.%d.mlp.up_proj.weight", .own_part = 1, .n_own_part = 2},
        {"ff_in_bias", "model.layers.%d.mlp.gate_proj.bias", .own_part = 0, .n_own_part = 2},
        {"ff_in_bias", "model.layers.%d.mlp.up_proj.bias", .own_part = 1, .n_own_part = 2},
        {"ff_out", "model.layers.%d.mlp.down_proj.weight"},
        {"ff_out_bias", "model.layers.%d.mlp.down_proj.bias"},
        {"norm_gain", "model.norm.weight"},
        {"head", "lm_head.weight"},
        {NULL},
};

// --- GGUF ----------------------------------------------------------------------------------------------------------

static const struct family_key gguf_keys[] = {
        {"llama.embedding_length", "d_model", NULL, NULL},
        {"llama.block_count", "n_layer", NULL, NULL},
        {"llama.attention.head_count", "n_head", NULL, NULL},
        {"llama.attention.head_count_kv", "n_kv_head", "0", NULL},
        {"llama.attention.key_length", "d_head", "0", NULL},
        {"llama.attention.value_length", NULL, "null", "=d_head"},
        {"llama.feed_forward_length", "d_ff", NULL, NULL},
        {"llama.vocab_size", "n_vocab", "0", NULL},
        {"llama.context_length", "n_ctx", NULL, NULL},
        {"llama.attention.layer_norm_rms_epsilon", "norm_eps", NULL, NULL},
        {"llama.rope.freq_base", "rope_base", "10000", NULL},
        {"llama.rope.dimension_count", NULL, "null", "=d_head"},
        {"llama.rope.scaling.type", "rope_scaling", "none", "none=none linear=linear"},
        {"llama.rope.scaling.factor", "rope_factor", "1", NULL},
        {"llama.rope.scale_linear", NULL, "null", "null"},
        {"llama.attention.sliding_window", NULL, "null", ">=n_ctx"},
        {"llama.expert_count", NULL, "0", "0"},
        {NULL},
};

static const struct family_tensor gguf_tensors[] = {
        {"token", "token_embd.weight"},
        {"norm1_gain", "blk.%d.attn_norm.weight"},
        {"w_q", "blk.%d.attn_q.weight", TENSOR_NEIGHBOURS},
        {"w_k", "blk.%d.attn_k.weight", TENSOR_NEIGHBOURS},
        {"w_v", "blk.%d.attn_v.weight"},
        {"w_o", "blk.%d.attn_output.weight"},
        {"norm2_gain", "blk.%d.ffn_norm.weight"},
        {"ff_in", "blk.%d.ffn_gate.weight", .own_part = 0, .n_own_part = 2},
        {"ff_in", "blk.%d.ffn_up.weight", .own_part = 1, .n_own_part = 2},
        {"ff_out", "blk.%d.ffn_down.weight"},
        {"norm_gain", "output_norm.weight"},
        {"head", "output.weight"},
        {NULL},
};

// --- llama2.c ------------------------------------------------------------------------------------------------------

// Its header does not say the norm's epsilon and the base of the frequencies, which its program has as constants.
static const struct family_key llama2c_keys[] = {
        {"dim", "d_model", NULL, NULL},
        {"n_layers", "n_layer", NULL, NULL},
        {"n_heads", "n_head", NULL, NULL},
        {"n_kv_heads", "n_kv_head", NULL, NULL},
        {"hidden_dim", "d_ff", NULL, NULL},
        {"vocab_size", "n_vocab", NULL, NULL},
        {"seq_len", "n_ctx", NULL, NULL},
        {"shared_classifier", "tied_head", NULL, NULL},
        {NULL},
};

static const struct family_tensor llama2c_tensors[] = {
        {"token", "tok_embeddings.weight"},
        {"norm1_gain", "layers.%d.attention_norm.weight"},
        {"w_q", "layers.%d.attention.wq.weight", TENSOR_NEIGHBOURS},
        {"w_k", "layers.%d.attention.wk.weight", TENSOR_NEIGHBOURS},
        {"w_v", "layers.%d.attention.wv.weight"},
        {"w_o", "layers.%d.attention.wo.weight"},
        {"norm2_gain", "layers.%d.ffn_norm.weight"},
        {"ff_in", "layers.%d.feed_forward.w1.weight", .own_part = 0, .n_own_part = 2},
        {"ff_in", "layers.%d.feed_forward.w3.weight", .own_part = 1, .n_own_part = 2},
        {"ff_out", "layers.%d.feed_forward.w2.weight"},
        {"norm_gain", "norm.weight"},
        {"head", "output.weight"},
        {NULL},
};

static const struct family_format formats[] = {
        {.format = "safetensors",
                .type_key = "model_type",
                .types = "llama mistral",
                .architectures = "LlamaForCausalLM MistralForCausalLM",
                .keys = keys,
                .tensors = tensors,
                .prefix = "model.",
                .ignored = (const char *const[]){"model.layers.%d.self_attn.rotary_emb.inv_freq", NULL}},
        {.format = "gguf",
                .type_key = "general.architecture",
                .types = "llama",
                .keys = gguf_keys,
                .tensors = gguf_tensors,
                .tied_without = "output.weight"},
        {.format = "llama2c",
                .keys = llama2c_keys,
                .tensors = llama2c_tensors,
                .ignored = (const char *const[]){"freq_cis_real", "freq_cis_imag", NULL}},
        {NULL},
};

// --- sizes ---------------------------------------------------------------------------------------------------------

#define SHAPE(layers, width, heads, kv_heads, hidden)                                                                  \
	{"n_layer", layers}, {"d_model", width}, {"n_head", heads}, {"n_kv_head", kv_heads},                           \
	{                                                                                                              \
		"d_ff", hidden                                                                                         \
	}
#define LLAMA_3_2                                                                                                      \
	{"n_vocab", "128256"}, {"n_ctx", "131072"}, {"tied_head", "true"}, {"rope_base", "500000"},                    \
	        {"rope_scaling", "llama3"}, {"rope_factor", "32"}, {"rope_low", "1"}, {"rope_high", "4"},              \
	{                                                                                                              \
		"rope_original_ctx", "8192"                                                                            \
	}

static const struct family presets[] = {
        {"llama-3.2-1b", "Llama 3.2 of 16 layers", FAMILY_SET(SHAPE("16", "2048", "32", "8", "8192"), LLAMA_3_2),
                &family_llama},
        {"llama-3.2-3b", "Llama 3.2 of 28 layers", FAMILY_SET(SHAPE("28", "3072", "24", "8", "8192"), LLAMA_3_2),
                &family_llama},
        {"llama-125m", "paper B's smaller language model",
                FAMILY_SET(SHAPE("12", "768", "12", "0", "2048"), {"n_vocab", "0"}, {"n_ctx", "512"},
                        {"tied_head", "true"}),
                &family_llama},
        {"llama-7b", "paper B's larger language model",
                FAMILY_SET(SHAPE("32", "4096", "32", "0", "11008"), {"n_ctx", "1024"}), &family_llama},
        {"mistral-7b", "Mistral 7B, version 0.1",
                FAMILY_SET(SHAPE("32", "4096", "32", "8", "14336"), {"n_ctx", "4096"}), &family_llama},
        {"smollm2-135m", "SmolLM2 of 30 layers",
                FAMILY_SET(SHAPE("30", "576", "9", "3", "1536"), {"n_vocab", "49152"}, {"n_ctx", "8192"},
                        {"tied_head", "true"}, {"rope_base", "100000"}),
                &family_llama},
        {NULL},
};

const struct family family_llama = {
        .name = "llama",
        .summary = "Llama, Mistral, SmolLM2: RMS norms, rotary positions, SwiGLU, no biases",
        .defaults = FAMILY_SET({"causal", "true"}, {"norm_place", "pre"}, {"norm", "rms"}, {"bias", "false"},
                {"attention_bias", "none"}, {"position", "rope"}, {"activation", "swiglu"}, {"init", "normal"},
                {"n_vocab", "32000"}, {"n_ctx", "2048"}),
        .presets = presets,
        .formats = formats,
};
