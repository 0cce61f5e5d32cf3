// SPDX-License-Identifier: MIT
#include "harness/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int err_set(struct err *err, const char *format, ...)
{
	if (err->is_set)
		return -1;
	va_list args;
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	err->is_set = 1;
	return -1;
}

void err_clear(struct err *err)
{
	err->is_set = 0;
	err->message[0] = '\0';
}

void bug_at(const char *file, int line, const char *format, ...)
{
	va_list args;
	fprintf(stderr, "kvlab: bug at %s:%d: ", file, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

void die_no_memory(unsigned long long bytes)
{
	fprintf(stderr, "kvlab: out of memory: %llu bytes could not be had\n", bytes);
	abort();
}
