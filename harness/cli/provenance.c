// SPDX-License-Identifier: MIT
#include "harness/cli/provenance.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/base/build.h"
#include "harness/base/hash.h"
#include "harness/num/backend.h"

static char *own_hash(struct arena *arena)
{
	char *hash = arena_zalloc(arena, HASH_TEXT);
	struct stat info;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return hash;
	if (!fstat(fd, &info) && info.st_size > 0) {
		void *file = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (file != MAP_FAILED) {
			hash_hex(hash, file, (size_t)info.st_size);
			munmap(file, (size_t)info.st_size);
		}
	}
	close(fd);
	return hash;
}

void provenance_build(struct store_build *build, struct arena *arena)
{
	*build = (struct store_build){.git_commit = build_info.commit,
	        .compiler = build_info.compiler,
	        .flags = build_info.flags,
	        .blas = backend_cpu.library(),
	        .cuda = "",
	        .binary_hash = own_hash(arena),
	        .dirty = build_info.dirty};
}
