// SPDX-License-Identifier: MIT
// What a layer's attention is given on a text: moments of its normalised input, for conversions that are best on such
// inputs rather than on all alike.
#ifndef KVLAB_MODEL_CALIBRATE_H
#define KVLAB_MODEL_CALIBRATE_H
#include "harness/model/model.h"
#ifdef __cplusplus
extern "C" {
#endif

struct calibration {
	int d_model;
	long n_row;     // tokens seen
	double *moment; // (n_layer, d_model, d_model): mean of x x^T
	double *mean;   // (n_layer, d_model)
	double *fisher; // (n_layer): see model_fisher; NULL: not asked for
};

// Runs the model over the n tokens in sequences of T; what is left over at the end is not used. Memory from arena; the
// same bits for any n_thread. 0, or -1 with a sentence when there is not one sequence.
int model_calibrate(struct calibration *calibration, const struct model *model, const int *tokens, long n, int T,
        int n_thread, struct arena *arena, struct err *err);
// Adds the Fisher information of each layer's W_K on the same text: the mean over its numbers and the sequences of the
// square of the gradient of the sequence's loss (of next tokens, in nats a token). The model is plain (mha, gqa, mqa);
// it is not changed, its weights and as many gradients are held beside it while this runs.
int model_fisher(struct calibration *calibration, const struct model *model, const int *tokens, long n, int T,
        int n_thread, struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
