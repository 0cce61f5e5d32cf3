// SPDX-License-Identifier: MIT
// One experiment at one scale while it is being reported. Shared by the files of harness/report only.
#ifndef KVLAB_REPORT_JOB_H
#define KVLAB_REPORT_JOB_H
#include "harness/report/section.h"
#include "harness/report/source.h"
#ifdef __cplusplus
extern "C" {
#endif

struct job {
	struct store *store;
	const char *experiment, *scale;
	struct arena arena;
	struct err *err;
	struct section section;
	struct source source;
};

// Call job_end also when this failed.
int job_begin(struct job *job, struct store *store, const char *experiment, const char *scale, struct err *err);
void job_end(struct job *job);
// Runs a query of the section, with :scale and :experiment.
int job_query(struct job *job, const char *sql, struct table *table);
// Makes a folder and its parents.
int job_folder(const char *folder, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
