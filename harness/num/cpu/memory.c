// SPDX-License-Identifier: MIT
// Copies: the backend's memory is the process's own.
#include <string.h>

#include "harness/num/cpu/cpu.h"

void cpu_copy_bytes(const struct exec *exec, void *to, const void *from, size_t bytes)
{
	(void)exec;
	if (bytes) // nothing may be copied from nowhere
		memmove(to, from, bytes);
}

void cpu_clear(const struct exec *exec, void *at, size_t bytes)
{
	(void)exec;
	if (bytes)
		memset(at, 0, bytes);
}
