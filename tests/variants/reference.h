// SPDX-License-Identifier: MIT
// The attention of every variant as the papers define it (reference/papers.md A.1, B.1, C.1, D.1), in plain loops over
// doubles: no tape, no kernels, nothing of the variant files but the names of their parameters. Rotary positions enter
// as relative ones, scores q^T R(j - i) k; the 2D map as S sum(w) + sum_c w_c P_ijc + b with all its terms.
#ifndef KVLAB_TESTS_VARIANTS_REFERENCE_H
#define KVLAB_TESTS_VARIANTS_REFERENCE_H
#include "harness/model/model.h"
#ifdef __cplusplus
extern "C" {
#endif

// out (d_model): the output at position i of layer 0's attention over x (S, d_model). Fails the test for a variant that
// it does not know.
void reference_row(
        double *out, const struct model *m, const char *settings, const double *x, int S, int i, struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
