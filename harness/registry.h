// SPDX-License-Identifier: MIT
// Everything that can be named in a spec. Filled from the generated lists (registry.c includes them, nobody else).
#ifndef KVLAB_REGISTRY_H
#define KVLAB_REGISTRY_H
#include "harness/model/config.h"
#include "harness/model/family.h"
#include "harness/run/procedure.h"
#include "harness/task/task.h"
#include "variants/variant.h"
#ifdef __cplusplus
extern "C" {
#endif

// NULL-terminated, in order of name.
extern const struct variant *const variant_list[];
extern const struct task *const task_list[];
extern const struct family *const family_list[];
extern const struct procedure *const procedure_list[];

// By name, or NULL.
const struct variant *variant_find(const char *name);
const struct task *task_find(const char *name);
const struct family *family_find(const char *name); // a family's or a preset's
const struct procedure *procedure_find(const char *name);

// Families, each followed by its presets, by number; NULL past the last.
const struct family *family_at(int i);

#ifdef __cplusplus
}
#endif
#endif
