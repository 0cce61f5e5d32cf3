// SPDX-License-Identifier: MIT
#include "harness/registry.h"

#include <string.h>

// Each list comes twice: once to declare what the files define, once to fill the array. A file whose symbol is not
// named like itself fails at link, with the name.
#define VARIANT(name) extern const struct variant variant_##name;
#include "generated/variant_list.inc"
#undef VARIANT
#define VARIANT(name) &variant_##name,
const struct variant *const variant_list[] = {
#include "generated/variant_list.inc"
        NULL,
};

#define TASK(name) extern const struct task task_##name;
#include "generated/task_list.inc"
#undef TASK
#define TASK(name) &task_##name,
const struct task *const task_list[] = {
#include "generated/task_list.inc"
        NULL,
};

#define FAMILY(name) extern const struct family family_##name;
#include "generated/family_list.inc"
#undef FAMILY
#define FAMILY(name) &family_##name,
const struct family *const family_list[] = {
#include "generated/family_list.inc"
        NULL,
};

#define PROCEDURE(name) extern const struct procedure procedure_##name;
#include "generated/procedure_list.inc"
#undef PROCEDURE
#define PROCEDURE(name) &procedure_##name,
const struct procedure *const procedure_list[] = {
#include "generated/procedure_list.inc"
        NULL,
};

// The lists differ in type but each element begins with its name; one macro keeps the three searches one thing.
#define FIND(kind)                                                                                                     \
	const struct kind *kind##_find(const char *name)                                                               \
	{                                                                                                              \
		for (const struct kind *const *item = kind##_list; *item; item++)                                      \
			if (!strcmp((*item)->name, name))                                                              \
				return *item;                                                                          \
		return NULL;                                                                                           \
	}
FIND(variant)
FIND(task)
FIND(procedure)

const struct family *family_at(int i)
{
	for (const struct family *const *family = family_list; *family; family++) {
		if (i-- == 0)
			return *family;
		for (const struct family *preset = (*family)->presets; preset && preset->name; preset++)
			if (i-- == 0)
				return preset;
	}
	return NULL;
}

const struct family *family_find(const char *name)
{
	const struct family *family;
	for (int i = 0; (family = family_at(i)); i++)
		if (!strcmp(family->name, name))
			return family;
	return NULL;
}
