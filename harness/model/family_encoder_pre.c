// SPDX-License-Identifier: MIT
// The bidirectional model with which paper C's authors repeated the synthetic tasks (reference C.2, "C-repro"; also
// that of paper A's later version, A.3): one-hot tokens through a linear map, learned positions, pre-LN blocks with
// GELU, a last norm, the library's default initialisation, no dropout. Its d_ff is 4 d_model.
#include "harness/model/family.h"

#include <stddef.h>

const struct family family_encoder_pre = {
        .name = "encoder_pre",
        .summary = "bidirectional pre-LN transformer of paper C's repeated synthetic tasks",
        .defaults =
                (const struct family_default[]){
                        {"causal", "false"},
                        {"norm_place", "pre"},
                        {"position", "learned"},
                        {"activation", "gelu"},
                        {"token_input", "one_hot"},
                        {"head_bias", "true"},
                        {"init", "torch"},
                        {NULL, NULL},
                },
};
