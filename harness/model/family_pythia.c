// SPDX-License-Identifier: MIT
// Pythia (GPT-NeoX): attention and feed-forward part read the same input (each through its own norm) and are added
// together; rotary positions on a quarter of each head, pairs (i, i + n/2); biases everywhere, exact GELU, untied head.
// Its files keep queries, keys and values as one matrix, head by head.
#include <stddef.h>

#include "harness/model/family.h"

extern const struct family family_pythia; // presets point to it, it points to them

static const struct family_key keys[] = {
        {"hidden_size", "d_model", NULL, NULL},
        {"num_hidden_layers", "n_layer", NULL, NULL},
        {"num_attention_heads", "n_head", NULL, NULL},
        {"intermediate_size", "d_ff", NULL, NULL},
        {"vocab_size", "n_vocab", NULL, NULL},
        {"max_position_embeddings", "n_ctx", NULL, NULL},
        {"hidden_act", "activation", "gelu",
                "gelu=gelu gelu_new=gelu_new gelu_fast=gelu_new gelu_pytorch_tanh=gelu_new relu=relu"},
        {"layer_norm_eps", "norm_eps", "1e-05", NULL},
        {"tie_word_embeddings", "tied_head", "false", NULL},
        {"use_parallel_residual", "residual", "true", "true=parallel false=sequential"},
        {"attention_bias", "attention_bias", "true", "true=follow false=none"},
        {"rotary_pct|rope_parameters.partial_rotary_factor", "rope_fraction", "0.25", NULL},
        FAMILY_ROPE_KEYS("rotary_emb_base"),
        {"quantization_config", NULL, "null", "null"},
        {NULL},
};

static const struct family_tensor tensors[] = {
        {"token", "gpt_neox.embed_in.weight"},
        {"norm1_gain", "gpt_neox.layers.%d.input_layernorm.weight"},
        {"norm1_bias", "gpt_neox.layers.%d.input_layernorm.bias"},
        {"w_q", "gpt_neox.layers.%d.attention.query_key_value.weight", TENSOR_BY_HEAD, 0, 3},
        {"w_k", "gpt_neox.layers.%d.attention.query_key_value.weight", TENSOR_BY_HEAD, 1, 3},
        {"w_v", "gpt_neox.layers.%d.attention.query_key_value.weight", TENSOR_BY_HEAD, 2, 3},
        {"b_q", "gpt_neox.layers.%d.attention.query_key_value.bias", TENSOR_BY_HEAD, 0, 3},
        {"b_k", "gpt_neox.layers.%d.attention.query_key_value.bias", TENSOR_BY_HEAD, 1, 3},
        {"b_v", "gpt_neox.layers.%d.attention.query_key_value.bias", TENSOR_BY_HEAD, 2, 3},
        {"w_o", "gpt_neox.layers.%d.attention.dense.weight"},
        {"b_o", "gpt_neox.layers.%d.attention.dense.bias"},
        {"norm2_gain", "gpt_neox.layers.%d.post_attention_layernorm.weight"},
        {"norm2_bias", "gpt_neox.layers.%d.post_attention_layernorm.bias"},
        {"ff_in", "gpt_neox.layers.%d.mlp.dense_h_to_4h.weight"},
        {"ff_in_bias", "gpt_neox.layers.%d.mlp.dense_h_to_4h.bias"},
        {"ff_out", "gpt_neox.layers.%d.mlp.dense_4h_to_h.weight"},
        {"ff_out_bias", "gpt_neox.layers.%d.mlp.dense_4h_to_h.bias"},
        {"norm_gain", "gpt_neox.final_layer_norm.weight"},
        {"norm_bias", "gpt_neox.final_layer_norm.bias"},
        {"head", "embed_out.weight"},
        {NULL},
};

static const struct family_format formats[] = {
        {.format = "safetensors",
                .type_key = "model_type",
                .types = "gpt_neox",
                .architectures = "GPTNeoXForCausalLM",
                .keys = keys,
                .tensors = tensors,
                .prefix = "gpt_neox.",
                .ignored = // causal masks, frequencies
                (const char *const[]){"gpt_neox.layers.%d.attention.bias", "gpt_neox.layers.%d.attention.masked_bias",
                        "gpt_neox.layers.%d.attention.rotary_emb.inv_freq", NULL}},
        {NULL},
};

#define SHAPE(layers, width, heads, hidden)                                                                            \
	FAMILY_SET({"n_layer", layers}, {"d_model", width}, {"n_head", heads}, {"d_ff", hidden})

static const struct family presets[] = {
        {"pythia-70m", "Pythia of 6 layers", SHAPE("6", "512", "8", "2048"), &family_pythia},
        {"pythia-160m", "Pythia of 12 layers", SHAPE("12", "768", "12", "3072"), &family_pythia},
        {"pythia-410m", "Pythia of 24 layers", SHAPE("24", "1024", "16", "4096"), &family_pythia},
        {"pythia-1b", "Pythia of 16 layers", SHAPE("16", "2048", "8", "8192"), &family_pythia},
        {NULL},
};

const struct family family_pythia = {
        .name = "pythia",
        .summary = "Pythia (GPT-NeoX): parallel residual, rotary quarter of each head, untied head",
        .defaults = FAMILY_SET({"causal", "true"}, {"norm_place", "pre"}, {"residual", "parallel"},
                {"position", "rope"}, {"rope_fraction", "0.25"}, {"activation", "gelu"}, {"init", "normal"},
                {"n_vocab", "50304"}, {"n_ctx", "2048"}),
        .presets = presets,
        .formats = formats,
};
