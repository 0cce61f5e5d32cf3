// SPDX-License-Identifier: MIT
// For tests of the CUDA backend's slots: the plugins there are, memory on the device, and guarded matrices (guard.h)
// that have a copy there. The emulated plugin is tested wherever it was built, the real one where there is a device.
#ifndef KVLAB_TESTS_NUM_CUDA_RIG_H
#define KVLAB_TESTS_NUM_CUDA_RIG_H
#include "tests/num/guard.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { CUDA_MIRRORS = 32 };
struct cuda_rig {
	struct rig host;
	const struct backend *exact, *rounded; // of the plugin that is tested
	int is_emulated;
	char path[4096];              // the plugin's
	struct arena memory, scratch; // on the device
	struct exec exec;
	struct {
		const struct guarded *g;
		real *at;
	} mirror[CUDA_MIRRORS];
	int n_mirror;
};

// Runs the tests for each plugin; returns what main returns: 77, with the reasons printed, where there is none.
// KVLAB_TEST_PLUGIN=PATH: that one alone.
int cuda_run_tests(struct cuda_rig *rig, int (*run)(void));

// Empties the device's arenas; scratch memory is full of NaN. Mirrors are forgotten.
void cuda_begin(struct cuda_rig *rig);
// The device's copy of g, guards and all, and the place in it where g->x is.
real *cuda_mirror(struct cuda_rig *rig, const struct guarded *g);
// Fetches every mirror, so that what a slot did stands in the host's matrices.
void cuda_fetch(struct cuda_rig *rig);
void *cuda_bytes(struct cuda_rig *rig, const void *from, size_t bytes);
static inline const struct exec *cuda_exec(struct cuda_rig *rig)
{
	return &rig->exec;
}

// An output for each backend, with the same numbers in it.
struct outputs {
	struct guarded cpu, cuda;
};
struct outputs cuda_outputs(struct cuda_rig *rig, int rows, int columns, ptrdiff_t stride, int accumulate);
// |cuda - cpu| <= constant * epsilon * size(i, j) for every number, and nothing outside was written. size (rows,
// columns) has the magnitudes that went into each; NULL: the same bits.
void assert_outputs(const char *what, const struct outputs *out, const double *size, double constant);

#ifdef __cplusplus
}
#endif
#endif
