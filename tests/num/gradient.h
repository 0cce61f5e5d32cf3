// SPDX-License-Identifier: MIT
// Gradients against central differences. Meant for the double build: in float the differences are noise.
//
// What is differentiated is a number: a loss, or a random projection of an op's output. (A plain sum would hide
// soft-max, whose outputs always add up to one.)
#ifndef KVLAB_TESTS_NUM_GRADIENT_H
#define KVLAB_TESTS_NUM_GRADIENT_H
#include "tests/num/rig.h"
#ifdef __cplusplus
extern "C" {
#endif

struct gradient_check {
	// Builds the graph and returns the number; when the tape records, leaves the output's gradient set.
	double (*value)(struct tape *tape, void *context);
	void *context;
	struct tensor *const *input; // those whose gradients are checked
	int n_input;
};

// Sum over out of out * w with w drawn from `stream`; its gradient w goes to out (added when out has one already).
double gradient_project(struct tape *tape, struct tensor *out, uint64_t stream);

// The largest over the inputs of |analytic - numeric| / |numeric| in the 2-norm. Gradients shorter than
// GRADIENT_FLOOR count as that long: a true zero has no relative error. INFINITY when a gradient is not finite, or when
// recording changed the value.
#define GRADIENT_FLOOR 1e-3
double gradient_error(struct rig *rig, const struct gradient_check *check);

// Plants an error: when backward has written t's gradient, numbers from..from+n-1 of it are multiplied by factor. To
// be called before the op whose gradient is spoiled.
void gradient_spoil(struct tape *tape, struct tensor *t, int from, int n, double factor);

#ifdef __cplusplus
}
#endif
#endif
