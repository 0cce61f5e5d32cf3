// SPDX-License-Identifier: MIT
// GPT-2: pre-LN, learned positions, biases everywhere, tanh form of GELU, head tied to the token table. Its files keep
// linear maps as (in, out), and queries, keys and values as one.
// Presets: the four published sizes; A's two (reference A.2.1: 8 heads of 128, untied; d_ff is not stated, 4 d_model
// gives the published 557M for 36 layers but 255M, not 280M, for 12); C's two (reference C.4: exact GELU, vocabulary
// padded to 50,304, context 2,048, dropout on residual branches).
#include <stddef.h>

#include "harness/model/family.h"

extern const struct family family_gpt2; // presets point to it, it points to them

static const struct family_key keys[] = {
        {"n_embd", "d_model", NULL, NULL},
        {"n_layer", "n_layer", NULL, NULL},
        {"n_head", "n_head", NULL, NULL},
        {"n_inner", "d_ff", "4*n_embd", NULL},
        {"vocab_size", "n_vocab", NULL, NULL},
        {"n_positions|n_ctx", "n_ctx", NULL, NULL},
        {"activation_function", "activation", "gelu_new",
                "gelu_new=gelu_new gelu_pytorch_tanh=gelu_new gelu=gelu relu=relu"},
        {"layer_norm_epsilon", "norm_eps", "1e-05", NULL},
        {"tie_word_embeddings", "tied_head", "true", NULL},
        {"scale_attn_weights", NULL, "true", "true"},
        {"scale_attn_by_inverse_layer_idx", NULL, "false", "false"},
        {"add_cross_attention", NULL, "false", "false"},
        {"quantization_config", NULL, "null", "null"},
        {NULL},
};

static const struct family_tensor tensors[] = {
        {"token", "transformer.wte.weight"},
        {"position", "transformer.wpe.weight"},
        {"norm1_gain", "transformer.h.%d.ln_1.weight"},
        {"norm1_bias", "transformer.h.%d.ln_1.bias"},
        {"w_q", "transformer.h.%d.attn.c_attn.weight", TENSOR_TRANSPOSED, 0, 3},
        {"w_k", "transformer.h.%d.attn.c_attn.weight", TENSOR_TRANSPOSED, 1, 3},
        {"w_v", "transformer.h.%d.attn.c_attn.weight", TENSOR_TRANSPOSED, 2, 3},
        {"b_q", "transformer.h.%d.attn.c_attn.bias", TENSOR_PLAIN, 0, 3},
        {"b_k", "transformer.h.%d.attn.c_attn.bias", TENSOR_PLAIN, 1, 3},
        {"b_v", "transformer.h.%d.attn.c_attn.bias", TENSOR_PLAIN, 2, 3},
        {"w_o", "transformer.h.%d.attn.c_proj.weight", TENSOR_TRANSPOSED},
        {"b_o", "transformer.h.%d.attn.c_proj.bias"},
        {"norm2_gain", "transformer.h.%d.ln_2.weight"},
        {"norm2_bias", "transformer.h.%d.ln_2.bias"},
        {"ff_in", "transformer.h.%d.mlp.c_fc.weight", TENSOR_TRANSPOSED},
        {"ff_in_bias", "transformer.h.%d.mlp.c_fc.bias"},
        {"ff_out", "transformer.h.%d.mlp.c_proj.weight", TENSOR_TRANSPOSED},
        {"ff_out_bias", "transformer.h.%d.mlp.c_proj.bias"},
        {"norm_gain", "transformer.ln_f.weight"},
        {"norm_bias", "transformer.ln_f.bias"},
        {"head", "lm_head.weight"},
        {NULL},
};

static const struct family_format formats[] = {
        {.format = "safetensors",
                .type_key = "model_type",
                .types = "gpt2",
                .architectures = "GPT2LMHeadModel",
                .keys = keys,
                .tensors = tensors,
                .prefix = "transformer.",
                .ignored = // causal masks
                (const char *const[]){"transformer.h.%d.attn.bias", "transformer.h.%d.attn.masked_bias", NULL}},
        {NULL},
};

#define SHAPE(layers, width, heads, hidden)                                                                            \
	{"n_layer", layers}, {"d_model", width}, {"n_head", heads},                                                    \
	{                                                                                                              \
		"d_ff", hidden                                                                                         \
	}
#define OF_C                                                                                                           \
	{"n_vocab", "50304"}, {"n_ctx", "2048"}, {"activation", "gelu"}, {"dropout", "0.1"},                           \
	{                                                                                                              \
		"dropout_embedding", "false"                                                                           \
	}

static const struct family presets[] = {
        {"gpt2-124m", "GPT-2 small", FAMILY_SET(SHAPE("12", "768", "12", "3072")), &family_gpt2},
        {"gpt2-355m", "GPT-2 medium", FAMILY_SET(SHAPE("24", "1024", "16", "4096")), &family_gpt2},
        {"gpt2-774m", "GPT-2 large", FAMILY_SET(SHAPE("36", "1280", "20", "5120")), &family_gpt2},
        {"gpt2-1.5b", "GPT-2 XL", FAMILY_SET(SHAPE("48", "1600", "25", "6400")), &family_gpt2},
        {"gpt2-280m", "paper A's GPT-2 of 12 layers",
                FAMILY_SET(SHAPE("12", "1024", "8", "4096"), {"tied_head", "false"}), &family_gpt2},
        {"gpt2-557m", "paper A's GPT-2 of 36 layers",
                FAMILY_SET(SHAPE("36", "1024", "8", "4096"), {"tied_head", "false"}), &family_gpt2},
        {"gpt2-300m", "paper C's smaller language model", FAMILY_SET(SHAPE("20", "1024", "16", "4096"), OF_C),
                &family_gpt2},
        {"gpt2-1.2b", "paper C's larger language model", FAMILY_SET(SHAPE("22", "2048", "32", "8192"), OF_C),
                &family_gpt2},
        {NULL},
};

const struct family family_gpt2 = {
        .name = "gpt2",
        .summary = "GPT-2: learned positions, tanh GELU, biases, tied head",
        .defaults = FAMILY_SET({"causal", "true"}, {"norm_place", "pre"}, {"position", "learned"},
                {"activation", "gelu_new"}, {"tied_head", "true"}, {"init", "normal"}, {"n_vocab", "50257"},
                {"n_ctx", "1024"}),
        .presets = presets,
        .formats = formats,
};
