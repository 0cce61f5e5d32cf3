// SPDX-License-Identifier: MIT
// A setup: everything one point names, looked up and with every option filled in. Made from a spec's matrix or
// read back from the canonical JSON of a stored point; both ways go through the same option tables.
#ifndef KVLAB_SPEC_SETUP_H
#define KVLAB_SPEC_SETUP_H
#include "harness/base/arena.h"
#include "harness/base/hash.h"
#include "harness/registry.h"
#ifdef __cplusplus
extern "C" {
#endif

struct setup {
	const struct family *family;
	const struct variant *variant;
	const struct task *task;
	const struct procedure *procedure;
	void *model;            // struct model_config (harness/model/model.h)
	void *variant_config;   // variant->config_bytes
	void *task_config;      // task->config_bytes
	void *procedure_config; // procedure->config_bytes
	void *cache;            // struct cache_config (harness/model/cache.h); never NULL in a setup resolved or parsed
};

// Canonical JSON: sections and keys in order of name, every option present, numbers in shortest form:
// {"model":{"d_ff":128,...,"family":"decoder"},"procedure":"train","task":{...,"name":"retrieval"},"train":{...},
//  "variant":{...,"name":"mha"}}. Late options (base/option.h) are left out while at their default, and so is a section
// ("cache") that has no others. Memory from the arena.
char *setup_json(const struct setup *setup, struct arena *arena);
// The reverse. 0, or -1 with the reason (an unknown name or key: the row is of a newer or older program).
int setup_parse(struct setup *setup, const char *json, struct arena *arena, struct err *err);
// Key of the point: hash of the canonical JSON, of a task's stored data and of the weights that it begins with, and the
// versions of task, procedure, variant
// and kernels. Whatever changes results without changing the JSON raises its version, and stored points of before are
// no longer these.
void setup_key(char key[HASH_TEXT], const struct setup *setup, struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
