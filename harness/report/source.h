// SPDX-License-Identifier: MIT
// Where an experiment's numbers come from: what stands under each table and plot.
#ifndef KVLAB_REPORT_SOURCE_H
#define KVLAB_REPORT_SOURCE_H
#include "harness/report/report.h"
#ifdef __cplusplus
extern "C" {
#endif

struct source {
	char *scope;  // "log2n_retrieval at scale small, seeds 42 43 44, 96 runs planned: 90 done, 1 diverged, 5
	              // missing"
	char *origin; // "commit 0123456789ab, Some CPU, 2 cores"; "+changes" where the tree was dirty
	long n_open;  // settings with runs that have no result, each a line:
	char **open;  // "missing: n_key=16 d_select=4, seeds 43 44", "failed: ..., seed 42: message"
};

// -1 also when nothing is planned at that scale.
int source_read(struct source *source, struct store *store, const char *experiment, const char *scale,
        struct arena *arena, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
