// SPDX-License-Identifier: MIT
// Which build this program is. The one definition is written by make (build/<config>/build_info.c) and stored with
// every run, so that a number can be traced to the sources and flags that made it.
#ifndef KVLAB_BASE_BUILD_H
#define KVLAB_BASE_BUILD_H
#ifdef __cplusplus
extern "C" {
#endif

struct build {
	const char *commit;   // 40 hex digits; "unknown" outside a git checkout
	int dirty;            // 1: the checkout differs from the commit
	const char *compiler; // first line of its --version
	const char *flags;
};

extern const struct build build_info;

#ifdef __cplusplus
}
#endif
#endif
