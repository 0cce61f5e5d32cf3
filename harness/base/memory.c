// SPDX-License-Identifier: MIT
#include "harness/base/memory.h"

#include <stdio.h>
#include <string.h>

// The number after `key` at the start of a line, times unit.
static double number_in(const char *path, const char *key, double unit)
{
	char line[256];
	double value = -1;
	FILE *in = fopen(path, "r");
	while (in && value < 0 && fgets(line, sizeof(line), in))
		if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%lf", &value) == 1)
			value *= unit;
	if (in)
		fclose(in);
	return value;
}

double memory_available(void)
{
	const double machine = number_in("/proc/meminfo", "MemAvailable:", 1024);
	// Version 2 of control groups; "max" is no number and reads as -1. What the group's files take can be dropped.
	const double most = number_in("/sys/fs/cgroup/memory.max", "", 1);
	if (most < 0)
		return machine;
	const double used = number_in("/sys/fs/cgroup/memory.current", "", 1),
	             files = number_in("/sys/fs/cgroup/memory.stat", "inactive_file ", 1),
	             left = most - used + (files > 0 ? files : 0);
	return machine < 0 || left < machine ? left : machine;
}

double memory_resident(void)
{
	return number_in("/proc/self/status", "RssAnon:", 1024);
}

double memory_peak(void)
{
	return number_in("/proc/self/status", "VmHWM:", 1024);
}

void memory_reset_peak(void)
{
	FILE *out = fopen("/proc/self/clear_refs", "w");
	if (!out)
		return;
	fputs("5", out); // "reset the peak resident set size"
	fclose(out);
}
