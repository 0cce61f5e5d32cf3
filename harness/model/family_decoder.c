// SPDX-License-Identifier: MIT
// The small causal model of paper B's synthetic experiments (reference B.2.1): pre-LN, learned positions, GELU,
// untied head without bias, the library's default initialisation, no dropout.
#include "harness/model/family.h"

#include <stddef.h>

const struct family family_decoder = {
        .name = "decoder",
        .summary = "causal pre-LN transformer of paper B's synthetic tasks",
        .defaults =
                (const struct family_default[]){
                        {"causal", "true"},
                        {"norm_place", "pre"},
                        {"position", "learned"},
                        {"activation", "gelu"},
                        {"init", "torch"},
                        {NULL, NULL},
                },
};
