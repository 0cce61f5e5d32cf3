// SPDX-License-Identifier: MIT
#include "harness/base/load.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness/base/progress.h"

static double used_s(int who)
{
	struct rusage u;
	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

struct load load_now(void)
{
	// cpu user nice system idle iowait irq softirq, in clock ticks, over all processors.
	long user, nice, system, idle, wait, irq, softirq;
	struct load load = {-1, used_s(RUSAGE_SELF) + used_s(RUSAGE_CHILDREN), clock_s()};
	FILE *file = fopen("/proc/stat", "r");
	if (!file)
		return load;
	if (fscanf(file, "cpu %ld %ld %ld %ld %ld %ld %ld", &user, &nice, &system, &idle, &wait, &irq, &softirq) == 7)
		load.busy_s = (double)(user + nice + system + irq + softirq) / (double)sysconf(_SC_CLK_TCK);
	fclose(file);
	return load;
}

double load_others(const struct load *from)
{
	const struct load now = load_now();
	if (from->busy_s < 0 || now.busy_s < 0 || now.wall_s <= from->wall_s)
		return -1;
	const double others_s = (now.busy_s - from->busy_s) - (now.own_s - from->own_s);
	return (others_s > 0 ? others_s : 0) / (now.wall_s - from->wall_s);
}

double load_clock_mhz(void)
{
	char line[256];
	double mhz = -1;
	FILE *file = fopen("/proc/cpuinfo", "r");
	while (file && mhz < 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "cpu MHz : %lf", &mhz) != 1)
			mhz = -1;
	if (file)
		fclose(file);
	return mhz;
}

void load_print(const struct load *from)
{
	const double others = load_others(from);
	if (others > LOAD_TOLERATED)
		printf("  note: others used %.2f processors meanwhile: the figures above are too low, run again on a "
		       "quiet machine\n",
		        others);
}
