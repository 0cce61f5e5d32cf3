// SPDX-License-Identifier: MIT
// The bidirectional model of paper D's synthetic tasks (reference D.2): post-LN, sinusoidal positions, ReLU, hidden
// width 2 d_model, dropout 0.1, Xavier weights.
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
                        {"init", "xavier"},
                        {"head_bias", "true"},
                        {"dropout", "0.1"},
                        {NULL, NULL},
                },
};
