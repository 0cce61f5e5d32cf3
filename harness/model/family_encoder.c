// SPDX-License-Identifier: MIT
// The bidirectional model of paper D's synthetic tasks, whose figures paper C prints too (reference D.2): one-hot
// tokens through a linear map, sinusoidal positions, post-LN blocks with ReLU, dropout 0.1 in and on every branch but
// not on the embeddings, a head of two layers. The paper's d_ff is 2 d_model.
#include "harness/model/family.h"

#include <stddef.h>

const struct family family_encoder = {
        .name = "encoder",
        .summary = "bidirectional post-LN transformer of paper D's synthetic tasks",
        .defaults =
                (const struct family_default[]){
                        {"causal", "false"},
                        {"norm_place", "post"},
                        {"final_norm", "false"},
                        {"position", "sinusoidal"},
                        {"activation", "relu"},
                        {"token_input", "one_hot"},
                        {"head", "mlp"},
                        {"head_bias", "true"},
                        {"init", "torch_xavier"},
                        {"dropout", "0.1"},
                        {"dropout_embedding", "false"},
                        {"dropout_hidden", "true"},
                        {NULL, NULL},
                },
};
