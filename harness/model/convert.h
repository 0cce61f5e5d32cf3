// SPDX-License-Identifier: MIT
// A trained model made into one of another variant: its attention is converted layer by layer (variants/convert.h), all
// else stays. The result is a model like any other: it trains, decodes through its own cache, is saved and loaded.
#ifndef KVLAB_MODEL_CONVERT_H
#define KVLAB_MODEL_CONVERT_H
#include "harness/model/calibrate.h"
#ifdef __cplusplus
extern "C" {
#endif

struct model_conversion {
	const struct variant *variant; // to
	const void *config;            // its setting; must outlive the model
	struct attn_conversion how;
	const struct calibration *calibration; // for how.whiten; NULL: none
	int n_thread;                          // never changes a result
	int with_gradients;                    // all parameters in memory of its own, with gradients, for fine-tuning
};

// in: of a variant that is_plain. Without gradients what is not attention's is in's memory, so in must outlive out. 0,
// or -1 with the sentence why it cannot be done; everything is checked before anything is computed.
int model_convert(struct model *out, const struct model *in, const struct model_conversion *conversion,
        struct arena *arena, struct err *err);
// What can be said without the model itself: `from` is its configuration; calibration is not looked at. 0, or -1.
int model_convert_check(const struct model_config *from, const struct model_conversion *conversion, struct err *err);
// The configuration of the result.
struct model_config model_convert_config(const struct model_config *from, const struct attn_conversion *how);

#ifdef __cplusplus
}
#endif
#endif
