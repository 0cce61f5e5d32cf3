// SPDX-License-Identifier: MIT
// Adam and AdamW over a model's block of parameters, with global-norm clipping and a learning-rate schedule.
#ifndef KVLAB_MODEL_OPTIMIZER_H
#define KVLAB_MODEL_OPTIMIZER_H
#include "harness/model/model.h"
#ifdef __cplusplus
extern "C" {
#endif

enum schedule {
	SCHEDULE_CONSTANT,
	SCHEDULE_LINEAR,
	SCHEDULE_COSINE,
	SCHEDULE_COSINE_PRODUCT // papers C and D (reference D.2): a cosine over all steps, times the warm-up's rise
};

struct optimizer_config {
	double lr, lr_floor;                    // highest and last learning rate
	double beta1, beta2, eps, weight_decay; // decay is decoupled (AdamW); 0: Adam
	double clip;                            // largest global norm of the gradient; 0: no clipping
	int schedule;                           // enum schedule
	long warmup, steps;                     // linear rise over the first `warmup` steps; length of the schedule
};

struct optimizer {
	struct optimizer_config config;
	real *m, *v; // moments, in the layout of model->dx (n_moment numbers of it from `first` on); part of a
	             // checkpoint
	long first, n_moment;
};

// Moments go to arena, which is of the memory of the model's home. Where ranks train together each has those of its
// part: n_rank divides model->n_trained then, and all parameters are trained (optimizer_check_ranks).
void optimizer_init(
        struct optimizer *o, const struct optimizer_config *config, const struct model *model, struct arena *arena);
int optimizer_check_ranks(const struct model *model, const struct rank_slots *ranks, struct err *err);
// Learning rate of step 1, 2, ... steps: rises linearly over the warm-up, then falls to lr_floor at the last step. In
// COSINE_PRODUCT time begins at 0, so that the first step of a warm-up changes nothing (as in the papers' code).
double optimizer_lr(const struct optimizer_config *config, long step);
// One update from model->dx; with ranks, from all ranks' (their sum). Returns the global norm of the gradient before
// clipping; 0 without clipping, which would read all gradients once more for it. A norm that is not finite updates
// nothing. It may be taken down as part of a step (backend.h: play_training), but with ranks.
double optimizer_step(
        struct optimizer *o, struct model *model, long step, const struct exec *exec, const struct backend *backend);

#ifdef __cplusplus
}
#endif
#endif
