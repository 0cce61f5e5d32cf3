// SPDX-License-Identifier: MIT
#include "harness/num/device.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef const struct backend *open_plugin(int is_exact, struct err *err);

// The file of that name in the folder of this program.
static int beside_program(char *path, size_t size, const char *file, struct err *err)
{
	char program[PATH_MAX];
	const ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	if (n < 0)
		return err_fault(err, "/proc/self/exe cannot be read: where is this program?");
	program[n] = '\0';
	char *slash = strrchr(program, '/');
	snprintf(path, size, "%.*s/%s", (int)(slash ? slash - program : 0), program, file);
	return 0;
}

static open_plugin *load(const char *name, struct err *err)
{
	char path[PATH_MAX + 32];
	const int is_cuda = strcmp(name, "cuda") == 0;
	snprintf(path, sizeof(path), "%s", name);
	if (is_cuda && beside_program(path, sizeof(path), "kvlab_cuda.so", err))
		return NULL;
	if (is_cuda && access(path, R_OK)) {
		err_set(err,
		        "--device cuda: there is no %s (it is built where nvcc is found; leave the device out to use "
		        "the "
		        "cpu)",
		        path);
		return NULL;
	}
	void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!plugin) {
		err_set(err, "--device %s cannot be loaded: %s", name, dlerror());
		return NULL;
	}
	void *symbol = dlsym(plugin, "kvlab_cuda_open");
	if (!symbol)
		err_set(err, "--device %s is no backend: it has no kvlab_cuda_open", name);
	open_plugin *open;
	memcpy(&open, &symbol, sizeof(open)); // C has no cast from an object to a function
	return open;
}

const struct backend *device_open(const char *name, int is_exact, struct err *err)
{
	if (strcmp(name, "cpu") == 0)
		return &backend_cpu;
	if (strcmp(name, "cuda") && !strchr(name, '/')) {
		err_set(err, "--device '%s': there are cpu, cuda and paths of plugins (with a slash)", name);
		return NULL;
	}
	open_plugin *open = load(name, err);
	return open ? open(is_exact, err) : NULL;
}

int device_check_memory(const struct backend *backend, double bytes, struct err *err)
{
	const double gib = 1073741824, available = backend->memory->available();
	if (bytes <= available)
		return 0;
	return err_set(err, "needs %.2f GiB of the memory of device '%s', which has %.2f GiB free", bytes / gib,
	        backend->name, available / gib);
}

// --- in a process of its own ----------------------------------------------------------------------------------------

struct seen {
	int status;
	struct device_look look;
	struct err err;
};

static void look_now(struct seen *seen, const char *name)
{
	const struct backend *backend = device_open(name, 1, &seen->err);
	seen->status = backend ? 0 : -1;
	if (!backend)
		return;
	snprintf(seen->look.library, sizeof(seen->look.library), "%s", backend->library());
	seen->look.available = backend->memory && backend->memory->available ? backend->memory->available() : -1;
}

int device_look(struct device_look *look, const char *name, struct err *err)
{
	struct seen seen = {0};
	int end[2];
	*look = (struct device_look){.available = -1};
	if (strcmp(name, "cpu") == 0)
		return 0;
	if (pipe(end))
		return err_fault(err, "--device %s: no pipe to look at it through", name);
	fflush(NULL);
	const pid_t child = fork();
	if (child == 0) {
		look_now(&seen, name);
		_exit(write(end[1], &seen, sizeof(seen)) != sizeof(seen));
	}
	close(end[1]);
	const int is_read = child > 0 && read(end[0], &seen, sizeof(seen)) == sizeof(seen);
	close(end[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
	if (!is_read)
		return err_fault(err, "--device %s: looking at it ended the process that did", name);
	if (seen.status) {
		*err = err->is_set ? *err : seen.err;
		return -1;
	}
	*look = seen.look;
	return 0;
}
