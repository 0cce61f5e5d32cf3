// SPDX-License-Identifier: MIT
// A model family is a row of defaults over the one table of model options: data, not code. One file per family
// exports `const struct family family_<name>`; the registry finds it by its file name (family_<name>.c).
#ifndef KVLAB_MODEL_FAMILY_H
#define KVLAB_MODEL_FAMILY_H
#ifdef __cplusplus
extern "C" {
#endif

struct family_default {
	const char *key, *value; // as in a spec's `model:` section
};

struct family {
	const char *name, *summary;
	const struct family_default *defaults; // ends with a NULL key
};

#ifdef __cplusplus
}
#endif
#endif
