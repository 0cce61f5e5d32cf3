// SPDX-License-Identifier: MIT
#include "harness/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int record(struct err *err, int is_fault, const char *format, va_list args)
{
	if (err->is_set)
		return -1;
	vsnprintf(err->message, sizeof(err->message), format, args);
	err->is_set = 1;
	err->is_fault = is_fault;
	return -1;
}

int err_set(struct err *err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	record(err, 0, format, args);
	va_end(args);
	return -1;
}

int err_fault(struct err *err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	record(err, 1, format, args);
	va_end(args);
	return -1;
}

int err_system(struct err *err, int code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	record(err, errno_is_fault(code), format, args);
	va_end(args);
	return -1;
}

int errno_is_fault(int code)
{
	static const int fault[] = {
	        ENOSPC, EDQUOT, EFBIG, EIO, ENOMEM, EMFILE, ENFILE, EAGAIN, EBUSY, ESTALE, ENODEV, ENXIO, ETXTBSY};
	for (size_t i = 0; i < sizeof(fault) / sizeof(fault[0]); i++)
		if (fault[i] == code)
			return 1;
	return 0;
}

void err_clear(struct err *err)
{
	err->is_set = err->is_fault = 0;
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

static void (*death_hook)(void *context, const char *message);
static void *death_context;

void on_death(void (*hook)(void *context, const char *message), void *context)
{
	death_hook = hook;
	death_context = context;
}

void die(const char *format, ...)
{
	void (*hook)(void *, const char *) = death_hook;
	char message[512];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	death_hook = NULL; // once: it may die of the same
	if (hook)
		hook(death_context, message);
	fprintf(stderr, "kvlab: %s\n", message);
	abort();
}

void die_no_memory(unsigned long long bytes)
{
	die("out of memory: %.1f GiB more were asked for (make the point smaller)", (double)bytes / 1073741824);
}
