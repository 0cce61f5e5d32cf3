// SPDX-License-Identifier: MIT
// A step that trains queries and keys alone, as fine-tuning after a conversion does, against one that trains
// everything: forward and the gradients of inputs stay, the products for frozen weights go.
#include <stdio.h>

#include "harness/bench/bench.h"
#include "harness/bench/sample.h"
#include "harness/bench/workload.h"

static const char trained[] = "w_q b_q w_k b_k";
static const double most_time = 0.8, cap_s = 10;

int bench_frozen(struct bench *bench, const char *model, struct err *err)
{
	struct workload w;
	struct stepper stepper[2]; // all, some
	const struct arena_mark mark = arena_mark(&bench->arena);
	if (workload_init(&w, model, NULL, &bench->arena, err))
		return -1;
	struct arm *arm = arena_zalloc(&bench->arena, 2 * sizeof(*arm));
	for (int i = 0; i < 2; i++) {
		stepper_init(&stepper[i], &w, bench->n_thread);
		arm[i].run = stepper_run;
		arm[i].arg = &stepper[i];
	}
	const struct model *m = &stepper[1].trainer.model;
	int rc = model_train_only(&stepper[1].trainer.model, trained, err);
	if (!rc) {
		sample_arms(arm, 2, 0.3, cap_s, &bench->rng);
		const double ratio = arm[1].median / arm[0].median;
		printf("\ntraining %s alone, %s: %ld of %ld numbers, %d threads\n", trained, w.name, m->n_trained,
		        m->n_padded, bench->n_thread);
		printf("  %.3f ms [%.3f, %.3f] n %ld, everything %.3f ms [%.3f, %.3f]   %.2f of a whole step   target "
		       "at "
		       "most %.2f: %s\n",
		        arm[1].median * 1e3, arm[1].lo * 1e3, arm[1].hi * 1e3, arm[1].n, arm[0].median * 1e3,
		        arm[0].lo * 1e3, arm[0].hi * 1e3, ratio, most_time, ratio <= most_time ? "met" : "missed");
	}
	for (int i = 0; i < 2; i++)
		trainer_release(&stepper[i].trainer);
	arena_rewind(&bench->arena, mark);
	return rc;
}
