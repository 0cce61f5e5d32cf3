// SPDX-License-Identifier: MIT
// A trained model is compressed and wins back what that costs: converted to a variant, measured against what it was,
// tuned, measured again. What procedure recover does with a point and kvlab compress with a user's model.
//
// Metrics have the split of what they are of: `base`, `converted` (not tuned), `tuned` (steps > 0), `dense` (rank_kept:
// false: tuned, before it is cut again) with loss, loss_error, perplexity, and against the base kl (base || it), excess
// (of the loss, by the same tokens), both with errors, and agreement (same most likely token). What it ends with is
// also `test`, so that the views of language models apply. `validation` is the curve: the loss before tuning (step 0)
// and at about log-spaced steps; n_tuned_token at the same steps.
//
// rank_kept: true trains the factors. false does as the authors' code: the product of the factors is one dense matrix,
// trained without a rank constraint; `tuned` is what is left after it is cut to the same rank again, `dense` what it
// was before, whose cache is not small.
#ifndef KVLAB_RUN_RECOVERY_H
#define KVLAB_RUN_RECOVERY_H
#include "harness/model/convert.h"
#include "harness/run/base_model.h"
#include "harness/run/place.h"
#include "harness/run/run.h"
#include "harness/spec/setup.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { NAMES_TEXT = 128 };

// Options of procedure recover, which fills them (kvlab list procedure recover).
struct recovery_config {
	struct base_config base;
	struct attn_conversion how;
	double share, kv_share;
	int n_calibration, n_train;
	int steps, batch, warmup, schedule, rank_kept;
	double lr, lr_floor, beta2, weight_decay, clip;
	char train_only[NAMES_TEXT];
	int n_validation, n_test, stride;
	struct place place; // where it is measured and tuned
};

struct recovery {
	// The base's shape, what it becomes, the cache that this is measured through, and running text. task NULL:
	// there is no text, and nothing is measured or tuned.
	const struct setup *setup;
	const struct recovery_config *config;
	struct model *base;
	uint64_t seed;
	int n_thread;
	struct run_log *log; // with a checkpoint_path, tuning goes on from there
	// Called with the result while it is there; NULL: nobody wants it. 0, or -1 with a message.
	int (*keep)(void *context, struct model *result, struct err *err);
	void *keep_context;
};

// Turns kv_share into how.n_kv_head and share into the rank, the variant's d_select or, of whole keys, how.d_select;
// both are 0 then. Rounded to what the conversion takes: the nearest rank, the smaller of two as near; the largest
// number of heads that is not above and divides the model's. 0, or -1 with the sentence why there is none.
int recovery_resolve(struct setup *setup, struct recovery_config *config, struct err *err);
// 0, or -1 with the sentence why this cannot be done; the base itself is not looked at.
int recovery_check(const struct setup *setup, const struct recovery_config *config, struct err *err);
// Bytes of whatever memory it is measured and tuned in, at its peak.
struct place_bytes recovery_bytes(const struct setup *setup, const struct recovery_config *config);
// 0 done, 1 tuning diverged (nothing is kept), 2 stopped as log->tick asked, with a checkpoint, -1 failed.
int recovery_run(const struct recovery *recovery, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
