// SPDX-License-Identifier: MIT
#include "tests/num/cuda_rig.h"

#include <dlfcn.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/test.h"

enum { CHUNK = 1 << 20, POISON_BYTES = 1 << 18, PATH_BYTES = 4096 };
typedef const struct backend *(*open_plugin)(int is_exact, struct err *err);

// Plugins lie beside kvlab: two folders above a test program of build/<config>/tests/<room>/.
static void plugin_path(char *path, const char *name)
{
	const ssize_t n = readlink("/proc/self/exe", path, PATH_BYTES - 64);
	path[n > 0 ? n : 0] = '\0';
	for (int up = 0; up < 3; up++) {
		char *slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	}
	strcat(path, "/");
	strcat(path, name);
}

// 0 when the plugin cannot be used, for a reason that is printed.
static int open_one(struct cuda_rig *rig, const char *path)
{
	struct err err = {0};
	if (access(path, R_OK)) {
		printf("# %s was not built\n", path);
		return 0;
	}
	void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	open_plugin open = NULL;
	if (plugin) { // a function through an object pointer: POSIX, not ISO C
		void *symbol = dlsym(plugin, "kvlab_cuda_open");
		memcpy(&open, &symbol, sizeof(open));
	}
	if (!open) {
		printf("# %s: %s\n", path, dlerror());
		return 0;
	}
	rig->exact = open(1, &err);
	rig->rounded = open(0, &err);
	if (!rig->exact || !rig->rounded) {
		printf("# %s: %s\n", path, err.message);
		return 0;
	}
	snprintf(rig->path, sizeof(rig->path), "%s", path);
	rig->is_emulated = strstr(path, "emulated") != NULL;
	printf("# %s: %s\n", path, rig->exact->library());
	fflush(stdout); // known even if a kernel never ends
	return 1;
}

int cuda_run_tests(struct cuda_rig *rig, int (*run)(void))
{
	static const char *const names[] = {"kvlab_cuda_emulated.so", "kvlab_cuda.so"};
	const char *given = getenv("KVLAB_TEST_PLUGIN");
	int n_run = 0, failed = 0;
	for (int i = 0; i < (given ? 1 : 2); i++) {
		char path[PATH_BYTES];
		if (given)
			snprintf(path, sizeof(path), "%s", given);
		else
			plugin_path(path, names[i]);
		if (!open_one(rig, path))
			continue;
		n_run++;
		rig_init(&rig->host);
		arena_init_from(&rig->memory, CHUNK, rig->exact->memory);
		arena_init_from(&rig->scratch, CHUNK, rig->exact->memory);
		rig->exec = (struct exec){1, &rig->scratch};
		failed += run() != 0;
		arena_release(&rig->memory);
		arena_release(&rig->scratch);
		rig_release(&rig->host);
	}
	if (!n_run)
		printf("no CUDA plugin can be used here: see above\n");
	return n_run ? failed : 77;
}

void cuda_begin(struct cuda_rig *rig)
{
	static unsigned char poison[POISON_BYTES];
	memset(poison, 0xff, sizeof(poison));
	arena_reset(&rig->memory);
	arena_reset(&rig->scratch);
	rig->exact->upload(&rig->exec, arena_alloc(&rig->scratch, POISON_BYTES), poison, POISON_BYTES);
	arena_reset(&rig->scratch);
	rig->n_mirror = 0;
}

void *cuda_bytes(struct cuda_rig *rig, const void *from, size_t bytes)
{
	void *at = arena_alloc(&rig->memory, bytes);
	rig->exact->upload(&rig->exec, at, from, bytes);
	return at;
}

real *cuda_mirror(struct cuda_rig *rig, const struct guarded *g)
{
	assert_true(rig->n_mirror < CUDA_MIRRORS);
	real *at = cuda_bytes(rig, g->memory, g->n_memory * sizeof(real));
	rig->mirror[rig->n_mirror].g = g;
	rig->mirror[rig->n_mirror++].at = at;
	return at + (g->x - g->memory);
}

void cuda_fetch(struct cuda_rig *rig)
{
	for (int i = 0; i < rig->n_mirror; i++)
		rig->exact->download(&rig->exec, rig->mirror[i].g->memory, rig->mirror[i].at,
		        rig->mirror[i].g->n_memory * sizeof(real));
}

struct outputs cuda_outputs(struct cuda_rig *rig, int rows, int columns, ptrdiff_t stride, int accumulate)
{
	const struct outputs out = {guarded_output(&rig->host, rows, columns, stride, accumulate),
	        guarded_output(&rig->host, rows, columns, stride, accumulate)};
	memcpy(out.cuda.memory, out.cpu.memory, out.cpu.n_memory * sizeof(real));
	memcpy(out.cuda.before, out.cpu.before, out.cpu.n_memory * sizeof(real));
	return out;
}

void assert_outputs(const char *what, const struct outputs *out, const double *size, double constant)
{
	assert_guards(what, &out->cuda);
	for (int i = 0; i < out->cuda.rows; i++)
		for (int j = 0; j < out->cuda.columns; j++) {
			const double got = (double)out->cuda.x[i * out->cuda.stride + j];
			const double right = (double)out->cpu.x[i * out->cpu.stride + j];
			const double most = size ? constant * (double)FLT_EPSILON *
			                                    (size[(ptrdiff_t)i * out->cuda.columns + j] +
			                                            fabs(guarded_before(&out->cpu, i, j)))
			                         : 0;
			if (got != right && !(fabs(got - right) <= most) && !(isnan(got) && isnan(right)))
				fail_msg("%s (%d, %d): element (%d, %d) is %.9g, the CPU's %.9g; allowed %.2g, off by "
				         "%.2g",
				        what, out->cuda.rows, out->cuda.columns, i, j, got, right, most,
				        fabs(got - right));
		}
}
